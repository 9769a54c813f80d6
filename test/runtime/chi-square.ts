/** Pearson's test in its simplest form: is a sample drawn from a distribution? */

/** The statistic: about the degrees of freedom when the counts follow the probabilities. */
export function chiSquare(counts: ArrayLike<number>, probabilities: ArrayLike<number>): number {
  const total = Array.from(counts).reduce((sum, count) => sum + count, 0);
  let statistic = 0;
  for (let at = 0; at < counts.length; at++) {
    const expected = probabilities[at]! * total;
    if (expected > 0) statistic += (counts[at]! - expected) ** 2 / expected;
    else if (counts[at]! > 0) return Infinity;
  }
  return statistic;
}

/** The value that the statistic passes once in 10,000 samples (Wilson and Hilferty's approximation). */
export function chiSquareLimit(degrees: number): number {
  const z = 3.719;
  return degrees * (1 - 2 / (9 * degrees) + z * Math.sqrt(2 / (9 * degrees))) ** 3;
}
