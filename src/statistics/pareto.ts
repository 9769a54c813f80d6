/**
 * What is worth looking at where there is more than one aim: the points that no other beats, and how much of
 * the plane they beat (Zitzler and Thiele, Multiobjective Evolutionary Algorithms, IEEE Transactions on
 * Evolutionary Computation 3, 1999). All aims are minimised: negate what shall be large.
 */

/**
 * Indices, in the order given, of the points that none dominates: none is as good in all aims and better in
 * one. Equal points stay together; a point with NaN is on no front, since it was not measured.
 */
export function paretoFront(points: readonly (readonly number[])[]): number[] {
  for (const point of points) {
    if (point.length !== points[0]!.length) {
      throw new RangeError(`Cannot compare points of ${points[0]!.length} and ${point.length} aims`);
    }
  }
  const measured = [...points.keys()].filter((i) => !points[i]!.some(Number.isNaN));
  return measured.filter((i) => !measured.some((j) => dominates(points[j]!, points[i]!)));
}

function dominates(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, aim) => value <= b[aim]!) && a.some((value, aim) => value < b[aim]!);
}

/** The area between points of two aims and a reference that is worse in both; others add nothing. */
export function hypervolume2(points: readonly (readonly number[])[], reference: readonly number[]): number {
  for (const { length } of [...points, reference]) {
    if (length !== 2) throw new RangeError(`Cannot measure a point of ${length} aims, wanted 2`);
  }
  const [right, top] = reference as [number, number];
  const inside = points.filter((point) => point[0]! < right && point[1]! < top);
  inside.sort((a, b) => a[0]! - b[0]!);
  let area = 0;
  let reached = top;
  // From left to right each point adds the strip between its height and the lowest before it.
  for (const [x, y] of inside as [number, number][]) {
    if (y >= reached) continue;
    area += (right - x) * (reached - y);
    reached = y;
  }
  return area;
}
