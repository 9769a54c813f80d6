/**
 * Numbers as texts write them, compared exactly.
 *
 * Floating point would call 0.1 + 0.2 wrong and two numbers of twenty digits equal. A number is a fraction of
 * two whole numbers instead: "0.10", "1/10" and "1e-1" are one number, and a tolerance of 0.1 includes 0.1.
 */

export interface Rational {
  numerator: bigint;
  /** Positive. */
  denominator: bigint;
}

/** More digits, or a larger exponent, are no answer to anything and cost time. */
const MAX_DIGITS = 400;

/** "-1234.50", "1e3", ".5": digits without groups. undefined for what is none. */
export function parseDecimal(text: string): Rational | undefined {
  const match = /^([-+]?)(\d*)(?:\.(\d*))?(?:[eE]([-+]?\d+))?$/.exec(text);
  if (!match) return undefined;
  const [, sign, whole = "", fraction = "", exponentText = "0"] = match;
  const digits = whole + fraction;
  const exponent = Number(exponentText);
  if (digits === "" || digits.length > MAX_DIGITS || Math.abs(exponent) > MAX_DIGITS) return undefined;
  const shift = exponent - fraction.length;
  const value = BigInt(digits) * (sign === "-" ? -1n : 1n);
  return shift >= 0
    ? { numerator: value * 10n ** BigInt(shift), denominator: 1n }
    : { numerator: value, denominator: 10n ** BigInt(-shift) };
}

/** a / b; undefined where b is 0. */
export function divide(a: Rational, b: Rational): Rational | undefined {
  if (b.numerator === 0n) return undefined;
  const sign = b.numerator < 0n ? -1n : 1n;
  return {
    numerator: sign * a.numerator * b.denominator,
    denominator: sign * a.denominator * b.numerator,
  };
}

/** |a - b| <= tolerance, all three taken as their decimals say. */
export function isWithin(a: Rational, b: Rational, tolerance: number): boolean {
  const limit = parseDecimal(String(tolerance)) ?? { numerator: 0n, denominator: 1n };
  const difference = a.numerator * b.denominator - b.numerator * a.denominator;
  const size = difference < 0n ? -difference : difference;
  return size * limit.denominator <= limit.numerator * a.denominator * b.denominator;
}
