/**
 * Whole numbers of a range, as decimals: digit by digit, keeping in mind whether the digits so far are those of the
 * lower or of the upper bound.
 */
import { byteOf, choice, EMPTY, type Grammar, repeat, sequence } from "./grammar.ts";

/** Beyond 21 digits a double is not written in digits. */
const LARGEST = 10n ** 21n - 1n;

/** From min to max, both included and both optional; nothing where min is larger. "-0" is left out. */
export function integerRange(min: bigint = -LARGEST, max: bigint = LARGEST): Grammar {
  const low = min < -LARGEST ? -LARGEST : min;
  const high = max > LARGEST ? LARGEST : max;
  const parts: Grammar[] = [];
  if (low < 0n) parts.push(sequence("-", decimals(high < 0n ? -high : 1n, -low)));
  if (high >= 0n) parts.push(decimals(low > 0n ? low : 0n, high));
  return choice(...parts);
}

/** From low to high, neither negative. */
function decimals(low: bigint, high: bigint): Grammar {
  const parts: Grammar[] = [];
  for (let length = String(low).length; length <= String(high).length; length++) {
    const least = length === 1 ? 0n : 10n ** BigInt(length - 1);
    const most = 10n ** BigInt(length) - 1n;
    const first = low > least ? low : least;
    const last = high < most ? high : most;
    if (first <= last) parts.push(between(String(first), String(last)));
  }
  return choice(...parts);
}

/** Of texts of digits that are equally long, those from a to b. */
function between(a: string, b: string): Grammar {
  if (a === "") return EMPTY;
  const rest = a.length - 1;
  if (/^0*$/.test(a) && /^9*$/.test(b)) return repeat(byteOf([0x30, 0x39]), a.length, a.length);
  const [low, high] = [a.charCodeAt(0), b.charCodeAt(0)];
  if (low === high) return sequence(a[0]!, between(a.slice(1), b.slice(1)));
  const parts = [
    sequence(a[0]!, between(a.slice(1), "9".repeat(rest))),
    sequence(b[0]!, between("0".repeat(rest), b.slice(1))),
  ];
  if (high - low > 1)
    parts.push(sequence(byteOf([low + 1, high - 1]), repeat(byteOf([0x30, 0x39]), rest, rest)));
  return choice(...parts);
}
