import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hypervolume2, paretoFront } from "../../src/statistics/pareto.ts";

const grid = fc.integer({ min: 0, max: 8 });
const plane = fc.array(fc.tuple(grid, grid), { maxLength: 20 });

test("paretoFront() by hand: order kept, duplicates kept, weakly beaten points gone", () => {
  const points = [
    [3, 1],
    [1, 3],
    [2, 2],
    [3, 2],
    [2, 2],
    [1, 4],
  ];
  assert.deepEqual(paretoFront(points), [0, 1, 2, 4]);
  assert.deepEqual(paretoFront([]), []);
  assert.deepEqual(paretoFront([[2], [1], [1]]), [1, 2]);
  assert.deepEqual(
    paretoFront([
      [1, Number.POSITIVE_INFINITY],
      [2, 0],
      [2, Number.POSITIVE_INFINITY],
    ]),
    [0, 1],
  );
});

test("paretoFront() leaves out what was not measured, and it beats nothing", () => {
  assert.deepEqual(
    paretoFront([
      [0, Number.NaN],
      [1, 1],
      [Number.NaN, 0],
    ]),
    [1],
  );
});

test("paretoFront() holds no point that another beats, and a better one for each that it leaves out", () => {
  const points = fc.array(fc.tuple(grid, grid, grid), { maxLength: 25 });
  fc.assert(
    fc.property(points, (all) => {
      const front = paretoFront(all);
      assert.deepEqual(
        front,
        front.toSorted((a, b) => a - b),
      );
      const beats = (i: number, j: number) =>
        all[i]!.every((value, aim) => value <= all[j]![aim]!) && `${all[i]}` !== `${all[j]}`;
      for (const j of all.keys()) assert.equal(front.includes(j), !front.some((i) => beats(i, j)));
    }),
    { seed: 10 },
  );
});

test("hypervolume2() by hand", () => {
  assert.equal(hypervolume2([], [4, 4]), 0);
  assert.equal(hypervolume2([[1, 2]], [4, 4]), 6);
  const points = [
    [3, 1],
    [1, 3],
    [2, 2],
    [3, 3],
    [5, 0],
    [0, 4],
  ];
  assert.equal(hypervolume2(points, [4, 4]), 6);
});

test("hypervolume2() is the number of unit squares that some point beats", () => {
  fc.assert(
    fc.property(plane, grid, grid, (points, right, top) => {
      let squares = 0;
      for (let x = 0; x < right; x++) {
        for (let y = 0; y < top; y++) if (points.some((point) => point[0] <= x && point[1] <= y)) squares++;
      }
      assert.equal(hypervolume2(points, [right, top]), squares);
    }),
    { seed: 11 },
  );
});

test("hypervolume2() is that of the front alone", () => {
  fc.assert(
    fc.property(plane, (points) => {
      const front = paretoFront(points).map((i) => points[i]!);
      assert.equal(hypervolume2(front, [9, 9]), hypervolume2(points, [9, 9]));
    }),
    { seed: 12 },
  );
});

test("paretoFront() and hypervolume2() refuse points of other dimensions", () => {
  assert.throws(() => paretoFront([[1, 2], [1]]), { name: "RangeError", message: /^Cannot compare points/ });
  assert.throws(() => hypervolume2([[1, 2, 3]], [4, 4]), { name: "RangeError", message: /of 3 aims/ });
  assert.throws(() => hypervolume2([[1, 2]], [4]), { name: "RangeError", message: /of 1 aims/ });
});
