/** Random streams and Latin hypercubes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { latinHypercube } from "../../src/study/latin-hypercube.ts";
import { normal, PURPOSE, permutation, randomStream } from "../../src/study/random-stream.ts";

test("randomStream() depends on seed, trial and purpose, also above 32 bits, and on nothing else", () => {
  const first = (seed: number, trial: number, purpose: 0 | 1 | 2): number =>
    randomStream(seed, trial, purpose)();
  assert.equal(first(1, 2, 0), first(1, 2, 0));
  const all = [first(1, 2, 0), first(2, 2, 0), first(1, 3, 0), first(1, 2, 1), first(1 + 2 ** 32, 2, 0)];
  assert.equal(new Set(all).size, all.length);
});

test("randomStream() is even within and across streams: chi-square of 16 classes below 37.7 (p = 0.001)", () => {
  const within = randomStream(3, 0, PURPOSE.uniform);
  const sources = [
    within,
    ...[0, 1].map((k) => {
      let count = 0;
      return () => (k === 0 ? randomStream(count++, 0, 0) : randomStream(0, count++, 0))();
    }),
  ];
  for (const source of sources) {
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i++) counts[Math.floor(16 * source())]!++;
    const chiSquare = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    assert.ok(chiSquare < 37.7, `${chiSquare}`);
  }
});

test("normal() has mean 0 and variance 1 within four standard errors", () => {
  const draw = randomStream(5, 0, PURPOSE.uniform);
  const values = Array.from({ length: 20_000 }, () => normal(draw));
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
  assert.ok(Math.abs(mean) < 4 / Math.sqrt(20_000));
  assert.ok(Math.abs(variance - 1) < 4 * Math.sqrt(2 / 20_000));
});

test("permutation() has every index once", () => {
  const order = permutation(50, randomStream(1, 0, 0));
  assert.deepEqual(
    order.toSorted((a, b) => a - b),
    [...order.keys()],
  );
  assert.notDeepEqual(order, [...order.keys()]);
});

test("latinHypercube() has one point in every slice of every dimension", () => {
  for (const [dimensions, count] of [
    [1, 8],
    [3, 8],
    [20, 16],
    [2, 1],
  ] as const) {
    const points = latinHypercube(dimensions, count, { seed: 9 });
    for (let d = 0; d < dimensions; d++) {
      const slices = points.map((point) => Math.floor(point[d]! * count)).sort((a, b) => a - b);
      assert.deepEqual(slices, [...slices.keys()]);
      assert.equal(slices.length, count);
    }
  }
  assert.notDeepEqual(latinHypercube(3, 8, { seed: 1 }), latinHypercube(3, 8, { seed: 2 }));
});
