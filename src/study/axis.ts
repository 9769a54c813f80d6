/** Values along which something is varied: a list, or `from:to:step`. */

/** Longer sweeps are mistakes of a step. */
const MOST_VALUES = 1001;

/**
 * "0:1:0.1" -> 0, 0.1 … 1; "0,0.5,1" -> 0, 0.5, 1; "0.3" -> 0.3. Steps are decimals: the fourth of 0:1:0.1 is 0.3,
 * not 0.30000000000000004. Throws RangeError for what is neither.
 */
export function parseValues(text: string): number[] {
  const values = text.includes(":") ? parseRange(text) : text.split(",").map((part) => number(part, text));
  return [...new Set(values)];
}

function parseRange(text: string): number[] {
  const parts = text.split(":").map((part) => number(part, text));
  if (parts.length < 2 || parts.length > 3) throw wrong(text, `${parts.length} parts`);
  const [from, to, step = (to! - from!) / 10] = parts as [number, number, number?];
  if (from === to) return [from];
  const steps = (to - from) / step;
  if (!(steps > 0 && Number.isFinite(steps)))
    throw wrong(text, `a step of ${step} does not lead from ${from} to ${to}`);
  if (steps > MOST_VALUES - 1)
    throw wrong(text, `${Math.floor(steps) + 1} values, wanted at most ${MOST_VALUES}`);
  const count = Math.floor(steps + 1e-9) + 1;
  const digits = digitsFor(Math.max(Math.abs(from), Math.abs(to)));
  // + 0: what rounds to -0 is 0.
  return Array.from({ length: count }, (_, i) => Number((from + i * step).toFixed(digits)) + 0);
}

/** Decimals that keep twelve digits of the largest value: thresholds may be as small as they like. */
function digitsFor(largest: number): number {
  return Math.min(100, Math.max(0, 12 - Math.floor(Math.log10(largest))));
}

function number(part: string, text: string): number {
  const value = Number(part);
  if (part.trim() === "" || !Number.isFinite(value)) throw wrong(text, `"${part}" is no number`);
  return value;
}

function wrong(text: string, what: string): RangeError {
  return new RangeError(
    `Cannot read the values "${text}": ${what}, wanted a list as 0,0.5,1 or from:to:step as 0:1:0.1`,
  );
}

/** "0.3", "0.25": as people write it, for names and tables. */
export function shortNumber(value: number): string {
  return String(Number(value.toPrecision(6)));
}
