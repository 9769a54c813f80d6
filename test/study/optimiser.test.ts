/** The optimiser: what a proposal depends on, where it lies, and what it is worth. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { step } from "../../bench/landscapes.ts";
import { hypervolume } from "../../src/study/dominance.ts";
import { isExhausted, METHODS, propose, proposeBatch, type Trial } from "../../src/study/optimiser.ts";
import { normal, randomStream } from "../../src/study/random-stream.ts";
import { type Dimension, holds, keyOf } from "../../src/study/space.ts";

const MIXED: Dimension[] = [
  { kind: "range", name: "λ", low: 0, high: 1 },
  { kind: "range", name: "layers", low: 3, high: 9, integer: true },
  { kind: "range", name: "δ", low: 1e-4, high: 1, log: true },
  { kind: "range", name: "fixed", low: 0.5, high: 0.5 },
  { kind: "list", name: "share", values: [0, 0.5, 1] },
  { kind: "list", name: "method", values: [0, 1, 2], ordered: false },
];
const PLANE: Dimension[] = ["a", "b"].map((name) => ({ kind: "range", name, low: 0, high: 1 }));
const GRID: Dimension[] = [
  { kind: "range", name: "a", low: 0, high: 3, integer: true },
  { kind: "list", name: "b", values: [0, 0.5, 1] },
];

const evaluate = (point: readonly number[]): number[] => [
  point[0]!,
  1 - point[0]! + point.slice(1).reduce((sum, value) => sum + value ** 2, 0),
];

/** A search from the beginning; every fifth trial fails where `failing` says so. */
function search(
  space: readonly Dimension[],
  count: number,
  {
    seed = 1,
    method = "turns",
    failing = false,
  }: Partial<{ seed: number; method: (typeof METHODS)[number]; failing: boolean }> = {},
): Trial[] {
  const history: Trial[] = [];
  for (let trial = 0; trial < count; trial++) {
    const point = propose(space, history, { seed, trial, method });
    history.push({ point, objectives: failing && trial % 5 === 2 ? null : evaluate(point) });
  }
  return history;
}

test("propose() depends on its arguments alone: a search that is resumed goes on as it would have", () => {
  for (const method of METHODS) {
    const whole = search(MIXED, 26, { method, failing: true });
    const copy = JSON.parse(JSON.stringify(whole.slice(0, 20))) as Trial[];
    for (let trial = 20; trial < 26; trial++) {
      const point = propose(MIXED, copy, { seed: 1, trial, method });
      assert.deepEqual(point, whole[trial]!.point, `${method}, trial ${trial}`);
      copy.push(whole[trial]!);
    }
  }
});

test("propose() differs by seed and by trial, in the design and after it", () => {
  // The front lies inside the square: in a corner all seeds would meet.
  const inner = search(PLANE, 20).map(({ point: [a = 0, b = 0] }): Trial => {
    const objectives = [(a - 0.3) ** 2 + (b - 0.6) ** 2, (a - 0.7) ** 2 + (b - 0.2) ** 2];
    return { point: [a, b], objectives };
  });
  for (const method of METHODS)
    for (const history of [[], inner]) {
      const run = (seed: number, from: number): string =>
        [0, 2, 4, 6]
          .map((later) => keyOf(propose(PLANE, history, { seed, trial: from + later, method })))
          .join();
      const from = history.length;
      assert.notEqual(run(1, from), run(2, from), method);
      assert.notEqual(run(1, from), run(1, from + 1), method);
    }
});

test("propose() changes no argument", () => {
  const history = search(MIXED, 20);
  const before = JSON.stringify([MIXED, history]);
  for (const method of METHODS) propose(MIXED, history, { seed: 3, trial: 20, method });
  assert.equal(JSON.stringify([MIXED, history]), before);
});

test("propose() stays within ranges, whole numbers, lists and a range of one value", () => {
  for (const method of METHODS)
    for (const { point } of search(MIXED, 40, { method, failing: true }))
      for (const [d, dimension] of MIXED.entries())
        assert.ok(holds(dimension, point[d]!), `${method}, ${dimension.name}: ${point[d]}`);
});

test("propose() goes through a small space without a repetition, and then repeats", () => {
  for (const method of METHODS) {
    const history = search(GRID, 12, { method });
    assert.equal(new Set(history.map(({ point }) => keyOf(point))).size, 12, method);
    assert.ok(!isExhausted(GRID, history.slice(0, 11)));
    assert.ok(isExhausted(GRID, history));
    const again = propose(GRID, history, { seed: 1, trial: 12, method });
    assert.ok(history.some(({ point }) => keyOf(point) === keyOf(again)));
  }
});

test("propose() never repeats a failed or running point", () => {
  const points = search(GRID, 12).map(({ point }) => point);
  const history = points
    .slice(0, 11)
    .map((point, i): Trial => (i % 2 ? { point, objectives: null } : { point }));
  for (const method of METHODS)
    assert.equal(keyOf(propose(GRID, history, { seed: 5, trial: 11, method })), keyOf(points[11]!));
});

