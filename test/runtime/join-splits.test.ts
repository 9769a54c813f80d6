/** Parts of attention joined: model.md section 16, items 5 and 6. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JoinedRows } from "../../src/runtime/join-splits.ts";

/** One row of parts, each normalised, with their base-2 log-sum-exp: the row, and its natural log-sum-exp. */
function combine(logSums: readonly number[], outputs: Float32Array): { row: number[]; logSum: number } {
  const width = outputs.length / logSums.length;
  const joined = new JoinedRows(1, width);
  for (const [part, logSum] of logSums.entries()) joined.add(0, { logSum, sum: 1 }, outputs, part * width);
  return { row: [...joined.outputs], logSum: joined.logSums[0]! / Math.LOG2E };
}

function near(actual: ArrayLike<number>, expected: readonly number[], bound = 5e-7): void {
  for (const [at, value] of expected.entries()) {
    assert.ok(
      Math.abs(actual[at]! - value) <= bound * Math.max(1, Math.abs(value)),
      `${actual[at]} against ${value}`,
    );
  }
}

test("the vector of model.md section 16", () => {
  const { row, logSum } = combine([3, 1, -Infinity], Float32Array.of(1, 2, 3, -4, 0, 0));
  near(row, [1.4, 0.8]);
  near([logSum], [Math.LN10]);
});

test("parts without keys leave nothing, whatever their rows hold", () => {
  const nothing = combine([-Infinity, -Infinity], Float32Array.of(NaN, 1, 2, 3));
  assert.deepEqual(nothing, { row: [0, 0], logSum: -Infinity });
  const { row } = combine([-Infinity, 2], Float32Array.of(NaN, 1, 2, 3));
  assert.deepEqual(row, [2, 3]);
});

test("one part comes out as it went in, its sum taken out", () => {
  const { row, logSum } = combine([2], Float32Array.of(1, -2, 3));
  assert.deepEqual(row, [1, -2, 3]);
  near([logSum], [2 / Math.LOG2E]);
  const joined = new JoinedRows(1, 2);
  joined.add(0, { logSum: 5, sum: 4 }, Float32Array.of(9, 8, 2), 1);
  assert.deepEqual([...joined.outputs], [2, 0.5]);
});

test("hundreds of equal parts", () => {
  const { row, logSum } = combine(new Array(300).fill(0), new Float32Array(300).fill(7));
  near(row, [7]);
  near([logSum], [Math.log(300)]);
});

/** Softmax over scores, in double, of a stretch of keys. */
function attend(scores: readonly number[], values: readonly number[]) {
  const largest = Math.max(-Infinity, ...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const output = sum === 0 ? 0 : weights.reduce((total, weight, at) => total + weight * values[at]!, 0) / sum;
  return { output, logSum: sum === 0 ? -Infinity : Math.log(sum) + largest };
}

test("combined splits are unsplit attention, wherever it is cut, also with scores far apart", () => {
  const key = fc.tuple(fc.integer({ min: -200, max: 200 }), fc.integer({ min: -9, max: 9 }));
  fc.assert(
    fc.property(
      fc.array(key, { minLength: 1, maxLength: 30 }),
      fc.array(fc.nat(30), { maxLength: 5 }),
      (keys, cuts) => {
        const borders = [
          0,
          ...cuts.map((cut) => Math.min(cut, keys.length)).sort((a, b) => a - b),
          keys.length,
        ];
        const pieces = borders.slice(1).map((end, at) => keys.slice(borders[at], end));
        const of = (some: typeof keys) =>
          attend(
            some.map(([score]) => score),
            some.map(([, value]) => value),
          );
        const splits = pieces.map(of);
        const { row, logSum } = combine(
          splits.map((split) => split.logSum * Math.LOG2E),
          Float32Array.from(splits, (split) => split.output),
        );
        const whole = of(keys);
        near(row, [whole.output], 1e-4); // an output in float32, and scores that are far apart
        near([logSum], [whole.logSum], 1e-6);
      },
    ),
    { seed: 7, numRuns: 500 },
  );
});
