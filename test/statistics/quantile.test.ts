/** Means, medians and quantiles as NumPy has them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { mean, median, quantile } from "../../src/statistics/quantile.ts";

const VALUES = [3.5, -1, 8, 2, 2, 11, 0.25];
const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 40 });

test("mean(), median(), quantile() of nothing are undefined", () => {
  assert.deepEqual([mean([]), median([]), quantile([], 0.5)], [undefined, undefined, undefined]);
});

test("mean() adds and divides", () => {
  assert.equal(mean(VALUES), 25.75 / 7);
});

test("median() sorts by value, takes the middle or halves the two middle ones, and leaves its input", () => {
  const values = [10, 9, 100, 1];
  assert.equal(median(values), 9.5);
  assert.equal(median([10, 9, 100]), 10);
  assert.deepEqual(values, [10, 9, 100, 1]);
});

test("quantile() gives what NumPy gives", () => {
  for (const [q, wanted] of [
    [0, -1],
    [0.1, -0.25],
    [0.25, 1.125],
    [0.5, 2],
    [0.9, 9.2],
    [1, 11],
  ] as const) {
    assert.ok(Math.abs(quantile(VALUES, q)! - wanted) < 1e-14, `${q}`);
  }
  assert.equal(quantile([1, Number.POSITIVE_INFINITY], 0), 1);
});

test("quantile() of a fraction outside of 0 to 1 is refused", () => {
  for (const q of [-0.1, 1.1, Number.NaN]) {
    assert.throws(() => quantile([1], q), { name: "RangeError", message: /^Cannot take quantile/ });
  }
});

test("quantile() grows with q, lies within the values, and does not see their order", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(numbers, share, share, (values, p, q) => {
      const [low, high] = [quantile(values, Math.min(p, q))!, quantile(values, Math.max(p, q))!];
      const slack = 1e-9;
      assert.ok(low <= high + slack);
      assert.ok(low >= Math.min(...values) - slack && high <= Math.max(...values) + slack);
      assert.equal(quantile(values.toReversed(), p), quantile(values, p));
    }),
    { seed: 1 },
  );
});
