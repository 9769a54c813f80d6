/** Dominance and hypervolume, against counting the cells of a grid. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  chooseByHypervolume,
  contributions,
  dominates,
  fronts,
  hypervolume,
  scaled,
} from "../../src/study/dominance.ts";
import { randomStream } from "../../src/study/random-stream.ts";

/** Cells of the unit grid below the reference that some point dominates: exact for whole numbers. */
function cells(points: readonly (readonly number[])[], reference: readonly number[]): number {
  const total = reference.reduce((product, size) => product * size, 1);
  let count = 0;
  for (let index = 0; index < total; index++) {
    let rest = index;
    const cell = reference.map((size) => {
      const at = rest % size;
      rest = Math.floor(rest / size);
      return at;
    });
    if (points.some((point) => point.every((value, i) => value <= cell[i]!))) count++;
  }
  return count;
}

test("hypervolume() counts the dominated cells, with 1 to 4 objectives, equal and outlying points", () => {
  const draw = randomStream(7, 0, 0);
  for (let round = 0; round < 200; round++) {
    const count = 1 + (round % 4);
    const reference = Array.from({ length: count }, () => 4 + Math.floor(4 * draw()));
    const points = Array.from({ length: Math.floor(10 * draw()) }, () =>
      reference.map(() => Math.floor(9 * draw())),
    );
    assert.equal(hypervolume(points, reference), cells(points, reference));
  }
});

test("dominates() wants better somewhere and worse nowhere", () => {
  assert.ok(dominates([1, 2], [1, 3]));
  assert.ok(!dominates([1, 2], [1, 2]));
  assert.ok(!dominates([1, 3], [2, 2]));
});

test("fronts() peels: nothing in a front is dominated but by earlier ones", () => {
  assert.deepEqual(
    fronts([
      [1, 4],
      [2, 5],
      [3, 1],
      [3, 1],
      [4, 6],
    ]),
    [[0, 2, 3], [1], [4]],
  );
  assert.deepEqual(fronts([]), []);
});

test("contributions() are what the hypervolume loses; equal points add nothing", () => {
  const points = [
    [0, 2],
    [1, 1],
    [1, 1],
    [2, 0],
  ];
  assert.deepEqual(contributions(points, [3, 3]), [1, 0, 0, 1]);
});

test("chooseByHypervolume() takes the middle first, then the ends", () => {
  const points = [
    [0, 10],
    [4, 4],
    [4.1, 4.1],
    [10, 0],
  ];
  assert.deepEqual(chooseByHypervolume(points, [11, 11], { count: 3 }), [1, 0, 3]);
});

test("scaled() reaches from 0 to 1, levels an outlier, and an objective that never changes", () => {
  assert.deepEqual(
    scaled([
      [0, 5],
      [1, 5],
      [2, 5],
    ]).map(([first]) => first),
    [0, 0.5, 1],
  );
  const tokens = scaled([[500], [600], [700], [800], [900], [32_000]]).map(([value]) => value!);
  assert.equal(tokens[5], 1);
  assert.ok(tokens[4]! > 0.3, `${tokens}`);
  assert.deepEqual(scaled([[3], [3]]), [[0], [0]]);
});
