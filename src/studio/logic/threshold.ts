/**
 * How much a threshold would merge, asked while a slider moves: distances are sorted once, with the bytes above each, and then
 * found by halving. A tensor is merged when its distance is above δ.
 */
export interface Measured {
  distance: number;
  bytes: number;
}

export interface Amount {
  tensors: number;
  bytes: number;
}

export interface Thresholds {
  total: Amount;
  /** Least and largest distance that are neither 0 nor infinite; absent where there is none. */
  range?: readonly [number, number];
  above(delta: number): Amount;
}

export function thresholdsOf(rows: readonly Measured[]): Thresholds {
  const sorted = [...rows].sort((a, b) => a.distance - b.distance);
  const distances = Float64Array.from(sorted, ({ distance }) => distance);
  /** Bytes from an index to the end. */
  const bytesFrom = new Float64Array(sorted.length + 1);
  for (let index = sorted.length - 1; index >= 0; index--)
    bytesFrom[index] = bytesFrom[index + 1]! + sorted[index]!.bytes;
  const above = (delta: number): Amount => {
    let [low, high] = [0, distances.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (distances[middle]! > delta) high = middle;
      else low = middle + 1;
    }
    return { tensors: distances.length - low, bytes: bytesFrom[low]! };
  };
  const finite = distances.filter((distance) => distance > 0 && distance < Number.POSITIVE_INFINITY);
  const total = { tensors: distances.length, bytes: bytesFrom[0]! };
  return finite.length === 0 ? { total, above } : { total, above, range: [finite[0]!, finite.at(-1)!] };
}

/** Steps of a slider over δ; the first is 0, the others lie evenly on a logarithmic scale. */
export const DELTA_STEPS = 500;

/** δ of a step, in four digits, as it can be typed into a recipe. The last one has nothing above it. */
export function deltaAt(step: number, [least, most]: readonly [number, number]): number {
  if (step <= 0) return 0;
  const low = Math.log(least * 0.98);
  const share = (step - 1) / (DELTA_STEPS - 1);
  const value = Number(Math.exp(low + share * (Math.log(most) - low)).toPrecision(4));
  return step >= DELTA_STEPS && value < most ? Number((most * 1.0005).toPrecision(4)) : value;
}

export function stepOf(delta: number, [least, most]: readonly [number, number]): number {
  if (delta <= 0) return 0;
  const low = Math.log(least * 0.98);
  const span = Math.log(most) - low;
  const share = span === 0 ? 0 : (Math.log(delta) - low) / span;
  return Math.max(1, Math.min(DELTA_STEPS, Math.round(1 + share * (DELTA_STEPS - 1))));
}
