import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compare } from "../../src/survey/compare.ts";
import { thresholdCurve } from "../../src/survey/curve.ts";
import type { CompareRow } from "../../src/survey/distance.ts";
import { MINI_R1, MINI_V3 } from "./mini.ts";

const row = (rms: number, bytes = 1): CompareRow => ({
  ...{ name: "x", role: "other", matrix: "x", mtp: false, dtype: "F32", otherDtype: "F32", elements: 1 },
  ...{ bytes, rms, relative: rms, equal: rms === 0, identical: rms === 0 },
});

test("thresholdCurve() counts what lies above each of its thresholds, as they are printed", async () => {
  for (const measure of ["rms", "relative"] as const) {
    const { curve, rows } = await compare(MINI_V3, MINI_R1, { measure });
    assert.ok(curve.length >= 12 && curve.length <= 20, `${curve.length} points`);
    for (const { threshold, tensors, bytes, tensorShare, byteShare, routedExperts } of curve) {
      const above = rows.filter((each) => each[measure]! > Number(String(threshold)));
      assert.equal(tensors, above.length);
      assert.equal(
        bytes,
        above.reduce((sum, each) => sum + each.bytes, 0),
      );
      assert.deepEqual([tensorShare, byteShare], [tensors / 269, bytes / 2_879_456]);
      const experts = above.filter(({ role, mtp }) => role === "routed-experts" && !mtp);
      assert.equal(routedExperts.tensors, experts.length);
    }
    assert.deepEqual([curve[0]!.threshold, curve[0]!.tensors], [0, 269]);
    assert.deepEqual([curve.at(-1)!.tensors, curve.at(-1)!.bytes], [0, 0]);
  }
});

test("thresholdCurve() rises in threshold, falls in tensors and ends with none, whatever the distances", () => {
  const distance = fc.oneof(fc.constant(0), fc.double({ min: 1e-30, max: 1e30, noNaN: true }));
  fc.assert(
    fc.property(fc.array(distance, { maxLength: 60 }), (distances) => {
      const rows = distances.map((value) => row(value));
      const curve = thresholdCurve(rows, "rms");
      assert.equal(curve[0]!.tensors, distances.filter((value) => value > 0).length);
      assert.equal(curve.at(-1)!.tensors, 0);
      for (const [index, point] of curve.entries()) {
        const before = curve[index - 1];
        if (before) assert.ok(before.threshold < point.threshold && before.tensors >= point.tensors);
      }
    }),
  );
});

test("thresholdCurve() of nothing, and of equal tensors, is the point at 0", () => {
  const at0 = { threshold: 0, tensors: 0, bytes: 0, tensorShare: 0, byteShare: 0 };
  const expected = [{ ...at0, routedExperts: { tensors: 0, bytes: 0 } }];
  assert.deepEqual(thresholdCurve([], "rms"), expected);
  assert.deepEqual(thresholdCurve([row(0), row(0)], "rms"), expected);
});
