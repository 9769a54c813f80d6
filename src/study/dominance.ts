/**
 * Comparing trials by several objectives, all minimised: who dominates whom, and how much space a set dominates.
 *
 * The hypervolume is the space between a set and a reference point that is worse than all of it. It is cut into
 * slices along the last objective (Zitzler 2001; exponential in the number of objectives, quick for 2 and 3).
 */

export type Objectives = readonly number[];

/** The worst that is told apart, in distances from the best to the third quartile. */
const WORST = 3;

/** Whether a is nowhere worse than b, and somewhere better. */
export function dominates(a: Objectives, b: Objectives): boolean {
  let isBetter = false;
  for (let i = 0; i < a.length; i++) {
    if (a[i]! > b[i]!) return false;
    if (a[i]! < b[i]!) isBetter = true;
  }
  return isBetter;
}

/** The fronts: what nothing dominates, then what only that dominates, and so on; as indexes. */
export function fronts(all: readonly Objectives[]): number[][] {
  const result: number[][] = [];
  let rest = all.map((_, index) => index);
  while (rest.length > 0) {
    const front = rest.filter((i) => !rest.some((j) => dominates(all[j]!, all[i]!)));
    result.push(front);
    const taken = new Set(front);
    rest = rest.filter((index) => !taken.has(index));
  }
  return result;
}

/** The space that points dominate, up to the reference; what does not reach below it counts nothing. */
export function hypervolume(points: readonly Objectives[], reference: Objectives): number {
  const inside = points.filter((point) => point.every((value, i) => value < reference[i]!));
  return volumeOf(inside, reference, reference.length);
}

function volumeOf(points: readonly Objectives[], reference: Objectives, count: number): number {
  if (points.length === 0) return 0;
  const last = count - 1;
  if (count === 1) return reference[0]! - Math.min(...points.map((point) => point[0]!));
  const sorted = points.toSorted((a, b) => a[last]! - b[last]!);
  let volume = 0;
  if (count === 2) {
    let reached = reference[0]!;
    for (const point of sorted) {
      if (point[0]! >= reached) continue;
      volume += (reached - point[0]!) * (reference[1]! - point[1]!);
      reached = point[0]!;
    }
    return volume;
  }
  for (const [index, point] of sorted.entries()) {
    const end = sorted[index + 1]?.[last] ?? reference[last]!;
    const height = end - point[last]!;
    if (height > 0) volume += height * volumeOf(sorted.slice(0, index + 1), reference, last);
  }
  return volume;
}

/**
 * Each objective scaled so that these trials reach from 0 to 1; one that is the same for all becomes 0. What is
 * very bad counts as bad: a child that never stops answering must not make all the others look alike.
 */
export function scaled(all: readonly Objectives[]): number[][] {
  const count = all[0]?.length ?? 0;
  const ranges = Array.from({ length: count }, (_, i) => {
    const sorted = all.map((objectives) => objectives[i]!).sort((a, b) => a - b);
    const [low, quartile, high] = [sorted[0]!, sorted[Math.floor(0.75 * sorted.length)]!, sorted.at(-1)!];
    return [low, quartile > low ? Math.min(high, low + WORST * (quartile - low)) : high] as const;
  });
  return all.map((objectives) =>
    objectives.map((value, i) => {
      const [low, high] = ranges[i]!;
      return high > low ? Math.min((value - low) / (high - low), 1) : 0;
    }),
  );
}

/** A reference point a little worse than all of these, which are scaled. */
export function referenceFor(points: readonly Objectives[]): number[] {
  return (points[0] ?? []).map((_, i) => Math.max(...points.map((point) => point[i]!)) + 0.1);
}

/** What each point adds to the hypervolume of the others. */
export function contributions(points: readonly Objectives[], reference: Objectives): number[] {
  const whole = hypervolume(points, reference);
  return points.map((_, index) => whole - hypervolume(points.toSpliced(index, 1), reference));
}

/** Indexes of `count` points that dominate much together: each time the one that adds most (the first of equals). */
export function chooseByHypervolume(
  points: readonly Objectives[],
  reference: Objectives,
  { count }: { count: number },
): number[] {
  const chosen: number[] = [];
  const rest = points.map((_, index) => index);
  while (chosen.length < count && rest.length > 0) {
    const before = chosen.map((index) => points[index]!);
    let best = 0;
    let most = Number.NEGATIVE_INFINITY;
    for (const [at, index] of rest.entries()) {
      const volume = hypervolume([...before, points[index]!], reference);
      if (volume > most) [best, most] = [at, volume];
    }
    chosen.push(...rest.splice(best, 1));
  }
  return chosen;
}
