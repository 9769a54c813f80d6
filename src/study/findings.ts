/**
 * What a λ-curve says of the three findings of "Assembly of Experts" (Klagges et al., arXiv 2506.14794), in numbers: scores
 * change gradually, the thinking trace sets in sharply, nearly every child works. Found or not is said by fixed
 * rules, so that a curve cannot be talked into either.
 */
import type { MeasuredPoint } from "./sweep.ts";

export interface CurveFindings {
  curve: string;
  accuracy: {
    first: number;
    last: number;
    /** Largest difference within the curve. */
    range: number;
    /** The largest change between neighbours, where it is, and what part of the range it is. */
    largestStep: number;
    from: number;
    to: number;
    share: number;
    /** No single step makes more than half of the change. null: nothing changes. */
    isGradual: boolean | null;
  } | null;
  thinking: {
    first: number;
    last: number;
    /** The λ between which the share of traces goes from below 10 % to above 90 %; null: it does not. */
    onset: { from: number; to: number } | null;
    /** Onset within a quarter of the curve. */
    isSharp: boolean | null;
  };
  functional: {
    /** Children of which at least 90 % of the answers end, close their trace and say something. */
    count: number;
    of: number;
    /** The least share of such answers. */
    least: number;
  };
}

const FEW = 0.1;
const MOST = 0.9;
const GRADUAL = 0.5;
const SHARP = 0.25;
/** A change of accuracy below this is noise of a few hundred questions. */
const LEAST_RANGE = 0.05;

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
  const working = groups.map(({ functional }) => functional.value);
  return {
    curve,
    accuracy: accuracyOf(
      groups.flatMap(({ x, accuracy }) => (accuracy ? [{ x, value: accuracy.value }] : [])),
    ),
    thinking: thinkingOf(groups.map(({ x, opensThinking }) => ({ x, value: opensThinking.value }))),
    functional: {
      count: working.filter((share) => share >= MOST).length,
      of: working.length,
      least: Math.min(...working),
    },
  };
}

interface CurvePoint {
  x: number;
  value: number;
}

function accuracyOf(points: readonly CurvePoint[]): CurveFindings["accuracy"] {
  if (points.length < 2) return null;
  const values = points.map(({ value }) => value);
  const range = Math.max(...values) - Math.min(...values);
  let step = { size: 0, from: points[0]!.x, to: points[1]!.x };
  for (let i = 1; i < points.length; i++) {
    const size = Math.abs(values[i]! - values[i - 1]!);
    if (size > step.size) step = { size, from: points[i - 1]!.x, to: points[i]!.x };
  }
  const share = range > 0 ? step.size / range : 0;
  return {
    ...{ first: values[0]!, last: values.at(-1)!, range, largestStep: step.size },
    ...{ from: step.from, to: step.to, share, isGradual: range < LEAST_RANGE ? null : share <= GRADUAL },
  };
}

function thinkingOf(points: readonly CurvePoint[]): CurveFindings["thinking"] {
  const first = points[0]!;
  const last = points.at(-1)!;
  const ends = { first: first.value, last: last.value };
  // A trace that fades is an onset seen from the other end.
  const rising = first.value <= last.value ? points : [...points].reverse();
  const above = rising.findIndex(({ value }) => value > MOST);
  const below = above < 0 ? -1 : rising.slice(0, above).findLastIndex(({ value }) => value < FEW);
  if (above < 0 || below < 0) return { ...ends, onset: null, isSharp: null };
  const [from, to] = [rising[below]!.x, rising[above]!.x].sort((a, b) => a - b) as [number, number];
  return { ...ends, onset: { from, to }, isSharp: to - from <= SHARP * Math.abs(last.x - first.x) + 1e-9 };
}