test("propose() begins with the start that dimensions name, the middle of the others", () => {
  const space = [{ ...PLANE[0]!, start: 0.9 } as Dimension, PLANE[1]!];
  const first = propose(space, [], { seed: 1, trial: 0 });
  assert.deepEqual(first, [0.9, 0.5]);
  const second = propose(space, [{ point: first, objectives: [1, 1] }], { seed: 1, trial: 1 });
  assert.notDeepEqual(second, first);
});

test("propose() stands a history in which all failed, all run, or all are equal", () => {
  const points = search(PLANE, 20).map(({ point }) => point);
  const histories: Trial[][] = [
    points.map((point) => ({ point, objectives: null })),
    points.map((point) => ({ point })),
    points.map((point) => ({ point, objectives: [1, 2] })),
    points.map((point) => ({ point: points[0]!, objectives: evaluate(point) })),
    points.map((point) => ({ point, objectives: [evaluate(point)[1]!] })),
    points.map((point) => ({ point, objectives: [...evaluate(point), point[1]!] })),
  ];
  for (const method of METHODS)
    for (const [index, history] of histories.entries())
      for (const trial of [20, 21]) {
        const point = propose(PLANE, history, { seed: 1, trial, method });
        assert.ok(
          point.every((value, d) => holds(PLANE[d]!, value)),
          `${method}, history ${index}`,
        );
      }
});

test("propose() leaves points outside the space out of account", () => {
  const history = search(PLANE, 20);
  const outside: Trial = { point: [2, -1], objectives: [-100, -100] };
  const at = (trials: readonly Trial[]): number[] => propose(PLANE, trials, { seed: 1, trial: 20 });
  assert.deepEqual(at([...history, outside]), at(history));
});

test("propose() keeps away from where trials fail", () => {
  for (const method of ["gaussian", "tpe"] as const) {
    const history: Trial[] = [];
    for (let trial = 0; trial < 40; trial++) {
      const point = propose(PLANE, history, { seed: 4, trial, method });
      history.push({ point, objectives: point[1]! < 0.5 ? null : [point[0]!, 1 - point[0]!] });
    }
    const failures = history.slice(20).filter(({ objectives }) => objectives === null).length;
    assert.ok(failures <= 7, `${method}: ${failures} of 20 failed, at random it would be 10`);
  }
});

test("propose() refuses NaN, infinities, trials of another space, and other numbers of objectives", () => {
  const ask = (trial: Trial) => () =>
    propose(PLANE, [{ point: [0, 0], objectives: [1, 2] }, trial], { seed: 1, trial: 2 });
  assert.throws(ask({ point: [0, 0], objectives: [Number.NaN, 1] }), /trial 1: NaN, wanted finite/);
  assert.throws(ask({ point: [0, 0], objectives: [1, Number.POSITIVE_INFINITY] }), /Infinity/);
  assert.throws(ask({ point: [Number.NaN, 0], objectives: null }), /NaN/);
  assert.throws(ask({ point: [0], objectives: [1, 2] }), /1 numbers, wanted 2/);
  assert.throws(ask({ point: [0, 0], objectives: [1] }), /1 objectives, wanted 2/);
  assert.throws(() => propose(PLANE, [], { seed: -1, trial: 0 }), /seed -1/);
  assert.throws(() => propose(PLANE, [], { seed: 1, trial: 0.5 }), /trial 0.5/);
});

test("proposeBatch() gives different points, the first as if it were alone, far apart where it explores", () => {
  for (const method of METHODS)
    for (const history of [[], search(PLANE, 20)]) {
      const options = { seed: 1, trial: history.length, method };
      const batch = proposeBatch(PLANE, history, { ...options, count: 6 });
      assert.deepEqual(batch[0], propose(PLANE, history, options));
      assert.equal(new Set(batch.map(keyOf)).size, 6, method);
    }
  assert.deepEqual(proposeBatch(PLANE, [], { seed: 1, trial: 0, count: 0 }), []);
});

test("propose() finds more of the step's front than random search, over 5 fixed seeds with 40 noisy trials", () => {
  const landscape = step(6, { noise: true });
  const reached = (method: (typeof METHODS)[number], seed: number): number => {
    const history: Trial[] = [];
    for (let trial = 0; trial < 40; trial++) {
      const point = propose(landscape.space, history, { seed, trial, method });
      const draw = randomStream(100 + seed, trial, 0);
      history.push({ point, objectives: landscape.noisy!(landscape.objectives(point), () => normal(draw)) });
    }
    return hypervolume(
      history.map(({ point }) => landscape.objectives(point)),
      landscape.reference,
    );
  };
  const sum = (method: (typeof METHODS)[number]): number =>
    [1, 2, 3, 4, 5].reduce((total, seed) => total + reached(method, seed), 0);
  const [turns, random] = [sum("turns"), sum("random")];
  assert.ok(turns > 1.05 * random, `${turns} against ${random}`);
});
