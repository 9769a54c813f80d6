/** arrange(), linear(), dequantise(): bits of the reference, and sums from the definition in float64. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type InferenceKernels, paddedCols, type StoredDtype } from "../../src/kernels/inference.ts";
import { createScalarInference } from "../../src/kernels/inference-scalar.ts";
import { encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import { assertSameBits, HeapImage, Random, runBoth } from "./inference-image.ts";
import {
  makeWeight,
  placeWeight,
  type TestWeight,
  WEIGHT_DTYPES,
  type WeightSpec,
} from "./inference-weights.ts";

const HEAP_BYTES = 4 << 20;
// Each side of a vector, of two, of a group of 16, of a block of 128, of the columns of a tile (1024).
const COLS = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 127, 128, 129, 144, 255, 300, 1023, 1025, 1300];
const ROWS = [1, 2, 3, 4, 5, 15, 16, 17, 33];
const BLOCKS = [
  { rows: 128, cols: 128 },
  { rows: 1, cols: 16 },
  { rows: 3, cols: 48 },
  { rows: 2, cols: 1040 }, // wider than a tile
];
const FIRST_ROWS = [0, 1, 5, 127, 130];

/** Where the columns of a group stand, spelt out. */
const ORDER: Record<StoredDtype, number[]> = {
  F8_E4M3: [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
  BF16: [0, 2, 4, 6, 1, 3, 5, 7],
  F16: [0, 2, 4, 6, 1, 3, 5, 7],
  F32: [0, 1, 2, 3],
};

export function linearSuite(name: string, create: (heapBytes: number) => InferenceKernels): void {
  const kernels = create(HEAP_BYTES);
  const scalar = createScalarInference(HEAP_BYTES);

  describe(`arrange() on ${name}`, () => {
    for (const dtype of WEIGHT_DTYPES) {
      test(`arrange() for ${dtype} on ${name} puts columns in the order of its planes`, () => {
        for (const cols of COLS) {
          const random = new Random(cols);
          const [count, stride, padded] = [3, cols + 5, paddedCols(cols)];
          const x = random.floats(count * stride);
          const image = new HeapImage();
          const data = image.place(x);
          const out = image.output(count * padded);
          const action = (k: InferenceKernels) => k.arrange(dtype, { data, count, stride }, cols, out);
          const [arranged] = runBoth(image, kernels, scalar, { label: `${cols} columns`, action });
          const order = ORDER[dtype];
          for (let at = 0; at < count * padded; at++) {
            const [row, position] = [Math.floor(at / padded), at % padded];
            const group = Math.floor(position / order.length) * order.length;
            const col = group + order[position - group]!;
            const factor = dtype === "F8_E4M3" ? 2 ** 100 : 1;
            assert.equal(arranged![at], col < cols ? x[row * stride + col]! * factor : 0, `${cols}: ${at}`);
          }
        }
      });
    }
  });

  /** Arranges and multiplies; gives the rows of the output. */
  function multiply(weight: TestWeight, x: Float32Array, label: string): Float32Array {
    const { dtype, rows, cols } = weight.spec;
    const count = x.length / cols;
    const [stride, padded] = [rows + 3, paddedCols(cols)];
    const image = new HeapImage();
    const w = placeWeight(image, weight);
    const data = image.place(x);
    const arranged = image.output(count * padded);
    const out = image.inOut(new Float32Array(count * stride).fill(Number.NaN));
    const action = (k: InferenceKernels) => {
      k.arrange(dtype, { data, count, stride: cols }, cols, arranged);
      k.linear(w, { data: arranged, count }, { data: out, count, stride });
    };
    const [, y] = runBoth(image, kernels, scalar, { label, action });
    for (let token = 0; token < count; token++) {
      const rest = y!.subarray(token * stride + rows, (token + 1) * stride);
      assert.ok(rest.every(Number.isNaN), `${label}: wrote between the rows of its output`);
    }
    return Float32Array.from({ length: count * rows }, (_, i) => {
      return y![Math.floor(i / rows) * stride + (i % rows)]!;
    });
  }

  /** |error| <= 4e-6 Σ|x·w|: 32 additions a block, then blocks. */
  function assertNearDefinition(
    { spec, values }: TestWeight,
    x: Float32Array,
    y: Float32Array,
    label: string,
  ) {
    const { rows, cols } = spec;
    for (const [i, actual] of y.entries()) {
      const [token, row] = [Math.floor(i / rows), i % rows];
      let [sum, size] = [0, 0];
      for (let col = 0; col < cols; col++) {
        const product = x[token * cols + col]! * values[row * cols + col]!;
        sum += product;
        size += Math.abs(product);
      }
      assert.ok(Math.abs(actual - sum) <= 4e-6 * size, `${label}: ${actual} at ${i}, wanted ${sum}`);
    }
  }

  describe(`linear() on ${name}`, () => {
    for (const dtype of WEIGHT_DTYPES) {
      test(`linear() of ${dtype} on ${name} has the reference's bits, error <= 4e-6 Σ|x·w|`, () => {
        for (const [i, cols] of COLS.entries()) {
          for (let count = 1; count <= 9; count++) {
            const rows = ROWS[(i + count) % ROWS.length]!;
            const spec: WeightSpec = { dtype, rows, cols };
            if ((i + count) % 4 !== 0) spec.block = BLOCKS[(i + count) % 3]!;
            const random = new Random(100 * cols + count);
            const weight = makeWeight(spec, random);
            const x = random.floats(count * cols, 3);
            const label = `${rows}×${cols}, ${count} tokens`;
            assertNearDefinition(weight, x, multiply(weight, x, label), label);
          }
        }
      });

      test(`linear() of ${dtype} on ${name} gives many tokens the bits of single ones`, () => {
        for (const count of [2, 3, 8, 64, 65, 131]) {
          const random = new Random(count);
          const weight = makeWeight({ dtype, rows: 19, cols: 1157, block: { rows: 7, cols: 128 } }, random);
          const x = random.floats(count * 1157);
          x[1157 + 3] = Number.NaN; // the second token's alone
          const all = multiply(weight, x, `${count} tokens`);
          for (const token of [0, 1, count - 1]) {
            const one = multiply(weight, x.subarray(token * 1157, (token + 1) * 1157), `token ${token}`);
            assertSameBits(all.subarray(token * 19, (token + 1) * 19), one, `token ${token} of ${count}`);
          }
        }
      });
    }

    for (const block of BLOCKS) {
      test(`linear() on ${name} finds the scales of ${block.rows}×${block.cols} blocks from any row`, () => {
        for (const firstRow of FIRST_ROWS) {
          for (const count of [1, 2, 5]) {
            const random = new Random(firstRow + count);
            const weight = makeWeight({ dtype: "F8_E4M3", rows: 11, cols: 1111, block, firstRow }, random);
            const x = random.floats(count * 1111);
            const label = `from row ${firstRow}, ${count} tokens`;
            assertNearDefinition(weight, x, multiply(weight, x, label), label);
          }
        }
      });
    }

    test(`linear() on ${name} adds in the order of lanes, planes, groups and blocks`, () => {
      // 2^24 swallows a 1 that is added to it alone; two ones at a time it takes.
      const big = 2 ** 24;
      const ones = (dtype: StoredDtype, cols: number): TestWeight => {
        const codes = {
          F8_E4M3: new Uint8Array(cols).fill(0x38),
          BF16: new Uint16Array(cols).fill(encodeBf16(1)),
          F16: new Uint16Array(cols).fill(encodeF16(1)),
          F32: new Float32Array(cols).fill(1),
        }[dtype];
        return {
          spec: { dtype, rows: 1, cols },
          codes,
          scales: new Float32Array(0),
          values: new Float64Array(0),
        };
      };
      const sum = (dtype: StoredDtype, cols: number, at: Record<number, number>): number => {
        const x = Float32Array.from({ length: cols }, (_, col) => at[col] ?? 0);
        return multiply(ones(dtype, cols), x, "order")[0]!;
      };
      // Same lane: lost one by one. Lanes 0 and 1 meet first: a single 1 is lost. Lanes 2 and 3 first: kept.
      const lanes = { F8_E4M3: [0, 4, 8, 12], BF16: [0, 2, 4, 6], F16: [0, 2, 4, 6], F32: [0, 1, 2, 3] };
      for (const dtype of WEIGHT_DTYPES) {
        const [lane0, lane1, lane2, lane3] = lanes[dtype] as [number, number, number, number];
        const second = dtype === "F32" ? 4 : 1; // lane 0 again: its next plane or group
        assert.equal(sum(dtype, 128, { [lane0]: big, [second]: 1, 16: 1, 112: 1 }), big, dtype);
        assert.equal(sum(dtype, 16, { [lane0]: big, [lane1]: 1 }), big, dtype);
        assert.equal(sum(dtype, 16, { [lane0]: big, [lane2]: 1, [lane3]: 1 }), big + 2, dtype);
        // Within a block ones add up before they meet the total of the block before.
        assert.equal(sum(dtype, 256, { [lane0]: big, 128: 1, 144: 1 }), big + 2, dtype);
        assert.equal(sum(dtype, 384, { [lane0]: big, 128: 1, 256: 1 }), big, dtype);
      }
    });

    test(`linear() on ${name} takes nothing from NaN codes of the next row or behind the last`, () => {
      for (const dtype of ["BF16", "F16", "F32"] as const) {
        for (const cols of [1, 3, 7, 9, 130, 1029]) {
          for (const count of [1, 2, 3, 9]) {
            const random = new Random(cols);
            const weight = makeWeight({ dtype, rows: 2, cols }, random);
            const x = random.floats(count * cols);
            const before = multiply(weight, x, "finite");
            weight.codes.fill(dtype === "F32" ? Number.NaN : 0xffff, cols);
            const after = multiply(weight, x, "NaN");
            for (let token = 0; token < count; token++) {
              assert.equal(after[2 * token], before[2 * token], `${dtype}, ${cols} columns, token ${token}`);
              assert.ok(Number.isNaN(after[2 * token + 1]));
            }
          }
        }
      }
    });

    test(`linear() on ${name} keeps infinities of F16 and BF16, denormals of BF16 and F32`, () => {
      for (const dtype of ["BF16", "F16", "F32"] as const) {
        const weight = makeWeight({ dtype, rows: 5, cols: 20 }, new Random(1));
        if (dtype === "F32") weight.codes.set([Infinity, 1e-40, -1e-44], 20);
        else weight.codes.set(dtype === "F16" ? [0x7c00, 0xfc00, 1] : [0x7f80, 0xff80, 1], 20);
        for (const count of [1, 2, 4, 9]) multiply(weight, new Random(2).floats(20 * count), dtype);
      }
    });

    test(`linear() on ${name} does nothing for no rows or tokens, and gives 0 for no columns`, () => {
      for (const dtype of WEIGHT_DTYPES) {
        multiply(makeWeight({ dtype, rows: 0, cols: 40 }, new Random(1)), new Float32Array(80), "no rows");
        multiply(makeWeight({ dtype, rows: 4, cols: 40 }, new Random(1)), new Float32Array(0), "no tokens");
      }
      for (const count of [1, 2, 3, 9]) {
        const image = new HeapImage();
        const out = image.output(2 * count);
        const blocks = { scales: 0, blockRows: 1, blockCols: 16, firstRow: 0 };
        const weight = { dtype: "BF16" as const, data: 64, rows: 2, cols: 0, ...blocks };
        const action = (k: InferenceKernels) =>
          k.linear(weight, { data: 64, count }, { data: out, count, stride: 2 });
        const [y] = runBoth(image, kernels, scalar, { label: "no columns", action });
        assert.deepEqual(y, new Float32Array(2 * count));
      }
    });
  });

  describe(`dequantise() on ${name}`, () => {
    for (const dtype of WEIGHT_DTYPES) {
      test(`dequantise() of ${dtype} on ${name} rounds value · scale once`, () => {
        for (const [i, cols] of COLS.entries()) {
          const spec: WeightSpec = { dtype, rows: 7, cols, firstRow: FIRST_ROWS[i % FIRST_ROWS.length]! };
          if (i % 4 !== 0) spec.block = BLOCKS[i % BLOCKS.length]!;
          const weight = makeWeight(spec, new Random(cols));
          for (const rows of [
            { from: 0, count: 7 },
            { from: 2, count: 3 },
            { from: 6, count: 1 },
          ]) {
            const image = new HeapImage();
            const w = placeWeight(image, weight);
            const out = image.output(rows.count * cols);
            const action = (k: InferenceKernels) => k.dequantise(w, rows, out);
            const label = `${cols} columns, rows from ${rows.from}`;
            const [values] = runBoth(image, kernels, scalar, { label, action });
            const part = weight.values.subarray(rows.from * cols, (rows.from + rows.count) * cols);
            assertSameBits(values!, Float32Array.from(part), label);
          }
        }
      });
    }
  });
}
