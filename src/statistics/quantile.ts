/**
 * Mean, median and quantiles. A statistic of nothing is undefined rather than NaN, so that the compiler asks
 * every caller what an empty group shall look like.
 */

/** The arithmetic mean. */
export function mean(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number | undefined {
  return quantile(values, 0.5);
}

/**
 * The value below which the fraction `q` lies, between neighbours by a straight line: type 7 of Hyndman and
 * Fan, Sample Quantiles in Statistical Packages (The American Statistician 50, 1996), the default of R and NumPy.
 */
export function quantile(values: readonly number[], q: number): number | undefined {
  if (!(q >= 0 && q <= 1)) throw new RangeError(`Cannot take quantile "${q}": wanted 0 to 1`);
  if (values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const part = position - below;
  const low = sorted[below]!;
  // Without this an infinite neighbour of weight 0 would give NaN.
  return part === 0 ? low : low * (1 - part) + sorted[below + 1]! * part;
}
