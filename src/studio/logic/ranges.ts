/** Lists that people type: indices "3-60, 70", shares "0.2, 0.8", sizes "5 GB". Reading gives undefined for what is none. */

export interface IndexRange {
  from: number;
  to: number;
}

/** Empty text is an empty list. */
export function readRanges(text: string): IndexRange[] | undefined {
  const ranges: IndexRange[] = [];
  for (const part of partsOf(text)) {
    const [, from, to = from] = /^(\d{1,9})(?:\s*-\s*(\d{1,9}))?$/.exec(part) ?? [];
    if (from === undefined || Number(to) < Number(from)) return undefined;
    ranges.push({ from: Number(from), to: Number(to) });
  }
  return ranges;
}

export function writeRanges(ranges: readonly IndexRange[] = []): string {
  return ranges.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(", ");
}

/** One number, or a gradient of several. */
export function readWeight(text: string): number | number[] | undefined {
  const numbers = partsOf(text).map(Number);
  if (numbers.length === 0 || numbers.some((value) => !Number.isFinite(value))) return undefined;
  return numbers.length === 1 ? numbers[0]! : numbers;
}

export function writeWeight(weight: number | readonly number[]): string {
  return typeof weight === "number" ? String(weight) : weight.join(", ");
}

export function readWords(text: string): string[] {
  return partsOf(text);
}

const UNITS: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** "as-base", bytes, or bytes with a unit. */
export function readShardSize(text: string): "as-base" | number | undefined {
  if (text.trim() === "as-base" || text.trim() === "") return "as-base";
  const [, number, unit = "B"] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)?\s*$/i.exec(text) ?? [];
  const factor = UNITS[unit.toUpperCase()];
  return number === undefined || factor === undefined ? undefined : Math.round(Number(number) * factor);
}

export function writeShardSize(size: "as-base" | number): string {
  if (size === "as-base") return size;
  const unit = ["GB", "MB", "KB"].find((each) => size % UNITS[each]! === 0) ?? "B";
  return `${size / UNITS[unit]!} ${unit}`;
}

function partsOf(text: string): string[] {
  return text
    .split(/[,;\s]*[,;][,;\s]*|\s+(?![-\s])(?<!-\s)/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
