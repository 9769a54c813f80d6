/**
 * Many comparisons at once: Holm, A Simple Sequentially Rejective Multiple Test Procedure (Scandinavian
 * Journal of Statistics 6, 1979). As safe as Bonferroni's correction against a single false alarm,
 * whatever the tests have in common, and never weaker.
 */

/** Adjusted p-values in the order given: those under 0.05 hold together with an error of 0.05. */
export function holm(pValues: readonly number[]): number[] {
  for (const p of pValues) {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`Cannot adjust p-value "${p}": wanted 0 to 1`);
  }
  const order = pValues.map((_, index) => index).sort((a, b) => pValues[a]! - pValues[b]!);
  const adjusted = new Array<number>(pValues.length).fill(1);
  let greatest = 0;
  for (const [rank, index] of order.entries()) {
    // Nothing is surer than what comes before it.
    greatest = Math.max(greatest, Math.min(1, (pValues.length - rank) * pValues[index]!));
    adjusted[index] = greatest;
  }
  return adjusted;
}
