/** Numbers as people read them: bytes, counts, times. Decimal units (GB = 10⁹), as disks are sold. */

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** 688574839360 -> "689 GB"; three significant digits, whole bytes below 1000. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : significant(value)} ${BYTE_UNITS[unit]}`;
}

/** 684531386000 -> "685 B"; "B" here counts billions, as in the names of models. */
export function formatCount(count: number): string {
  const units = ["", " k", " M", " B", " T"];
  let value = count;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : significant(value)}${units[unit]}`;
}

function significant(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** 41555600 -> "41,555,600". */
export function formatInteger(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** 0.4 -> "0.4 s", 75 -> "1:15", 5400 -> "1:30:00". Seconds in. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** "5GB", "4.5 GiB", "512MB", "1000" -> bytes; undefined when it is none. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?\s*$/i.exec(text);
  if (!match) return undefined;
  const power = "kmgtp".indexOf(match[2]!.toLowerCase()) + (match[2] ? 1 : 0);
  if (match[3] && power === 0) return undefined;
  const bytes = Number(match[1]) * (match[3] ? 1024 : 1000) ** power;
  return Number.isSafeInteger(Math.round(bytes)) ? Math.round(bytes) : undefined;
}
