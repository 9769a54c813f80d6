/**
 * Efficient global optimisation by hypervolume: a Gaussian process for each objective, and the point whose hopeful
 * prediction would add most to the front (SMS-EGO: Ponweiser, Wagner, Biermann and Vincze, PPSN 2008).
 *
 * The front is that of the predictions at the trials, not of what they measured: among noisy measurements the
 * lucky ones would stay for ever. A running trial counts as what is predicted for it (Ginsbourger et al. 2010,
 * the "kriging believer"), a failed one as the worst of every objective.
 */
import { fronts, hypervolume, referenceFor, scaled } from "./dominance.ts";
import { fitProcess, type Process } from "./gaussian-process.ts";
import type { Knowledge } from "./observed.ts";
import { type Draw, normal } from "./random-stream.ts";
import { type Dimension, isUnordered, unitOf, valueAt } from "./space.ts";

/** Hope: so many deviations below the mean. 2 explores too much for 30 to 60 trials (docs/SEARCH.md). */
const HOPE = 0.5;
const UNIFORM_CANDIDATES = 300;
const NEAR_CANDIDATES = 300;
const NEAR_WIDTHS = [0.3, 0.1, 0.03];

/** Candidates, the most promising first. */
export function rankByProcess(
  space: readonly Dimension[],
  { observed, failed, pending }: Knowledge,
  { draw }: { draw: Draw },
): number[][] {
  const places = (points: readonly (readonly number[])[]): number[][] =>
    points.map((point) => placeOf(space, point));
  const values = scaled(observed.map(({ objectives }) => objectives));
  const worst = values[0]!.map((_, i) => Math.max(...values.map((one) => one[i]!)));
  let known = places([...observed.map(({ point }) => point), ...failed]);
  let targets = [...values, ...failed.map(() => worst)];
  let processes = fitAll(known, targets);
  if (pending.length > 0) {
    const running = places(pending);
    known = [...known, ...running];
    targets = [...targets, ...running.map((place) => processes.map((one) => one.predict(place).mean))];
    processes = fitAll(known, targets);
  }

  const means = known.map((place) => processes.map((one) => one.predict(place).mean));
  const first = fronts(means)[0]!;
  const front = first.map((index) => means[index]!);
  const reference = referenceFor(front);
  const before = hypervolume(front, reference);
  const points = [...observed.map(({ point }) => point), ...failed, ...pending];
  return drawCandidates(
    space,
    first.map((index) => points[index]!),
    { draw },
  )
    .map((point) => {
      const place = placeOf(space, point);
      const hopeful = processes.map((process) => {
        const { mean, deviation } = process.predict(place);
        return mean - HOPE * deviation;
      });
      const gain = hypervolume([...front, hopeful], reference) - before;
      return { point, score: gain > 1e-12 ? gain : -shortfall(front, hopeful) };
    })
    .sort((a, b) => b.score - a.score)
    .map(({ point }) => point);
}

function fitAll(places: readonly number[][], targets: readonly (readonly number[])[]): Process[] {
  return targets[0]!.map((_, i) =>
    fitProcess(
      places,
      targets.map((one) => one[i]!),
    ),
  );
}

/** How far a point lies behind the front. */
function shortfall(front: readonly (readonly number[])[], hopeful: readonly number[]): number {
  let most = 0;
  for (const one of front)
    if (one.every((value, i) => value <= hopeful[i]!))
      most = Math.max(most, one.reduce((product, value, i) => product * (1 + hopeful[i]! - value), 1) - 1);
  return most;
}

/** Points from everywhere, and points that differ from one of the front in some dimensions. */
function drawCandidates(
  space: readonly Dimension[],
  front: readonly (readonly number[])[],
  { draw }: { draw: Draw },
): number[][] {
  const anywhere = Array.from({ length: UNIFORM_CANDIDATES }, () => space.map((one) => valueAt(one, draw())));
  const near = Array.from({ length: NEAR_CANDIDATES }, (_, index) => {
    const from = front[Math.floor(draw() * front.length)]!;
    const width = NEAR_WIDTHS[index % NEAR_WIDTHS.length]!;
    const share = Math.max(2 / space.length, draw());
    return space.map((dimension, d) => {
      if (draw() >= share) return from[d]!;
      if (isUnordered(dimension)) return valueAt(dimension, draw());
      const unit = unitOf(dimension, from[d]!) + width * normal(draw);
      return valueAt(dimension, Math.min(Math.max(unit, 0), 1));
    });
  });
  return [...anywhere, ...near];
}

/** A point as the processes see it: a list without order has a coordinate for each value, 0 or √½. */
function placeOf(space: readonly Dimension[], point: readonly number[]): number[] {
  return space.flatMap((dimension, d) =>
    dimension.kind === "list" && isUnordered(dimension)
      ? dimension.values.map((value) => (value === point[d] ? Math.SQRT1_2 : 0))
      : [unitOf(dimension, point[d]!)],
  );
}
