/**
 * Multi-objective tree-structured Parzen estimator: what distinguishes good points from the others, dimension by
 * dimension (Bergstra et al. 2011; several objectives: Ozaki et al., GECCO 2020 and JAIR 73, 2022).
 *
 * The best fifth of the trials, front by front and within a front by hypervolume, makes one density, all others make
 * a second one. Of points drawn from the first, those come first where the ratio of the two is largest. Failed and
 * running trials are among the others: one keeps away from them. Densities know no distances between objectives,
 * so steps and noise disturb them little.
 */
import { chooseByHypervolume, contributions, fronts, referenceFor, scaled } from "./dominance.ts";
import type { Knowledge } from "./observed.ts";
import { parzen } from "./parzen.ts";
import type { Draw } from "./random-stream.ts";
import { type Dimension, valueAt } from "./space.ts";

/** Of the trials so many are good; 0.1 to 0.3 differ little. */
const GOOD_SHARE = 0.2;
const CANDIDATES = 48;
/** A few come from everywhere, for a space where the good ones have all been tried. */
const UNIFORM_CANDIDATES = 16;
/** No good point counts less than this against the one that adds most to the hypervolume. */
const LEAST_WEIGHT = 0.1;

/** Candidates, the most promising first. */
export function rankByDensity(
  space: readonly Dimension[],
  { observed, failed, pending }: Knowledge,
  { draw }: { draw: Draw },
): number[][] {
  const { good, weights } = chooseGood(scaled(observed.map(({ objectives }) => objectives)));
  const isGood = new Set(good);
  const others = [
    ...observed.filter((_, index) => !isGood.has(index)).map(({ point }) => point),
    ...failed,
    ...pending,
  ];
  const goodDensity = parzen(
    space,
    good.map((index) => observed[index]!.point),
    { weights },
  );
  const otherDensity = parzen(space, others, { weights: others.map(() => 1) });
  const candidates = [
    ...Array.from({ length: CANDIDATES }, () => goodDensity.draw(draw)),
    ...Array.from({ length: UNIFORM_CANDIDATES }, () => space.map((one) => valueAt(one, draw()))),
  ];
  return candidates
    .map((point) => ({ point, score: goodDensity.logDensity(point) - otherDensity.logDensity(point) }))
    .sort((a, b) => b.score - a.score)
    .map(({ point }) => point);
}

/** Indexes of the good trials, and how much each counts: by what it adds to the hypervolume of them all. */
function chooseGood(all: readonly (readonly number[])[]): { good: number[]; weights: number[] } {
  const count = Math.ceil(GOOD_SHARE * all.length);
  const good: number[] = [];
  for (const front of fronts(all)) {
    const missing = count - good.length;
    if (missing <= 0) break;
    const points = front.map((index) => all[index]!);
    const chosen =
      front.length <= missing
        ? front
        : chooseByHypervolume(points, referenceFor(points), { count: missing }).map((at) => front[at]!);
    good.push(...chosen);
  }
  const points = good.map((index) => all[index]!);
  const added = contributions(points, referenceFor(points));
  const most = Math.max(...added);
  return { good, weights: added.map((one) => (most > 0 ? Math.max(one / most, LEAST_WEIGHT) : 1)) };
}
