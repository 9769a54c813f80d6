/**
 * The first points of a search, before anything is known: a Latin hypercube (McKay, Beckman and Conover 1979).
 *
 * With n points each dimension is cut into n slices, and every slice holds exactly one of them: n values are seen of
 * every dimension, however many dimensions there are. Of several such designs the one is taken whose two nearest
 * points are farthest apart.
 */
import { PURPOSE, permutation, randomStream } from "./random-stream.ts";

const DESIGNS = 32;

/** `count` points of the unit cube. */
export function latinHypercube(dimensions: number, count: number, { seed }: { seed: number }): number[][] {
  let best: number[][] = [];
  let widest = Number.NEGATIVE_INFINITY;
  for (let design = 0; design < DESIGNS; design++) {
    const draw = randomStream(seed, design, PURPOSE.design);
    const columns = Array.from({ length: dimensions }, () =>
      permutation(count, draw).map((slice) => (slice + draw()) / count),
    );
    const points = Array.from({ length: count }, (_, row) => columns.map((column) => column[row]!));
    const distance = nearest(points);
    if (distance > widest) [best, widest] = [points, distance];
  }
  return best;
}

/** Square of the distance between the two nearest points. */
function nearest(points: readonly (readonly number[])[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (const [i, a] of points.entries())
    for (const b of points.slice(0, i)) {
      const square = a.reduce((sum, value, d) => sum + (value - b[d]!) ** 2, 0);
      least = Math.min(least, square);
    }
  return least;
}
