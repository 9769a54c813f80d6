/**
 * Gaussian process regression on the unit cube: a mean and a deviation for every point, from noisy values at some.
 *
 * Matérn 5/2 with a length for each dimension, so that what changes nothing is found out. Lengths and noise maximise
 * the likelihood times a weak prior, by a search of fixed steps: no gradient, no random number.
 */

export interface Process {
  predict(at: readonly number[]): { mean: number; deviation: number };
}

/** Prior of the logarithm of a length and of the share of noise: middle, deviation. */
const LENGTH = { middle: Math.log(0.6), deviation: 1 };
const NOISE = { middle: Math.log(0.02), deviation: 1.5, least: 1e-4 };
const FACTORS = [3, 1.8, 1.35];
/** Lengths are found on so many points, evenly taken: time grows with the cube, and 50 tell them well enough. */
const MOST_FITTED = 50;

interface Fit {
  score: number;
  lower: Float64Array[];
  solved: Float64Array;
  variance: number;
}

export function fitProcess(points: readonly (readonly number[])[], values: readonly number[]): Process {
  const count = points.length;
  const dimensions = points[0]!.length;
  const middle = values.reduce((sum, value) => sum + value, 0) / count;
  const centred = Float64Array.from(values, (value) => value - middle);
  const every = Math.ceil(count / MOST_FITTED);
  const isFitted = (_: unknown, index: number): boolean => index % every === 0;
  const fewSquares = pairSquares(points.filter(isFitted));
  const fewValues = centred.filter(isFitted);
  const tryOut = (logs: readonly number[]): Fit => evaluate(fewSquares, fewValues, logs);

  let best: number[] = [];
  let fit: Fit | undefined;
  for (const length of [0.2, 0.5, 1.2])
    for (const noise of [0.002, 0.05, 0.4]) {
      const logs = [...new Array<number>(dimensions).fill(Math.log(length)), Math.log(noise)];
      const other = tryOut(logs);
      if (fit === undefined || other.score > fit.score) [best, fit] = [logs, other];
    }
  for (const factor of FACTORS)
    for (let d = 0; d <= dimensions; d++)
      for (const sign of [1, -1]) {
        const logs = best.with(d, best[d]! + sign * Math.log(factor));
        const other = tryOut(logs);
        if (other.score > fit!.score) {
          [best, fit] = [logs, other];
          break;
        }
      }

  const { lower, solved, variance } = every === 1 ? fit! : evaluate(pairSquares(points), centred, best);
  const inverse = best.slice(0, dimensions).map((log) => Math.exp(-2 * log));
  const row = new Float64Array(count);
  return {
    predict(at) {
      let mean = middle;
      let explained = 0;
      for (let i = 0; i < count; i++) {
        const point = points[i]!;
        let square = 0;
        for (let d = 0; d < dimensions; d++) square += inverse[d]! * (at[d]! - point[d]!) ** 2;
        const correlation = matern(square);
        mean += correlation * solved[i]!;
        let rest = correlation;
        const line = lower[i]!;
        for (let j = 0; j < i; j++) rest -= line[j]! * row[j]!;
        row[i] = rest / line[i]!;
        explained += row[i]! ** 2;
      }
      return { mean, deviation: Math.sqrt(variance * Math.max(1 - explained, 1e-9)) };
    },
  };
}

function matern(square: number): number {
  const r = Math.sqrt(5 * square);
  return (1 + r + r * r * (1 / 3)) * Math.exp(-r);
}

/** Squared differences of every pair in every dimension: [i][j < i][dimension]. */
function pairSquares(points: readonly (readonly number[])[]): Float64Array[] {
  const dimensions = points[0]!.length;
  return points.map((a, i) => {
    const row = new Float64Array(i * dimensions);
    for (let j = 0; j < i; j++)
      for (let d = 0; d < dimensions; d++) row[j * dimensions + d] = (a[d]! - points[j]![d]!) ** 2;
    return row;
  });
}

function evaluate(squares: readonly Float64Array[], values: Float64Array, logs: readonly number[]): Fit {
  const count = values.length;
  const dimensions = logs.length - 1;
  const inverse = logs.slice(0, dimensions).map((log) => Math.exp(-2 * log));
  const noise = Math.exp(logs[dimensions]!) + NOISE.least;
  const lower: Float64Array[] = [];
  const half = new Float64Array(count);
  let logDeterminant = 0;
  let fitted = 0;
  for (let i = 0; i < count; i++) {
    const line = new Float64Array(i + 1);
    const row = squares[i]!;
    let rest = 1 + noise;
    let value = values[i]!;
    for (let j = 0; j < i; j++) {
      let square = 0;
      for (let d = 0; d < dimensions; d++) square += inverse[d]! * row[j * dimensions + d]!;
      let sum = matern(square);
      const other = lower[j]!;
      for (let k = 0; k < j; k++) sum -= line[k]! * other[k]!;
      sum /= other[j]!;
      line[j] = sum;
      rest -= sum * sum;
      value -= sum * half[j]!;
    }
    const root = Math.sqrt(Math.max(rest, 1e-10));
    line[i] = root;
    lower.push(line);
    half[i] = value / root;
    logDeterminant += 2 * Math.log(root);
    fitted += half[i]! ** 2;
  }
  const solved = new Float64Array(count);
  for (let i = count - 1; i >= 0; i--) {
    let sum = half[i]!;
    for (let j = i + 1; j < count; j++) sum -= lower[j]![i]! * solved[j]!;
    solved[i] = sum / lower[i]![i]!;
  }
  const variance = Math.max(fitted / count, 1e-12);
  let score = -0.5 * (count * Math.log(variance) + logDeterminant);
  for (const log of logs.slice(0, dimensions)) score -= 0.5 * ((log - LENGTH.middle) / LENGTH.deviation) ** 2;
  score -= 0.5 * ((logs[dimensions]! - NOISE.middle) / NOISE.deviation) ** 2;
  return { score, lower, solved, variance };
}
