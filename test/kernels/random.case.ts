/** mergeBand() and measureBand() on bands that fast-check draws, held to the definition and to each other. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Kernels } from "../../src/kernels/kernels.ts";
import { createScalarKernels } from "../../src/kernels/scalar.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import { floatSize } from "../../src/tensor/dtype.ts";
import { type BandData, type BandSpec, makeBand, SCALE_KINDS, VALUE_KINDS } from "./band-data.ts";
import { mergeByDefinition } from "./definition.ts";
import { WEIGHTS } from "./merge.case.ts";
import { assertSameResult, runMeasure, runMerge } from "./run-band.ts";

const dtype = fc.constantFrom<FloatDtype>("F32", "BF16", "F16", "F8_E4M3", "F8_E4M3", "F8_E5M2");
const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });
const powers = fc.integer({ min: -20, max: 2 }).map((k) => 2 ** k);
const weight = fc.oneof(
  fc.constantFrom(...WEIGHTS.flat()),
  powers,
  powers.map((x) => -x),
  float32,
);
const output = fc.constantFrom<BandData["output"]>("F32", "BF16", "F16", "F8_E4M3", "F8_E4M3");
const shape = {
  rows: fc.integer({ min: 1, max: 4 }),
  cols: fc.integer({ min: 1, max: 80 }),
  blockCols: fc.integer({ min: 1, max: 70 }),
  output,
  powerOfTwo: fc.boolean(),
};

/** Values of one kind per input, as the other suites have them. */
const madeBand: fc.Arbitrary<BandSpec> = fc.record({
  ...shape,
  seed: fc.nat(),
  inputs: fc.array(
    fc.record({
      dtype,
      values: fc.constantFrom(...VALUE_KINDS),
      scales: fc.option(fc.constantFrom(...SCALE_KINDS), { nil: undefined }),
      weight,
    }),
    { minLength: 1, maxLength: 5 },
  ),
});

/** E4M3 parents with scales and weights from the whole of float32, and now and then a NaN code. */
const wildBand: fc.Arbitrary<BandData> = fc
  .record({ ...shape, parents: fc.integer({ min: 1, max: 4 }) })
  .chain(({ parents, ...band }) => {
    const length = band.rows * band.cols;
    const numBlocks = Math.ceil(band.cols / band.blockCols);
    const code = fc.oneof({ weight: 400, arbitrary: fc.integer({ min: 0, max: 0x7e }) }, fc.constant(0x7f));
    const scale = fc.integer({ min: 1, max: 0x7f7fffff }); // bits: each exponent is as likely as another
    const input = fc.record({
      dtype: fc.constant("F8_E4M3" as const),
      bytes: fc.array(code, { minLength: length, maxLength: length }).map((list) => Uint8Array.from(list)),
      scales: fc
        .array(scale, { minLength: numBlocks, maxLength: numBlocks })
        .map((bits) => new Float32Array(Uint32Array.from(bits).buffer)),
      weight,
    });
    return fc
      .array(input, { minLength: parents, maxLength: parents })
      .map((inputs): BandData => ({ ...band, inputs }));
  });

function check(kernels: Kernels, reference: Kernels, data: BandData): void {
  const expected = mergeByDefinition(data);
  const actual = runMerge(kernels, data);
  assertSameResult(actual, expected, `${kernels.name} by definition`);
  assertSameResult(actual, runMerge(reference, data), `${kernels.name} by ${reference.name}`);
  const pair = { ...data, inputs: [data.inputs[0]!, data.inputs.at(-1)!] };
  const zero = { difference: 0, base: 0 };
  assert.deepEqual(runMeasure(kernels, pair, zero), runMeasure(reference, pair, zero));
}

export function randomSuite(name: string, create: (heapBytes: number) => Kernels): void {
  const kernels = create(1 << 20);
  const reference = createScalarKernels(1 << 20);

  describe(`drawn bands on ${name}`, () => {
    test(`mergeBand() and measureBand() on ${name}: 1500 bands of all formats, equal bits`, () => {
      const property = fc.property(madeBand, (spec) => check(kernels, reference, makeBand(spec)));
      fc.assert(property, { seed: 20250614, numRuns: 1500 });
    });

    test(`mergeBand() and measureBand() on ${name}: 500 bands of any scales and weights, equal bits`, () => {
      const property = fc.property(wildBand, (data) => check(kernels, reference, data));
      fc.assert(property, { seed: 14794, numRuns: 500 });
    });

    test(`firstNonFinite() on ${name}: any bytes, as decoding has it`, () => {
      const bytes = fc.uint8Array({ minLength: 0, maxLength: 200 });
      const property = fc.property(dtype, bytes, (type, data) => {
        const count = Math.floor(data.length / floatSize(type));
        for (const each of [kernels, reference]) {
          each.bytes.fill(0xff, 0, 1024).set(data, 64);
          each.widen(type, 64, 1024, count);
        }
        const values = [...new Float32Array(kernels.bytes.slice(1024, 1024 + 4 * count).buffer)];
        const expected = values.findIndex((value) => !Number.isFinite(value));
        assert.equal(kernels.firstNonFinite(type, 64, count), expected);
        assert.equal(reference.firstNonFinite(type, 64, count), expected);
      });
      fc.assert(property, { seed: 7, numRuns: 1000 });
    });
  });
}
