/**
 * A density over a space, from points: one kernel on each, and a uniform one for what no point has shown yet.
 *
 * Dimensions are taken by themselves, as in the first TPE: a mixture in each, and the product of them. Kernels that
 * were places in all dimensions at once gained less (docs/SEARCH.md). A kernel is a normal density cut off at the
 * ends of the range and, where values are discrete, summed over the cell of each; for a list without order the own
 * value and an equal share of all.
 */
import { type Draw, normal } from "./random-stream.ts";
import { cellOf, countValues, type Dimension, isUnordered, unitOf, valueAt } from "./space.ts";

export interface Parzen {
  /** A point drawn from the density. */
  draw(draw: Draw): number[];
  /** Logarithm of the density; of a probability, where a dimension is discrete. */
  logDensity(point: readonly number[]): number;
}

/** A value, where it stands in the unit interval, and its cell where it has one. */
interface Place {
  value: number;
  unit: number;
  cell: [number, number] | undefined;
}

/** Width of a kernel on one point; with n of them it shrinks by n^(−1/5), as Scott (1992) has it. */
const WIDTH = 0.2;
const LEAST_WIDTH = 0.01;

/** `weights` say how much each point counts; 1 is as much as the uniform kernel. */
export function parzen(
  space: readonly Dimension[],
  points: readonly (readonly number[])[],
  { weights }: { weights: readonly number[] },
): Parzen {
  const total = weights.reduce((sum, weight) => sum + weight, 0) + 1;
  const width = Math.max(WIDTH * Math.max(points.length, 1) ** (-1 / 5), LEAST_WIDTH);
  const centres = points.map((point) => point.map((value, d) => unitOf(space[d]!, value)));
  const masses = centres.map((centre) => centre.map((at) => normalMass(-at / width, (1 - at) / width)));
  const kept = space.map((dimension) => keptShare(dimension, width));

  const pick = (draw: Draw): number => {
    let rest = draw() * total;
    for (const [k, weight] of weights.entries()) {
      rest -= weight;
      if (rest < 0) return k;
    }
    return -1;
  };
  const drawValue = (d: number, k: number, draw: Draw): number => {
    const dimension = space[d]!;
    if (k < 0) return valueAt(dimension, draw());
    if (isUnordered(dimension)) return draw() < kept[d]! ? points[k]![d]! : valueAt(dimension, draw());
    for (;;) {
      const unit = centres[k]![d]! + width * normal(draw);
      if (unit >= 0 && unit < 1) return valueAt(dimension, unit);
    }
  };
  /** Kernel k in dimension d; the uniform one has 1 per unit of length, so a cell has its length. */
  const kernel = (d: number, k: number, { value, unit, cell }: Place): number => {
    const dimension = space[d]!;
    if (isUnordered(dimension)) {
      const share = (1 - kept[d]!) / countValues(dimension);
      return points[k]![d] === value ? kept[d]! + share : share;
    }
    const centre = centres[k]![d]!;
    if (cell !== undefined)
      return normalMass((cell[0] - centre) / width, (cell[1] - centre) / width) / masses[k]![d]!;
    const z = (unit - centre) / width;
    return Math.exp(-0.5 * z * z) / (width * Math.sqrt(2 * Math.PI) * masses[k]![d]!);
  };

  return {
    draw: (draw) => space.map((_, d) => drawValue(d, pick(draw), draw)),
    logDensity(point) {
      let logProduct = 0;
      for (const [d, dimension] of space.entries()) {
        const value = point[d]!;
        const cell = cellOf(dimension, value);
        const unit = unitOf(dimension, value);
        let sum = cell === undefined ? 1 : cell[1] - cell[0];
        for (const [k, weight] of weights.entries()) sum += weight * kernel(d, k, { value, unit, cell });
        logProduct += Math.log(sum / total);
      }
      return logProduct;
    },
  };
}

/** How often a kernel of a list without order stays at its own value. */
function keptShare(dimension: Dimension, width: number): number {
  return isUnordered(dimension) ? Math.max(1 - 2 * width, 0.2) : 1;
}

/** Standard normal mass between two places (Abramowitz and Stegun 7.1.26, error below 1.5·10⁻⁷). */
function normalMass(from: number, to: number): number {
  return Math.max(cumulative(to) - cumulative(from), 1e-12);
}

function cumulative(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const series =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const half = 0.5 * series * Math.exp(-x * x);
  return z < 0 ? half : 1 - half;
}
