/**
 * What a λ-curve says of the three findings of "Assembly of Experts" (Klagges et al., arXiv 2506.14794), in numbers: scores
 * change gradually, the thinking trace sets in sharply, nearly every child works. Found or not is said by fixed
 * rules, so that a curve cannot be talked into either.
 *
 * One rule for scores and traces: from where to where on the λ axis does the curve make the middle 80 % of its change? A
 * straight line takes 80 % of the axis. Up to half of that is sharp, more is gradual.
 */
import type { MeasuredPoint } from "./sweep.ts";

export interface Transition {
  /** At the ends of the axis. */
  first: number;
  last: number;
  least: number;
  most: number;
  /** The λ between which the curve goes from its lowest tenth to its highest; null: it does not change. */
  from: number | null;
  to: number | null;
  /** What part of the axis that is. */
  share: number | null;
  /** unknown: too few points to tell. */
  kind: "gradual" | "sharp" | "none" | "unknown";
}

export interface CurveFindings {
  curve: string;
  /** null: nothing is scored. */
  accuracy: Transition | null;
  thinking: Transition;
  functional: {
    /** Children of which at least 90 % of the answers end, close their trace and say something. */
    count: number;
    of: number;
    /** The least share of such answers. */
    least: number;
  };
}

const TENTH = 0.1;
/** Between two points lies nothing: with fewer intervals than these even a step looks like a slope. */
const LEAST_INTERVALS = 4;
/** Half of the 80 % that a straight line takes. */
const SHARP = 0.4;
const WORKS = 0.9;
/** Changes below these are none: noise of a few hundred questions; traces that come and go. */
const LEAST_ACCURACY = 0.05;
const LEAST_THINKING = 0.2;

/** Of each curve, its points in order of λ. */
export function curveFindings(points: readonly MeasuredPoint[]): CurveFindings[] {
  const curves = new Map<string, MeasuredPoint[]>();
  for (const point of points) curves.set(point.curve, [...(curves.get(point.curve) ?? []), point]);
  return [...curves].flatMap(([curve, some]) => {
    const answered = some.filter(({ summary }) => summary.overall).sort((a, b) => a.x - b.x);
    return answered.length > 0 ? [findingsOf(curve, answered)] : [];
  });
}

function findingsOf(curve: string, points: readonly MeasuredPoint[]): CurveFindings {
  const groups = points.map(({ x, summary }) => ({ x, ...summary.overall! }));
  const scored = groups.flatMap(({ x, accuracy }) => (accuracy ? [{ x, y: accuracy.value }] : []));
  const traces = groups.map(({ x, opensThinking }) => ({ x, y: opensThinking.value }));
  const working = groups.map(({ functional }) => functional.value);
  return {
    curve,
    accuracy: scored.length > 0 ? transitionOf(scored, LEAST_ACCURACY) : null,
    thinking: transitionOf(traces, LEAST_THINKING),
    functional: {
      count: working.filter((share) => share >= WORKS).length,
      of: working.length,
      least: Math.min(...working),
    },
  };
}

/** Of at least one point, in order of x. */
export function transitionOf(points: readonly { x: number; y: number }[], leastChange: number): Transition {
  const ys = points.map(({ y }) => y);
  const [least, most] = [Math.min(...ys), Math.max(...ys)];
  const [start, end] = [points[0]!, points.at(-1)!];
  const known = { first: start.y, last: end.y, least, most };
  const none: Transition = { ...known, from: null, to: null, share: null, kind: "none" };
  if (most - least < leastChange || start.x === end.x) return none;
  if (points.length <= LEAST_INTERVALS) return { ...none, kind: "unknown" };
  // What fades is seen from its other end.
  const rising = start.y <= end.y ? points : [...points].reverse();
  const margin = TENTH * (most - least);
  const above = rising.findIndex(({ y }) => y >= most - margin);
  const below = rising.slice(0, above).findLastIndex(({ y }) => y <= least + margin);
  if (below < 0) return none; // it begins at its height: no transition that has two ends
  const [from, to] = [rising[below]!.x, rising[above]!.x].sort((a, b) => a - b) as [number, number];
  const share = (to - from) / Math.abs(end.x - start.x);
  return { ...known, from, to, share, kind: share <= SHARP + 1e-9 ? "sharp" : "gradual" };
}
