/** Frequencies, amplitude and softmax scale against the tables of model.md section 5. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RopeConfig } from "../../src/arch/model-config.ts";
import { ropeAmplitude, ropeFrequencies, softmaxScale, writeAngles } from "../../src/runtime/rope.ts";

const YARN = { factor: 40, betaFast: 32, betaSlow: 1, mscale: 1, mscaleAllDim: 1, originalPositions: 4096 };
const V3: RopeConfig = { theta: 10000, interleaved: true, yarn: YARN };
const V2_MSCALE = 707 / 1000;
const FREQUENCIES = [
  1.0, 7.498942093e-1, 5.623413252e-1, 4.216965034e-1, 3.16227766e-1, 2.371373706e-1, 1.77827941e-1,
  1.333521432e-1, 1.0e-1, 7.498942093e-2, 5.623413252e-2, 3.900692657e-2, 2.687936011e-2, 1.837814622e-2,
  1.244795587e-2, 8.334508951e-3, 5.5e-3, 3.561997494e-3, 2.249365301e-3, 1.370513636e-3, 7.90569415e-4,
  4.149903985e-4, 1.77827941e-4, 3.33380358e-5, 2.5e-5, 1.874735523e-5, 1.405853313e-5, 1.054241259e-5,
  7.90569415e-6, 5.928434264e-6, 4.445698525e-6, 3.33380358e-6,
];

const near = (actual: number, expected: number) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.abs(expected) + 1e-15,
    `${actual}, wanted ${expected}`,
  );

test("ropeFrequencies() gives V3's 32 frequencies within 1e-9", () => {
  for (const [i, frequency] of ropeFrequencies(V3, 64).entries()) near(frequency, FREQUENCIES[i]!);
});

test("ropeFrequencies() without YaRN gives theta^(-2i/d)", () => {
  const plain = ropeFrequencies({ theta: 10000, interleaved: true }, 64);
  near(plain[0]!, 1);
  near(plain[31]!, 10000 ** (-62 / 64));
});

test("softmaxScale() and ropeAmplitude() of V3 and V2", () => {
  const sizes = { nopeDim: 128, ropeDim: 64 } as never;
  assert.ok(Math.abs(softmaxScale({ sizes, rope: V3 }) - 0.1352337789) < 1e-10);
  const v2 = { ...V3, yarn: { ...YARN, mscale: V2_MSCALE, mscaleAllDim: V2_MSCALE } };
  assert.ok(Math.abs(softmaxScale({ sizes, rope: v2 }) - 0.1147213868) < 1e-10);
  assert.equal(ropeAmplitude(V3), 1);
  assert.equal(ropeAmplitude(v2), 1);
  const hot = { ...V3, yarn: { ...YARN, mscale: 1, mscaleAllDim: 0 } };
  assert.ok(Math.abs(softmaxScale({ sizes, rope: hot }) - 192 ** -0.5) < 1e-15);
  assert.ok(Math.abs(ropeAmplitude(hot) - 1.3688879454) < 1e-10);
});

test("writeAngles() is exact at the end of V3's context", () => {
  const into = new Float32Array(64);
  writeAngles(into, 0, { position: 163_839, frequencies: ropeFrequencies(V3, 64), amplitude: 1 });
  assert.ok(Math.abs(into[11]! - 0.6551732) < 1e-6); // an all-float32 computation gives 0.6550862
});
