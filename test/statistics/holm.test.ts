/** Corrected p-values, against those worked out by hand and against what must hold for any. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { holm } from "../../src/statistics/holm.ts";

test("holm() by hand, in the order given", () => {
  // Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, and 0.04 is held up to 0.06.
  const adjusted = holm([0.01, 0.04, 0.03, 0.005]);
  for (const [i, wanted] of [0.03, 0.06, 0.06, 0.02].entries()) {
    assert.ok(Math.abs(adjusted[i]! - wanted) < 1e-15);
  }
});

test("holm() leaves one p-value alone, treats equals alike and stops at 1", () => {
  assert.deepEqual(holm([]), []);
  assert.deepEqual(holm([0.04]), [0.04]);
  assert.deepEqual(holm([0.25, 0.25, 1]), [0.75, 0.75, 1]);
  assert.deepEqual(holm([0.6, 0.5, 0]), [1, 1, 0]);
});

test("holm() keeps the order of p-values and lies between them and Bonferroni's", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(share, { maxLength: 30 }), (pValues) => {
      const adjusted = holm(pValues);
      for (const [i, p] of pValues.entries()) {
        assert.ok(adjusted[i]! >= p && adjusted[i]! <= Math.min(1, p * pValues.length));
        for (const [j, other] of pValues.entries()) if (p <= other) assert.ok(adjusted[i]! <= adjusted[j]!);
      }
    }),
    { seed: 4 },
  );
});

test("holm() rejects exactly what the step-down procedure rejects", () => {
  const share = fc.integer({ min: 0, max: 64 }).map((n) => n / 1024);
  fc.assert(
    fc.property(fc.array(share, { maxLength: 12 }), (pValues) => {
      const level = 1 / 32;
      const sorted = pValues.toSorted((a, b) => a - b);
      const kept = sorted.findIndex((p, i) => p * (sorted.length - i) > level);
      const rejected = kept === -1 ? sorted.length : kept;
      assert.equal(holm(pValues).filter((p) => p <= level).length, rejected);
    }),
    { seed: 5 },
  );
});

test("holm() of what is no p-value is refused", () => {
  for (const p of [-0.1, 1.1, Number.NaN]) {
    assert.throws(() => holm([0.5, p]), { name: "RangeError", message: /^Cannot adjust p-value/ });
  }
});
