/**
 * Numbers of a range, as decimals: digit by digit, keeping in mind whether the digits so far are those of the lower or
 * of the upper bound. Reading a decimal as a double never changes the order, so a bound that is a double holds for
 * the doubles too.
 */
import { byteOf, choice, EMPTY, type Grammar, optional, repeat, sequence } from "./grammar.ts";

/** Beyond 21 digits a double is not written in digits. */
const LARGEST = 10n ** 21n - 1n;
/** Digits before and behind the point of a number with bounds. */
const DIGITS = 30;
const UNIT = 10n ** BigInt(DIGITS);
const digit = byteOf([0x30, 0x39]);

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
  if (/^0*$/.test(a) && /^9*$/.test(b)) return repeat(digit, a.length, a.length);
  const [low, high] = [a.charCodeAt(0), b.charCodeAt(0)];
  if (low === high) return sequence(a[0]!, between(a.slice(1), b.slice(1)));
  const parts = [
    sequence(a[0]!, between(a.slice(1), "9".repeat(rest))),
    sequence(b[0]!, between("0".repeat(rest), b.slice(1))),
  ];
  if (high - low > 1) parts.push(sequence(byteOf([low + 1, high - 1]), repeat(digit, rest, rest)));
  return choice(...parts);
}

/** From min to max, both included and both optional, without an exponent; at most 30 digits on each side. */
export function decimalRange(
  min: number = Number.NEGATIVE_INFINITY,
  max: number = Number.POSITIVE_INFINITY,
): Grammar {
  const largest = UNIT * UNIT - 1n;
  const low = min === Number.NEGATIVE_INFINITY ? -largest : -inUnits(-min);
  const high = max === Number.POSITIVE_INFINITY ? largest : inUnits(max);
  const parts: Grammar[] = [];
  if (low < 0n) parts.push(sequence("-", fractions(high < 0n ? -high : 1n, -low < largest ? -low : largest)));
  if (high >= 0n) parts.push(fractions(low > 0n ? low : 0n, high < largest ? high : largest));
  return choice(...parts);
}

/** The next double above. */
export function nextAbove(value: number): number {
  if (value === 0) return Number.MIN_VALUE;
  const bits = new BigInt64Array(1);
  const double = new Float64Array(bits.buffer);
  double[0] = value;
  bits[0]! += value > 0 ? 1n : -1n;
  return double[0]!;
}

/** Of 10^-30, rounded down. */
function inUnits(value: number): bigint {
  const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)(\d+)\.?(\d+)?(?:e(.+))?$/.exec(
    String(value),
  )!;
  const digits = BigInt(sign! + whole! + fraction);
  const shift = Number(exponent) - fraction.length + DIGITS;
  if (shift >= 0) return digits * 10n ** BigInt(shift);
  const divisor = 10n ** BigInt(-shift);
  return digits / divisor - (digits < 0n && digits % divisor !== 0n ? 1n : 0n);
}

/** From low to high in units, neither negative. */
function fractions(low: bigint, high: bigint): Grammar {
  if (low > high) return choice();
  const split = (units: bigint): [bigint, string] => [
    units / UNIT,
    String(units % UNIT).padStart(DIGITS, "0"),
  ];
  const [first, from] = split(low);
  const [last, to] = split(high);
  if (first === last) return sequence(String(first), fractionBetween(from, to));
  const any = optional(sequence(".", repeat(digit, 1, DIGITS)));
  const parts = [
    sequence(String(first), fractionBetween(from, "9".repeat(DIGITS))),
    sequence(String(last), fractionBetween("0".repeat(DIGITS), to)),
  ];
  if (last - first > 1n) parts.push(sequence(decimals(first + 1n, last - 1n), any));
  return choice(...parts);
}

/** A point and digits, or neither, of which the value is from a to b; zeros at the end may be left out. */
function fractionBetween(a: string, b: string): Grammar {
  const withPoint = sequence(".", digitsBetween(a, b));
  return /^0*$/.test(a) ? optional(withPoint) : withPoint;
}

/** At least one digit. */
function digitsBetween(a: string, b: string): Grammar {
  if (/^0*$/.test(a) && /^9*$/.test(b)) return repeat(digit, 1, a.length);
  const [low, high] = [a.charCodeAt(0), b.charCodeAt(0)];
  const rest = a.length - 1;
  const after = (from: string, to: string): Grammar => {
    if (rest === 0) return EMPTY;
    return /^0*$/.test(from) ? optional(digitsBetween(from, to)) : digitsBetween(from, to);
  };
  if (low === high) return sequence(a[0]!, after(a.slice(1), b.slice(1)));
  const parts = [
    sequence(a[0]!, after(a.slice(1), "9".repeat(rest))),
    sequence(b[0]!, after("0".repeat(rest), b.slice(1))),
  ];
  if (high - low > 1) parts.push(sequence(byteOf([low + 1, high - 1]), repeat(digit, 0, rest)));
  return choice(...parts);
}
