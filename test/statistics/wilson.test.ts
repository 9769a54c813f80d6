/** Wilson's interval, against SciPy and its own definition. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { wilson } from "../../src/statistics/wilson.ts";

test("wilson() gives what scipy.stats gives", () => {
  // binomtest(k, n).proportion_ci(confidence, "wilson"), SciPy 1.17.1
  for (const [successes, total, confidence, low, high] of [
    [0, 10, 0.95, 0, 0.27753279986288926],
    [7, 10, 0.95, 0.39677814746114526, 0.892208732593699],
    [10, 10, 0.95, 0.7224672001371109, 1],
    [81, 263, 0.95, 0.2552885198782742, 0.36620957698280004],
    [1, 1, 0.99, 0.13097754328018596, 1],
    [500_000, 1_000_000, 0.999, 0.4983547455412807, 0.5016452544587193],
    [3, 8, 0.5, 0.26922568024835253, 0.4942261188058537],
  ] as const) {
    const interval = wilson(successes, total, confidence);
    assert.ok(Math.abs(interval.low - low) < 1e-12, `${successes}/${total}: ${interval.low}`);
    assert.ok(Math.abs(interval.high - high) < 1e-12, `${successes}/${total}: ${interval.high}`);
  }
});

test("wilson() has 95 % confidence unless told", () => {
  assert.deepEqual(wilson(7, 10), wilson(7, 10, 0.95));
});

test("wilson() knows nothing without a trial, and ends exactly at 0 and 1", () => {
  assert.deepEqual(wilson(0, 0), { low: 0, high: 1 });
  assert.equal(wilson(0, 7).low, 0);
  assert.equal(wilson(7, 7).high, 1);
});

test("wilson() holds the share, mirrors, and widens with confidence", () => {
  const counts = fc
    .integer({ min: 1, max: 5000 })
    .chain((total) => fc.tuple(fc.integer({ min: 0, max: total }), fc.constant(total)));
  fc.assert(
    fc.property(counts, fc.double({ min: 0.01, max: 0.999999, noNaN: true }), ([k, n], confidence) => {
      const { low, high } = wilson(k, n, confidence);
      assert.ok(low >= 0 && low <= k / n && k / n <= high && high <= 1);
      const mirrored = wilson(n - k, n, confidence);
      assert.ok(Math.abs(mirrored.low - (1 - high)) < 1e-12);
      assert.ok(Math.abs(mirrored.high - (1 - low)) < 1e-12);
      const wider = wilson(k, n, (1 + confidence) / 2);
      assert.ok(wider.high - wider.low > high - low);
    }),
    { seed: 2 },
  );
});

test("wilson() of impossible counts or confidences is refused", () => {
  for (const [successes, total] of [
    [-1, 3],
    [4, 3],
    [Number.NaN, 3],
    [1, Number.POSITIVE_INFINITY],
  ] as const) {
    assert.throws(() => wilson(successes, total), { name: "RangeError", message: /^Cannot estimate a prop/ });
  }
  for (const confidence of [0, 1, 95, Number.NaN]) {
    assert.throws(() => wilson(1, 3, confidence), { name: "RangeError", message: /with confidence/ });
  }
});
