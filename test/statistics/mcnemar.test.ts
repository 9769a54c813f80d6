/** McNemar: exact, against fractions and SciPy, also for a million questions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { mcnemar } from "../../src/statistics/mcnemar.ts";

function assertNear(actual: number, wanted: number, relative: number): void {
  assert.ok(Math.abs(actual - wanted) <= relative * wanted, `${actual}, wanted ${wanted}`);
}

/** The definition in whole numbers: 2 · Σ C(n, i) / 2ⁿ over the smaller tail, at most 1. */
function byDefinition(onlyA: number, onlyB: number): number {
  const n = onlyA + onlyB;
  let choose = 1n;
  let tail = 0n;
  for (let i = 0; i <= Math.min(onlyA, onlyB); i++) {
    tail += choose;
    choose = (choose * BigInt(n - i)) / BigInt(i + 1);
  }
  // Quotients of integers this long need a common shift before they fit a number.
  const scale = 1n << 200n;
  return Math.min(1, Number((2n * tail * scale) >> BigInt(n)) / 2 ** 200);
}

test("mcnemar() by hand: 0 of 6 is 2/64, and no disagreement is no evidence", () => {
  assert.equal(mcnemar({ onlyA: 0, onlyB: 6 }).pValue, 2 / 64);
  assert.equal(mcnemar({ onlyA: 0, onlyB: 0 }).pValue, 1);
  assert.equal(mcnemar({ onlyA: 0, onlyB: 1 }).pValue, 1);
  assert.equal(mcnemar({ onlyA: 7, onlyB: 7 }).pValue, 1);
});

test("mcnemar() gives what exact fractions give", () => {
  // Python's fractions and math.comb
  for (const [onlyA, onlyB, wanted] of [
    [1, 2, 1],
    [5, 15, 0.04138946533203125],
    [10, 25, 0.01667384780012071],
    [30, 31, 1],
    [16, 40, 0.0018415547884925443],
    [40, 160, 3.3840159775152892e-18],
    [400, 600, 2.7284641560660184e-10],
  ] as const) {
    assertNear(mcnemar({ onlyA, onlyB }).pValue, wanted, 1e-12);
  }
});

test("mcnemar() of a million pairs neither overflows nor loses digits", () => {
  // scipy.stats.binomtest, SciPy 1.17.1
  assertNear(mcnemar({ onlyA: 499_000, onlyB: 501_000 }).pValue, 0.0456082998653896, 1e-9);
  assertNear(mcnemar({ onlyA: 501_500, onlyB: 498_500 }).pValue, 0.002708655306059374, 1e-9);
  assert.equal(mcnemar({ onlyA: 0, onlyB: 1_000_000 }).pValue, 0);
  assert.equal(mcnemar({ onlyA: 500_000, onlyB: 500_000 }).pValue, 1);
});

test("mcnemar() is its definition, and the same from both sides", () => {
  const count = fc.integer({ min: 0, max: 60 });
  fc.assert(
    fc.property(count, count, (onlyA, onlyB) => {
      const { pValue } = mcnemar({ onlyA, onlyB });
      assertNear(pValue, byDefinition(onlyA, onlyB), 1e-12);
      assert.equal(mcnemar({ onlyA: onlyB, onlyB: onlyA }).pValue, pValue);
    }),
    { seed: 3, numRuns: 500 },
  );
});

test("mcnemar() of what is no count is refused", () => {
  for (const onlyA of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => mcnemar({ onlyA, onlyB: 1 }), { name: "RangeError", message: /^Cannot count/ });
  }
});
