/** INT8: bits of the reference, codes and sums from the definition in float64. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  INT8_BLOCK,
  type InferenceKernels,
  int8Bytes,
  paddedCols,
  type Weight,
} from "../../src/kernels/inference.ts";
import { createScalarInference } from "../../src/kernels/inference-scalar.ts";
import { assertSameBits, HeapImage, Random } from "./inference-image.ts";

const HEAP_BYTES = 4 << 20;
// Each side of a four, of sixteen, of a block of 64, of several.
const COLS = [1, 3, 4, 5, 15, 16, 17, 31, 33, 48, 63, 64, 65, 79, 80, 127, 128, 129, 300, 1023, 1024, 1300];
const ROWS = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 20, 33];
const HEADER = 16;

interface Case {
  rows: number;
  cols: number;
  /** (rows, cols) */
  w: Float32Array;
  /** (count, cols) */
  x: Float32Array;
  count: number;
}

function randomCase(rows: number, cols: number, count: number): Case {
  const random = new Random(1000 * cols + 10 * rows + count);
  return { rows, cols, count, w: random.floats(rows * cols, 0.02), x: random.floats(count * cols, 3) };
}

/** Bytes of the weight, of arranged activations, and results: (count, rows) and (rows, cols). */
interface Outcome {
  weight: Uint8Array;
  arranged: Uint8Array;
  y: Float32Array;
  values: Float32Array;
}

