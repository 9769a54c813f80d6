/**
 * Problems for the optimiser: two objectives, both minimised, over the unit cube unless said otherwise.
 *
 * ZDT1 to ZDT3 are the usual ones (Zitzler, Deb and Thiele 2000). "step" imitates what merging two parents shows: accuracy
 * and answers' lengths jump together between λ = 0.6 and 0.8 of one dimension and hardly move elsewhere; a second
 * dimension costs tokens for nothing, a third has an optimum inside, the others change nothing. "none" has no structure.
 */
import type { Dimension } from "../src/study/space.ts";

export interface Landscape {
  name: string;
  space: readonly Dimension[];
  /** Without noise. */
  objectives(point: readonly number[]): [number, number];
  /** What an evaluation reports; `normal` draws a standard normal number. */
  noisy?(objectives: readonly [number, number], normal: () => number): [number, number];
  /** Worse than all that counts. */
  reference: [number, number];
}

const cube = (count: number): Dimension[] =>
  Array.from({ length: count }, (_, d) => ({ kind: "range", name: `x${d}`, low: 0, high: 1 }));

type Shape = (first: number, g: number) => number;
const SHAPES: Record<"ZDT1" | "ZDT2" | "ZDT3", Shape> = {
  ZDT1: (first, g) => 1 - Math.sqrt(first / g),
  ZDT2: (first, g) => 1 - (first / g) ** 2,
  ZDT3: (first, g) => 1 - Math.sqrt(first / g) - (first / g) * Math.sin(10 * Math.PI * first),
};

export function zdt(name: keyof typeof SHAPES, count: number): Landscape {
  return {
    name: `${name}, ${count} dimensions`,
    space: cube(count),
    objectives([first = 0, ...rest]) {
      const g = 1 + (9 * rest.reduce((sum, value) => sum + value, 0)) / rest.length;
      return [first, g * SHAPES[name](first, g)];
    },
    reference: [1.1, 6],
  };
}

/** Accuracy is counted over this many questions. */
const QUESTIONS = 150;

export function step(count: number, { noise }: { noise: boolean }): Landscape {
  const landscape: Landscape = {
    name: `step, ${count} dimensions${noise ? ", noisy" : ""}`,
    space: cube(count),
    objectives([a = 0, b = 0, c = 0]) {
      const jump = 1 / (1 + Math.exp(-(a - 0.7) / 0.015));
      const accuracy = 0.42 + 0.3 * jump + 0.06 * a + 0.1 * Math.exp(-(((c - 0.35) / 0.15) ** 2));
      const tokens = 600 + 1500 * jump + 500 * a + 900 * b ** 2;
      return [1 - accuracy, tokens / 1000];
    },
    reference: [0.6, 3.5],
  };
  if (noise)
    landscape.noisy = ([errors, tokens], normal) => [
      Math.min(Math.max(errors + Math.sqrt((errors * (1 - errors)) / QUESTIONS) * normal(), 0), 1),
      tokens * Math.exp(0.05 * normal()),
    ];
  return landscape;
}

export function noisyZdt1(count: number): Landscape {
  return {
    ...zdt("ZDT1", count),
    name: `ZDT1, ${count} dimensions, noisy`,
    noisy: ([a, b], normal) => [a + 0.05 * normal(), b + 0.3 * normal()],
  };
}

/** Values that neighbours know nothing of. */
export function structureless(count: number): Landscape {
  const hashed = (point: readonly number[], salt: number): number => {
    let sum = salt;
    for (const value of point) sum = (Math.sin(sum * 12.9898 + value * 78233.13) * 43758.5453) % 1;
    return Math.abs(sum);
  };
  return {
    name: `none, ${count} dimensions`,
    space: cube(count),
    objectives: (point) => [hashed(point, 0.123), hashed(point, 0.777)],
    reference: [1, 1],
  };
}

export const LANDSCAPES: readonly Landscape[] = [
  step(3, { noise: true }),
  step(6, { noise: true }),
  step(10, { noise: true }),
  zdt("ZDT1", 10),
  noisyZdt1(5),
  zdt("ZDT2", 5),
  zdt("ZDT3", 5),
  structureless(5),
  zdt("ZDT1", 2),
  zdt("ZDT1", 5),
];
