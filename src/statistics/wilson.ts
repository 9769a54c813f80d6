/**
 * The score interval of a proportion: Wilson, Probable Inference, the Law of Succession, and Statistical
 * Inference (Journal of the American Statistical Association 22, 1927). Unlike the textbook's p ± z·s it
 * stays within 0 to 1 and has a width at 0 and at all successes, where small evaluations often end.
 */

/** Where the true proportion lies, with the given confidence. Without a trial that is anywhere. */
export function wilson(
  successes: number,
  total: number,
  confidence: number = 0.95,
): { low: number; high: number } {
  if (!(successes >= 0 && successes <= total && Number.isFinite(total))) {
    throw new RangeError(`Cannot estimate a proportion: ${successes} successes of ${total}`);
  }
  if (!(confidence > 0 && confidence < 1)) {
    throw new RangeError(`Cannot estimate with confidence "${confidence}": wanted more than 0, less than 1`);
  }
  if (total === 0) return { low: 0, high: 1 };
  const z = normalDeviate(confidence);
  const share = successes / total;
  const scale = 1 + (z * z) / total;
  const centre = (share + (z * z) / (2 * total)) / scale;
  const half = (z / scale) * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  // Exact at the ends, where rounding would leave 1e-17.
  return {
    low: successes === 0 ? 0 : Math.max(0, centre - half),
    high: successes === total ? 1 : Math.min(1, centre + half),
  };
}

/**
 * z for which a standard normal variable lies within ±z with this probability. Newton's method from 0: the
 * distribution is concave above 0, so the steps come up from below and cannot overshoot.
 */
function normalDeviate(confidence: number): number {
  let z = 0;
  for (let i = 0; i < 100; i++) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    // Within 0 to z: density · (z + z³/3 + z⁵/(3·5) + …), Abramowitz and Stegun 26.2.11. All terms are
    // positive: nothing cancels.
    let term = z;
    let series = z;
    for (let odd = 3; term > series * 1e-17; odd += 2) {
      term *= (z * z) / odd;
      series += term;
    }
    const step = (confidence / 2 - density * series) / density;
    if (!(step > z * 1e-15)) break;
    z += step;
  }
  return z;
}
