/**
 * McNemar's test in its exact form: are the questions that only one of two models gets right split like the
 * tosses of a fair coin? (McNemar, Note on the Sampling Error of the Difference Between Correlated Proportions,
 * Psychometrika 12, 1947.) Exact, because the χ² form is wrong for the few disagreements small tasks give.
 *
 * The tail is its largest probability times a series of ratios. That probability comes from the expansion of
 * Loader, Fast and Accurate Computation of Binomial Probabilities (2000): differences of log-factorials of
 * a million would lose seven digits.
 */

/** Two-sided p-value for pairs that only A, and only B, has right. */
export function mcnemar({ onlyA, onlyB }: { onlyA: number; onlyB: number }): { pValue: number } {
  for (const count of [onlyA, onlyB]) {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new RangeError(`Cannot count "${count}" pairs: wanted an integer from 0`);
    }
  }
  const n = onlyA + onlyB;
  const k = Math.min(onlyA, onlyB);
  // The smaller side holds at least half of the distribution where the counts are equal.
  if (onlyA === onlyB) return { pValue: 1 };
  let term = 1;
  let series = 1;
  for (let i = k; i > 0 && term > series * 1e-17; i--) {
    term *= i / (n - i + 1);
    series += term;
  }
  return { pValue: Math.min(1, 2 * fairCoin(n, k) * series) };
}

/** Probability of exactly k heads in n tosses, k < n / 2. */
function fairCoin(n: number, k: number): number {
  if (k === 0) return 2 ** -n;
  const lean = (n - 2 * k) / n;
  const deviance = (n / 2) * ((1 - lean) * Math.log1p(-lean) + (1 + lean) * Math.log1p(lean));
  const rest = stirlingError(n) - stirlingError(k) - stirlingError(n - k);
  return Math.exp(rest - deviance) * Math.sqrt(n / (2 * Math.PI * k * (n - k)));
}

/** log n! less Stirling's approximation of it. */
function stirlingError(n: number): number {
  if (n > 15) {
    const square = n * n;
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n;
  }
  let factorial = 1;
  for (let i = 2; i <= n; i++) factorial *= i;
  return Math.log(factorial) - (n + 0.5) * Math.log(n) + n - Math.log(2 * Math.PI) / 2;
}
