/** Numbers as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Three digits, thousands as 1000: "2.94 MB". */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : digits(value)} ${UNITS[unit]}`;
}

export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** "1.53 million", "671 billion". */
export function formatLarge(count: number): string {
  if (count < 1e5) return formatCount(count);
  if (count < 999.5e6) return `${digits(count / 1e6)} million`;
  if (count < 999.5e9) return `${digits(count / 1e9)} billion`;
  return `${digits(count / 1e12)} trillion`;
}

/** "0.8 s", "12 s", "3 min 20 s", "2 h 5 min". */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return "—";
  if (seconds < 0.1) return "under 0.1 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** "12.3 %"; what is neither nothing nor all never looks like it. */
export function formatShare(share: number): string {
  if (share > 0 && share < 0.0005) return "under 0.1 %";
  if (share < 1 && share > 0.9995) return "over 99.9 %";
  return `${(100 * share).toFixed(share === 0 || share === 1 ? 0 : 1)} %`;
}

/** "0.00212", "4.56e-5", "∞". */
export function formatDistance(value: number | null): string {
  if (value === null || value === Number.POSITIVE_INFINITY) return "∞";
  if (value === 0) return "0";
  if (value >= 1e-4 && value < 999.5) return value.toPrecision(3);
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return `${mantissa}e${Number(exponent)}`;
}

function digits(value: number): string {
  return value >= 99.95 ? value.toFixed(0) : value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}
