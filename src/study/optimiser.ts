/**
 * Which point to evaluate next: ask and tell without a state.
 *
 * A proposal depends on nothing but the arguments, so a search that was killed goes on with the very same points.
 * The first ones are a Latin hypercube; then two methods take turns. A Gaussian process uses every number and needs
 * few of them where objectives are smooth; the Parzen estimator only asks who is among the best, and holds on where
 * they jump. What each is worth, alone and in turns, is measured in docs/SEARCH.md.
 */
import { latinHypercube } from "./latin-hypercube.ts";
import type { Knowledge } from "./observed.ts";
import { PURPOSE, randomStream } from "./random-stream.ts";
import { rankByProcess } from "./sms-ego.ts";
import { checkSpace, countPoints, type Dimension, holds, keyOf, pointsOf, valueAt } from "./space.ts";
import { rankByDensity } from "./tpe.ts";

export interface Trial {
  point: readonly number[];
  /** All minimised. null: failed; absent: still running. */
  objectives?: readonly number[] | null;
}

/** random: the baseline; tpe, gaussian: one method alone; turns: both in turns. */
export const METHODS = ["turns", "gaussian", "tpe", "random"] as const;
export type Method = (typeof METHODS)[number];

export interface ProposeOptions {
  seed: number;
  /** Index of the trial that the point is for. */
  trial: number;
  /** Default: turns. */
  method?: Method;
}

/** Before a method has its say: as many trials as dimensions, within these. */
const DESIGN = { least: 8, most: 16 };
/** Tries to hit a point that was not proposed yet by chance, before a finite space is gone through. */
const TRIES = 200;
/** The largest space that is gone through. */
const MOST_POINTS = 10_000;

/**
 * The point of a trial, given all that began before it, in the order of their indexes. Points outside the space are
 * left out of account. No point is proposed twice, unless the space has no other left (`isExhausted`).
 */
export function propose(
  space: readonly Dimension[],
  history: readonly Trial[],
  { seed, trial, method = "turns" }: ProposeOptions,
): number[] {
  checkSpace(space);
  checkHistory(space, history);
  checkNumbers(seed, trial);
  const taken = new Set(history.map(({ point }) => keyOf(point)));
  const isNew = (point: readonly number[]): boolean => !taken.has(keyOf(point));
  const promising = rank(space, history, { seed, trial, method }).find(isNew);
  if (promising !== undefined) return promising;

  const draw = randomStream(seed, trial, PURPOSE.uniform);
  const anywhere = (): number[] => space.map((dimension) => valueAt(dimension, draw()));
  for (let tries = 0; tries < TRIES; tries++) {
    const point = anywhere();
    if (isNew(point)) return point;
  }
  if (countPoints(space) <= MOST_POINTS) {
    const left = [...pointsOf(space)].filter(isNew);
    if (left.length > 0) return left[Math.floor(draw() * left.length)]!;
  }
  return anywhere();
}

/** Points of `count` trials that will run side by side: each is chosen as if those before it were running. */
export function proposeBatch(
  space: readonly Dimension[],
  history: readonly Trial[],
  { count, trial, ...options }: ProposeOptions & { count: number },
): number[][] {
  const points: number[][] = [];
  while (points.length < count) {
    const running = points.map((point): Trial => ({ point }));
    points.push(propose(space, [...history, ...running], { ...options, trial: trial + points.length }));
  }
  return points;
}

/** Whether every point of the space is in the history. */
export function isExhausted(space: readonly Dimension[], history: readonly Trial[]): boolean {
  const inside = history.filter(({ point }) => isInside(space, point)).map(({ point }) => keyOf(point));
  return new Set(inside).size >= countPoints(space);
}

/** Points that the method would like, the best first; none where it has no opinion. */
function rank(
  space: readonly Dimension[],
  history: readonly Trial[],
  { seed, trial, method }: Required<ProposeOptions>,
): number[][] {
  if (method === "random") return [];
  const size = Math.min(Math.max(space.length, DESIGN.least), DESIGN.most);
  const knowledge = knowledgeOf(space, history);
  if (history.length < size || knowledge.observed.length < 2) {
    const design = latinHypercube(space.length, size, { seed });
    const start = space.some((dimension) => dimension.start !== undefined)
      ? [space.map((dimension) => dimension.start ?? valueAt(dimension, 0.5))]
      : [];
    const row = history.length < size ? [design[trial % size]!] : [];
    return [...start, ...row.map((units) => units.map((unit, d) => valueAt(space[d]!, unit)))];
  }
  const draw = randomStream(seed, trial, PURPOSE.candidates);
  const isTpe = method === "tpe" || (method === "turns" && trial % 2 === 0);
  return isTpe ? rankByDensity(space, knowledge, { draw }) : rankByProcess(space, knowledge, { draw });
}

function knowledgeOf(space: readonly Dimension[], history: readonly Trial[]): Knowledge {
  const inside = history.filter(({ point }) => isInside(space, point));
  return {
    observed: inside.flatMap(({ point, objectives }) => (objectives ? [{ point, objectives }] : [])),
    failed: inside.filter(({ objectives }) => objectives === null).map(({ point }) => point),
    pending: inside.filter(({ objectives }) => objectives === undefined).map(({ point }) => point),
  };
}

function isInside(space: readonly Dimension[], point: readonly number[]): boolean {
  return point.every((value, d) => holds(space[d]!, value));
}

/** Refuses what would spread through every later proposal: a NaN, a trial of another space. */
function checkHistory(space: readonly Dimension[], history: readonly Trial[]): void {
  const count = history.find(({ objectives }) => objectives)?.objectives?.length;
  for (const [index, { point, objectives }] of history.entries()) {
    if (point.length !== space.length)
      throw new RangeError(
        `Cannot learn from trial ${index}: ${point.length} numbers, wanted ${space.length}, one for each dimension`,
      );
    const wrong = [...point, ...(objectives ?? [])].find((value) => !Number.isFinite(value));
    if (wrong !== undefined)
      throw new RangeError(`Cannot learn from trial ${index}: ${wrong}, wanted finite numbers`);
    if (objectives && (objectives.length === 0 || objectives.length !== count))
      throw new RangeError(
        `Cannot learn from trial ${index}: ${objectives.length} objectives, wanted ${count || "at least 1"}`,
      );
  }
}

function checkNumbers(seed: number, trial: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`Cannot propose a point: seed ${seed}, wanted a whole number from 0`);
  if (!Number.isSafeInteger(trial) || trial < 0)
    throw new RangeError(`Cannot propose a point: trial ${trial}, wanted a whole number from 0`);
}
