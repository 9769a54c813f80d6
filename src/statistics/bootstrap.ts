/**
 * What a difference of means could have been with other questions of the same kind: Efron and
 * Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16. No distribution is assumed, and
 * pairs stay together, since two models find the same questions hard.
 */
import { quantile } from "./quantile.ts";
import { seededRandom } from "./random.ts";

export interface BootstrapOptions {
  /** The same seed gives the same result: see seedOf(). */
  seed: number;
  /** 10,000 where not given. */
  resamples?: number;
  /** Of the interval; 0.95 where not given. */
  confidence?: number;
}

/**
 * mean(b) − mean(a) over pairs, its percentile interval, and the two-sided p-value: how often resamples of
 * differences shifted to mean 0 lie as far off. One is added to both counts, since what was seen is one of
 * the possible samples and p = 0 would claim too much (Davison and Hinkley, Bootstrap Methods, 1997, 4.2).
 */
export function pairedBootstrap(
  a: readonly number[],
  b: readonly number[],
  options: BootstrapOptions,
): { difference: number; low: number; high: number; pValue: number } {
  if (a.length !== b.length) {
    throw new RangeError(`Cannot pair ${a.length} values with ${b.length}: wanted as many`);
  }
  const differences = a.map((value, i) => b[i]! - value);
  const sums = resampledSums(differences, options);
  let seen = 0;
  let magnitude = 0;
  for (const difference of differences) {
    seen += difference;
    magnitude += Math.abs(difference);
  }
  // Sums that are equal but for the order of their terms count as equal.
  const least = Math.abs(seen) - magnitude * 1e-12;
  let asFar = 0;
  for (const sum of sums) if (Math.abs(sum - seen) >= least) asFar++;
  return {
    difference: seen / a.length,
    ...interval(sums, a.length, options),
    pValue: (asFar + 1) / (sums.length + 1),
  };
}

/** Sums of as many values as there are, drawn with replacement. */
function resampledSums(values: readonly number[], { seed, resamples = 10_000 }: BootstrapOptions): number[] {
  const n = values.length;
  if (n === 0) throw new RangeError("Cannot resample no values: wanted one or more");
  if (!Number.isInteger(resamples) || resamples < 1) {
    throw new RangeError(`Cannot draw "${resamples}" resamples: wanted an integer from 1`);
  }
  const random = seededRandom(seed);
  const drawn = Float64Array.from(values);
  return Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += drawn[random.nextInt(n)]!;
    return sum;
  });
}

function interval(
  sums: readonly number[],
  n: number,
  { confidence = 0.95 }: BootstrapOptions,
): { low: number; high: number } {
  if (!(confidence > 0 && confidence < 1)) {
    throw new RangeError(`Cannot estimate with confidence "${confidence}": wanted more than 0, less than 1`);
  }
  const tail = (1 - confidence) / 2;
  return { low: quantile(sums, tail)! / n, high: quantile(sums, 1 - tail)! / n };
}
