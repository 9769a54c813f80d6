/** Spaces: values and places of the unit interval, and what is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cellOf,
  checkSpace,
  countPoints,
  type Dimension,
  holds,
  keyOf,
  pointsOf,
  unitOf,
  valueAt,
} from "../../src/study/space.ts";

const DIMENSIONS: Dimension[] = [
  { kind: "range", name: "weight", low: 0, high: 1 },
  { kind: "range", name: "part", low: 0.2, high: 0.85 },
  { kind: "range", name: "below zero", low: -3, high: -1 },
  { kind: "range", name: "large", low: 0, high: 1e6 },
  { kind: "range", name: "small", low: 0, high: 1e-9 },
  { kind: "range", name: "layers", low: 3, high: 60, integer: true },
  { kind: "range", name: "threshold", low: 1e-6, high: 0.1, log: true },
  { kind: "range", name: "count", low: 1, high: 1000, integer: true, log: true },
  { kind: "range", name: "fixed", low: 0.5, high: 0.5 },
  { kind: "list", name: "steps", values: [0, 0.25, 1] },
  { kind: "list", name: "names", values: [2, 0, 1], ordered: false },
  { kind: "list", name: "one", values: [7] },
];

test("valueAt() gives a value of the dimension at every place, both ends included", () => {
  for (const dimension of DIMENSIONS)
    for (let step = 0; step <= 1000; step++) {
      const value = valueAt(dimension, step / 1000);
      assert.ok(holds(dimension, value), `${dimension.name}: ${value}`);
      const unit = unitOf(dimension, value);
      assert.ok(unit >= 0 && unit <= 1, `${dimension.name}: ${value} at ${unit}`);
    }
});

test("valueAt() inverts unitOf(): within 1/5000 of a range, exactly where values are discrete", () => {
  for (const dimension of DIMENSIONS)
    for (let step = 0; step <= 200; step++) {
      const value = valueAt(dimension, step / 200);
      const back = valueAt(dimension, unitOf(dimension, value));
      if (cellOf(dimension, value) !== undefined) assert.equal(back, value, dimension.name);
      else assert.ok(Math.abs(unitOf(dimension, back) - unitOf(dimension, value)) <= 2e-4, dimension.name);
    }
});

test("valueAt() reaches both ends of a range and rounds to few digits", () => {
  assert.equal(valueAt(DIMENSIONS[0]!, 0), 0);
  assert.equal(valueAt(DIMENSIONS[0]!, 1), 1);
  assert.equal(valueAt(DIMENSIONS[0]!, 0.123456789), 0.1235);
  assert.equal(valueAt(DIMENSIONS[6]!, 0), 1e-6);
  assert.equal(valueAt(DIMENSIONS[6]!, 1), 0.1);
});

test("cellOf() lays the cells of discrete values side by side over the whole interval", () => {
  for (const dimension of DIMENSIONS) {
    if (countPoints([dimension]) === Number.POSITIVE_INFINITY) continue;
    let end = 0;
    for (const [value] of pointsOf([dimension])) {
      const [from, to] = cellOf(dimension, value!)!;
      assert.ok(Math.abs(from - end) < 1e-9, dimension.name);
      end = to;
    }
    assert.ok(Math.abs(end - 1) < 1e-9, dimension.name);
  }
});

test("pointsOf() gives every point of a finite space once", () => {
  const space = [DIMENSIONS[9]!, DIMENSIONS[10]!, DIMENSIONS[8]!, DIMENSIONS[11]!];
  const all = [...pointsOf(space)];
  assert.equal(all.length, countPoints(space));
  assert.equal(new Set(all.map(keyOf)).size, 9);
  assert.deepEqual(all[0], [0, 2, 0.5, 7]);
});

test("keyOf() takes 0 and -0 for one", () => {
  assert.equal(keyOf([-0, 1]), keyOf([0, 1]));
});

test("checkSpace() refuses what no point can lie in", () => {
  const range = { kind: "range", name: "λ", low: 0, high: 1 } as const;
  const cases: [Dimension[], RegExp][] = [
    [[], /no dimensions/],
    [[{ ...range, low: 2 }], /"λ": range 2 to 1/],
    [[{ ...range, low: Number.NaN }], /range NaN to 1/],
    [[{ ...range, high: Number.POSITIVE_INFINITY }], /Infinity/],
    [[{ ...range, low: 0.5, integer: true }], /whole numbers/],
    [[{ ...range, log: true }], /logarithmic range from 0/],
    [[{ ...range, start: 2 }], /start 2/],
    [[{ kind: "list", name: "δ", values: [] }], /no values/],
    [[{ kind: "list", name: "δ", values: [1, 1] }], /each once/],
    [[{ kind: "list", name: "δ", values: [Number.NaN] }], /finite/],
    [[{ kind: "list", name: "δ", values: [1, 2], start: 3 }], /start 3/],
  ];
  for (const [space, message] of cases) assert.throws(() => checkSpace(space), message);
  checkSpace(DIMENSIONS);
});
