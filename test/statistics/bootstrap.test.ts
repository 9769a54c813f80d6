/** The bootstrap against every possible resample, normal means and its own false alarms. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pairedBootstrap } from "../../src/statistics/bootstrap.ts";
import { seededRandom } from "../../src/statistics/random.ts";

/** Means of all nⁿ equally likely resamples. */
function allMeans(values: readonly number[]): number[] {
  let sums = [0];
  for (const _ of values) sums = sums.flatMap((sum) => values.map((value) => sum + value));
  return sums.map((sum) => sum / values.length);
}

test("pairedBootstrap() comes near the p-value of all resamples", () => {
  const a = [0.1, 0.5, 0.2, 0.9, 0.3, 0.4];
  const b = [0.4, 0.6, 0.1, 1.5, 0.7, 0.6];
  const differences = a.map((value, i) => b[i]! - value);
  const seen = 1.5 / 6;
  const means = allMeans(differences);
  const exact = means.filter((mean) => Math.abs(mean - seen) >= seen - 1e-9).length / means.length;
  assert.ok(exact > 0.001 && exact < 0.5);
  const result = pairedBootstrap(a, b, { seed: 1, resamples: 20_000 });
  assert.ok(Math.abs(result.difference - seen) < 1e-12);
  assert.ok(Math.abs(result.pValue - exact) < 5 * Math.sqrt((exact * (1 - exact)) / 20_000) + 1e-4);
});

test("pairedBootstrap() has the interval of a normal mean where there are many values", () => {
  const random = seededRandom(2);
  const a = Array.from({ length: 400 }, () => random.nextFloat());
  const b = a.map((value) => value + 0.1 + random.nextFloat());
  const differences = a.map((value, i) => b[i]! - value);
  const centre = differences.reduce((sum, value) => sum + value, 0) / 400;
  const error = Math.sqrt(differences.reduce((sum, value) => sum + (value - centre) ** 2, 0)) / 400;
  const paired = pairedBootstrap(a, b, { seed: 3 });
  assert.ok(Math.abs(paired.low - (centre - 1.96 * error)) < 0.15 * error);
  assert.ok(Math.abs(paired.high - (centre + 1.96 * error)) < 0.15 * error);
  assert.equal(paired.pValue, 1 / 10_001);
});

test("pairedBootstrap() sees no difference where there is none, and never says p = 0", () => {
  const same = pairedBootstrap([1, 0, 1], [1, 0, 1], { seed: 1, resamples: 99 });
  assert.deepEqual(same, { difference: 0, low: 0, high: 0, pValue: 1 });
  const balanced = pairedBootstrap([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], { seed: 1, resamples: 99 });
  assert.equal(balanced.pValue, 1);
  const constant = pairedBootstrap([0, 0], [1, 1], { seed: 1, resamples: 99 });
  assert.deepEqual(constant, { difference: 1, low: 1, high: 1, pValue: 0.01 });
});

test("pairedBootstrap() counts resamples that are exactly as far off, whatever the rounding", () => {
  // Tenths are not exact: compared without care, 2 of 27 resamples of the first would be lost.
  for (const tenths of [
    [-3, 1, 6],
    [-7, 1, 6, 3],
    [-6, 7, 2, 3],
  ]) {
    const seen = tenths.reduce((sum, value) => sum + value);
    const means = allMeans(tenths);
    const asFar = means.filter((mean) => Math.abs(mean * tenths.length - seen) > seen - 0.5).length;
    const { pValue } = pairedBootstrap(
      tenths.map(() => 0),
      tenths.map((value) => value / 10),
      { seed: 5, resamples: 40_000 },
    );
    assert.ok(Math.abs(pValue - asFar / means.length) < 0.0075, `${tenths}: ${pValue}`);
  }
});

test("pairedBootstrap() follows from its seed, and turns round with its arguments", () => {
  const random = seededRandom(7);
  const a = Array.from({ length: 50 }, () => random.nextInt(2));
  const b = Array.from({ length: 50 }, () => random.nextInt(2));
  const options = { seed: 8, resamples: 1001 };
  const there = pairedBootstrap(a, b, options);
  assert.deepEqual(pairedBootstrap(a, b, options), there);
  assert.notDeepEqual(pairedBootstrap(a, b, { ...options, seed: 9 }), there);
  const back = pairedBootstrap(b, a, options);
  assert.equal(back.pValue, there.pValue);
  assert.equal(back.difference, -there.difference);
  assert.ok(Math.abs(back.low + there.high) < 1e-12 && Math.abs(back.high + there.low) < 1e-12);
});

test("pairedBootstrap() calls one in twenty differences of nothing significant at 0.05", () => {
  let significant = 0;
  for (let seed = 0; seed < 400; seed++) {
    const random = seededRandom(seed);
    const a = Array.from({ length: 60 }, () => random.nextFloat());
    const b = Array.from({ length: 60 }, () => random.nextFloat());
    if (pairedBootstrap(a, b, { seed, resamples: 400 }).pValue <= 0.05) significant++;
  }
  // 20 of 400 are due, with a standard deviation of 4.4.
  assert.ok(significant >= 7 && significant <= 38, `${significant}`);
});

test("pairedBootstrap() of one pair is its difference; more confidence is wider", () => {
  const { low, high } = pairedBootstrap([0], [0.3], { seed: 1 });
  assert.deepEqual([low, high], [0.3, 0.3]);
  const [none, values] = [Array(6).fill(0), [1, 2, 4, 8, 16, 32]];
  const narrow = pairedBootstrap(none, values, { seed: 1, confidence: 0.5 });
  const wide = pairedBootstrap(none, values, { seed: 1, confidence: 0.99 });
  assert.ok(wide.low < narrow.low && narrow.low < narrow.high && narrow.high < wide.high);
});

test("pairedBootstrap() refuses nothing, odd pairs and bad options", () => {
  const refused = (run: () => unknown, message: RegExp) =>
    assert.throws(run, { name: "RangeError", message });
  refused(() => pairedBootstrap([1], [1, 2], { seed: 1 }), /^Cannot pair 1 values with 2/);
  refused(() => pairedBootstrap([], [], { seed: 1 }), /^Cannot resample no values/);
  refused(() => pairedBootstrap([1], [1], { seed: 1, resamples: 0 }), /^Cannot draw "0" resamples/);
  refused(() => pairedBootstrap([1], [1], { seed: -1 }), /^Cannot seed/);
  refused(() => pairedBootstrap([1], [1], { seed: 1, confidence: 1 }), /^Cannot estimate with confidence/);
});