/** base: where on the heap it lies. */
function run(kernels: InferenceKernels, { rows, cols, count, w, x }: Case, base = 0): Outcome {
  const image = new HeapImage(base);
  const [dataW, dataX] = [image.place(w, { shift: 4 }), image.place(x)];
  const stride = rows + 3;
  const data = image.output(int8Bytes(rows, cols) / 4);
  const arranged = image.output(count * paddedCols(cols));
  const out = image.inOut(new Float32Array(count * stride).fill(Number.NaN));
  const values = image.output(rows * cols);
  const weight: Weight = {
    ...{ dtype: "INT8", data, rows, cols },
    ...{ scales: 0, blockRows: 1, blockCols: INT8_BLOCK, firstRow: 0 },
  };
  const results = image.run(kernels, (k) => {
    k.quantise({ data: dataW, count: rows, stride: cols }, cols, data);
    k.arrange("INT8", { data: dataX, count, stride: cols }, cols, arranged);
    k.linear(weight, { data: arranged, count }, { data: out, count, stride });
    k.dequantise(weight, { from: 0, count: rows }, values);
  });
  const [bytesW, bytesX, wide, dequantised] = results as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  for (let token = 0; token < count; token++) {
    const rest = wide.subarray(token * stride + rows, (token + 1) * stride);
    assert.ok(rest.every(Number.isNaN), "wrote between the rows of its output");
  }
  const y = Float32Array.from(
    { length: count * rows },
    (_, i) => wide[Math.floor(i / rows) * stride + (i % rows)]!,
  );
  return { weight: bytesOf(bytesW), arranged: bytesOf(bytesX), y, values: dequantised };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Activations as their codes say, and the scale of each column's block. */
function meaningOf(
  arranged: Uint8Array,
  count: number,
  cols: number,
): { x: Float64Array; scale: Float64Array } {
  const view = new DataView(arranged.buffer, arranged.byteOffset, arranged.byteLength);
  const [x, scale] = [new Float64Array(count * cols), new Float64Array(count * cols)];
  for (let token = 0; token < count; token++) {
    let at = 4 * token * paddedCols(cols);
    for (let col = 0; col < cols; col += INT8_BLOCK) {
      const width = Math.min(INT8_BLOCK, cols - col);
      let sum = 0;
      for (let k = 0; k < width; k++) {
        const index = token * cols + col + k;
        scale[index] = view.getFloat32(at, true);
        x[index] = view.getInt8(at + HEADER + k) * scale[index]!;
        sum += view.getInt8(at + HEADER + k);
      }
      assert.equal(view.getInt32(at + 4, true), -64 * sum + 0, "the sum of codes");
      at += HEADER + paddedCols(width);
    }
  }
  return { x, scale };
}

/** Whether INT8 at a far place of the heap gives the results of the reference. */
export function assertInt8At(kernels: InferenceKernels, base: number): void {
  const scalar = createScalarInference(HEAP_BYTES);
  for (const count of [1, 2, 9]) {
    const data = randomCase(21, 300, count);
    assert.deepEqual(run(kernels, data, base), run(scalar, data), `at ${base}, ${count} tokens`);
  }
}

export function int8Suite(name: string, create: (heapBytes: number) => InferenceKernels): void {
  const kernels = create(HEAP_BYTES);
  const scalar = createScalarInference(HEAP_BYTES);

  /** Runs on both and demands the same bytes. */
  const both = (data: Case, label: string): Outcome => {
    const [actual, expected] = [run(kernels, data), run(scalar, data)];
    assert.deepEqual(actual.weight, expected.weight, `${label}: quantise()`);
    assert.deepEqual(actual.arranged, expected.arranged, `${label}: arrange()`);
    assertSameBits(actual.y, expected.y, `${label}: linear()`);
    assertSameBits(actual.values, expected.values, `${label}: dequantise()`);
    return actual;
  };

  describe(`INT8 on ${name}`, () => {
    test(`INT8 on ${name} has the reference's bits for every shape; sums are those of the codes`, () => {
      for (const [i, cols] of COLS.entries()) {
        for (let count = 1; count <= 9; count++) {
          const rows = ROWS[(i + count) % ROWS.length]!;
          const data = randomCase(rows, cols, count);
          const label = `${rows}×${cols}, ${count} tokens`;
          const { arranged, y, values } = both(data, label);
          const { x } = meaningOf(arranged, count, cols);
          for (const [j, actual] of y.entries()) {
            const [token, row] = [Math.floor(j / rows), j % rows];
            let [sum, size] = [0, 0];
            for (let col = 0; col < cols; col++) {
              const product = x[token * cols + col]! * values[row * cols + col]!;
              sum += product;
              size += Math.abs(product);
            }
            // Integer sums are exact: three roundings a block, and one of each dequantised value.
            assert.ok(Math.abs(actual - sum) <= 5e-7 * size, `${label}: ${actual} at ${j}, wanted ${sum}`);
          }
        }
      }
    });

    test(`arrange() and quantise() on ${name} are off by half a step, of 1/127 and 1/63 of a block`, () => {
      for (const cols of COLS) {
        const data = randomCase(5, cols, 3);
        const { arranged, values } = both(data, `${cols} columns`);
        const largest = (all: Float32Array, index: number) => {
          const row = Math.floor(index / cols) * cols;
          const from = row + Math.floor((index - row) / INT8_BLOCK) * INT8_BLOCK;
          return Math.max(...all.subarray(from, Math.min(from + INT8_BLOCK, row + cols)).map(Math.abs));
        };
        const { x } = meaningOf(arranged, 3, cols);
        for (const [i, value] of data.x.entries()) {
          const most = largest(data.x, i);
          assert.ok(Math.abs(x[i]! - value) <= (most / 127) * 0.50001, `activation ${i} of ${cols}`);
          if (Math.abs(value) === most) assert.ok(Math.abs(x[i]! - value) <= 1e-6 * most);
        }
        for (const [i, value] of data.w.entries()) {
          assert.ok(
            Math.abs(values[i]! - value) <= (largest(data.w, i) / 63) * 0.50001,
            `weight ${i} of ${cols}`,
          );
        }
      }
    });

    test(`linear() of INT8 on ${name} gives many tokens the bits of single ones, and rows those of all rows`, () => {
      for (const count of [2, 3, 4, 5, 8, 17]) {
        const data = randomCase(29, 333, count);
        data.x[333 + 3] = Number.NaN; // the second token's alone
        const all = both(data, `${count} tokens`).y;
        for (const token of [0, 1, count - 1]) {
          const x = data.x.slice(token * 333, (token + 1) * 333);
          const one = both({ ...data, x, count: 1 }, `token ${token}`).y;
          assertSameBits(all.subarray(token * 29, (token + 1) * 29), one, `token ${token} of ${count}`);
          assert.equal(one.every(Number.isNaN), token === 1);
        }
        for (const [from, to] of [
          [0, 7],
          [7, 22],
          [22, 29],
        ] as const) {
          const w = data.w.slice(from * 333, to * 333);
          const { y } = both({ ...data, w, rows: to - from }, `rows from ${from}`);
          for (let token = 0; token < count; token++) {
            const part = all.slice(token * 29 + from, token * 29 + to);
            assertSameBits(
              y.slice(token * (to - from), (token + 1) * (to - from)),
              part,
              `rows from ${from}`,
            );
          }
        }
      }
    });

    test(`linear() of INT8 on ${name} takes the largest codes of one sign without saturation`, () => {
      for (const [signW, signX] of [
        [1, 1],
        [1, -1],
        [-1, 1],
        [-1, -1],
      ] as const) {
        for (const count of [1, 2, 4]) {
          const [rows, cols] = [9, 256];
          const w = new Float32Array(rows * cols).fill(63 * signW);
          const x = new Float32Array(count * cols).fill(127 * signX);
          const { y } = both({ rows, cols, count, w, x }, `${signW} ${signX}`);
          assert.ok(y.every((value) => value === signW * signX * 63 * 127 * cols));
        }
      }
    });

    test(`INT8 on ${name} rounds ties to even`, () => {
      const x = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5);
      const w = Float32Array.of(63, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 62.5);
      const { arranged, values } = both({ rows: 1, cols: 8, count: 1, w, x }, "ties");
      assert.deepEqual(
        [...meaningOf(arranged, 1, 8).x].map((v) => v + 0),
        [127, 0, 2, 2, 0, -2, -2, 126],
      );
      assert.deepEqual(
        [...values].map((v) => v + 0),
        [63, 0, 2, 2, 0, -2, -2, 62],
      );
    });

    test(`INT8 on ${name} makes zeros of zeros and of blocks below 2^-100, and keeps the largest floats`, () => {
      const [rows, cols, count] = [6, 130, 5];
      const random = new Random(7);
      for (const size of [0, 1e-45, 1e-40, 2 ** -101, 2 ** -99, 1e-20, 1e19, 3e38]) {
        const fill = (length: number) =>
          Float32Array.from({ length }, () => Math.sign(random.gauss()) * (0.5 + random.next() / 2) * size);
        for (const [sizeW, sizeX] of [
          [fill(rows * cols), random.floats(count * cols)],
          [random.floats(rows * cols), fill(count * cols)],
        ] as const) {
          const { y } = both({ rows, cols, count, w: sizeW, x: sizeX }, `size ${size}`);
          if (size < 2 ** -100) assert.ok(y.every((value) => value === 0));
          else assert.ok(y.some((value) => value !== 0));
        }
      }
    });

    test(`INT8 on ${name} shows what is not finite: of a token in all its sums, of a weight in those of its row`, () => {
      for (const bad of [Number.NaN, Infinity, -Infinity]) {
        for (const count of [1, 2, 3, 7]) {
          for (const col of [0, 63, 64, 100, 132]) {
            const data = randomCase(10, 133, count);
            data.x[(count - 1) * 133 + col] = bad;
            data.w[4 * 133 + col] = bad;
            const { y } = both(data, `${bad} in column ${col}`);
            for (const [i, value] of y.entries()) {
              const [token, row] = [Math.floor(i / 10), i % 10];
              assert.equal(Number.isFinite(value), token !== count - 1 && row !== 4, `${token}, ${row}`);
            }
          }
        }
      }
    });

    test(`linear() of INT8 on ${name} adds block to block in order`, () => {
      // 2^24 swallows a 1 that is added to it alone; two ones at a time it takes.
      const sum = (sizes: number[], count: number): number => {
        const [cols, rows] = [sizes.length * INT8_BLOCK, 5];
        const w = new Float32Array(rows * cols);
        const x = new Float32Array(count * cols);
        for (const [block, size] of sizes.entries()) {
          for (let row = 0; row < rows; row++) w.set([63, 0, 32], row * cols + block * INT8_BLOCK);
          const unit = size / 2048; // of a code of activations: 32 · 64 · unit is the block's sum
          for (let token = 0; token < count; token++) {
            x.set([0, 127 * unit, 64 * unit], token * cols + block * INT8_BLOCK);
          }
        }
        const { y } = both({ rows, cols, count, w, x }, "order");
        assert.ok(y.every((value) => value === y[0]));
        return y[0]!;
      };
      for (const count of [1, 2, 4]) {
        assert.equal(sum([2 ** 24, 1, 1], count), 2 ** 24);
        assert.equal(sum([1, 1, 2 ** 24], count), 2 ** 24 + 2);
        assert.equal(sum([1, 2 ** 24, 1], count), 2 ** 24);
      }
    });

    test(`INT8 on ${name} does nothing for no rows or tokens, and gives 0 for no columns`, () => {
      both(randomCase(0, 40, 2), "no rows");
      both(randomCase(4, 40, 0), "no tokens");
      for (const count of [1, 2, 3]) {
        const { y } = both(randomCase(3, 0, count), "no columns");
        assert.deepEqual(y, new Float32Array(3 * count));
      }
    });
  });
}
