/** combine() and softmaxStep(): bits of the reference, float64 definitions, vectors of model.md section 16. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exp2 } from "../../src/kernels/exp2.ts";
import type { InferenceKernels } from "../../src/kernels/inference.ts";
import { createScalarInference } from "../../src/kernels/inference-scalar.ts";
import { assertSameBits, HeapImage, Random, runBoth } from "./inference-image.ts";

const HEAP_BYTES = 1 << 20;
const COLS = [1, 2, 3, 4, 5, 15, 16, 17, 19, 20, 31, 32, 33, 127, 128, 130];
const KEYS = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 128];
const START = -1e30;
const LOG2_E = Math.LOG2E;

export function attentionSuite(name: string, create: (heapBytes: number) => InferenceKernels): void {
  const kernels = create(HEAP_BYTES);
  const scalar = createScalarInference(HEAP_BYTES);

  describe(`combine() on ${name}`, () => {
    test(`combine() on ${name} has the reference's bits, error <= n · 2^-23 Σ|a·b|`, () => {
      for (const [i, cols] of COLS.entries()) {
        for (let tokens = 1; tokens <= 9; tokens++) {
          const count = [0, 1, 2, 5, 64][(i + tokens) % 5]!;
          const accumulate = tokens % 2 === 0;
          const random = new Random(1000 * cols + tokens);
          const [strideA, strideB, strideOut] = [count + 2, cols + 1, cols + 3];
          const [a, b] = [random.floats(tokens * strideA), random.floats(count * strideB)];
          const before = random.floats(tokens * strideOut);
          const image = new HeapImage();
          const rowsA = { data: image.place(a), count: tokens, stride: strideA };
          const rowsB = { data: image.place(b), count, stride: strideB };
          const out = { data: image.inOut(before), count: tokens, stride: strideOut };
          const label = `${tokens}×${count}×${cols}`;
          const action = (k: InferenceKernels) => k.combine(rowsA, rowsB, cols, out, accumulate);
          const [result] = runBoth(image, kernels, scalar, { label, action });
          for (const [at, actual] of result!.entries()) {
            const [row, col] = [Math.floor(at / strideOut), at % strideOut];
            if (col >= cols) {
              assert.equal(actual, before[at], `${label}: wrote between the rows of its output`);
              continue;
            }
            let sum = accumulate ? before[at]! : 0;
            let size = Math.abs(sum);
            for (let j = 0; j < count; j++) {
              const product = a[row * strideA + j]! * b[j * strideB + col]!;
              sum += product;
              size += Math.abs(product);
            }
            assert.ok(Math.abs(actual - sum) <= (count + 1) * 2 ** -23 * size, `${label}: ${at}`);
          }
        }
      }
    });

    test(`combine() on ${name} adds j = 0, 1, … to what was there, one by one`, () => {
      for (const cols of [1, 4, 16, 37]) {
        for (const tokens of [1, 2, 3]) {
          const image = new HeapImage();
          const a = { data: image.place(new Float32Array(3 * tokens).fill(1)), count: tokens, stride: 3 };
          const rows = [2 ** 24, 1, 1].flatMap((value) => Array<number>(cols).fill(value));
          const b = { data: image.place(Float32Array.from(rows)), count: 3, stride: cols };
          const out = {
            data: image.inOut(new Float32Array(tokens * cols).fill(1)),
            count: tokens,
            stride: cols,
          };
          const run = (accumulate: boolean) =>
            image.run(kernels, (k) => k.combine(a, b, cols, out, accumulate))[0]!;
          assert.ok(run(true).every((value) => value === 2 ** 24));
          assert.ok(run(false).every((value) => value === 2 ** 24));
        }
      }
    });
  });

  interface State {
    scores: Float32Array;
    maxima: Float32Array;
    sums: Float32Array;
    out: Float32Array;
  }

  function softmaxStep(state: State, limits: number[], scale: number, label: string): State {
    const rows = limits.length;
    const image = new HeapImage();
    const step = {
      scores: image.inOut(state.scores),
      rows,
      keys: state.scores.length / rows,
      limits: image.place(Int32Array.from(limits)),
      scale,
      maxima: image.inOut(state.maxima),
      sums: image.inOut(state.sums),
      out: image.inOut(state.out),
      outCols: state.out.length / rows,
    };
    const action = (k: InferenceKernels) => k.softmaxStep(step);
    const [scores, maxima, sums, out] = runBoth(image, kernels, scalar, { label, action });
    return { scores: scores!, maxima: maxima!, sums: sums!, out: out! };
  }

  const fresh = (scores: ArrayLike<number>, rows: number, out: ArrayLike<number>): State => ({
    scores: Float32Array.from(scores),
    maxima: new Float32Array(rows).fill(START),
    sums: new Float32Array(rows),
    out: Float32Array.from(out),
  });

  describe(`softmaxStep() on ${name}`, () => {
    test(`softmaxStep() on ${name} has the reference's bits and float64 within 4e-6`, () => {
      for (const [i, keys] of KEYS.entries()) {
        for (const rows of [1, 2, 5]) {
          const outCols = COLS[(i + rows) % COLS.length]!;
          const random = new Random(100 * keys + rows);
          const scale = 0.1951011021;
          const limits = Array.from({ length: rows }, () => random.below(keys + 3) - 1);
          let state = fresh(random.floats(rows * keys, 30), rows, random.floats(rows * outCols));
          for (let page = 0; page < 3; page++) {
            const before = state;
            state = softmaxStep(before, limits, scale, `${rows}×${keys}, page ${page}`);
            for (let row = 0; row < rows; row++)
              checkRow(before, state, { row, keys, outCols, scale, limits });
            state = { ...state, scores: random.floats(rows * keys, 30) };
          }
        }
      }
    });

    /** One row against the definition in float64. */
    function checkRow(
      before: State,
      after: State,
      at: { row: number; keys: number; outCols: number; scale: number; limits: number[] },
    ): void {
      const { row, keys, outCols } = at;
      const scale = Math.fround(at.scale);
      const seen = Math.min(Math.max(at.limits[row]!, 0), keys);
      const scores = [...before.scores.subarray(row * keys, row * keys + seen)].map((s) => s * scale);
      const maximum = Math.max(before.maxima[row]!, ...scores);
      const decay = 2 ** (before.maxima[row]! - maximum);
      const near = (actual: number, expected: number, what: string) =>
        assert.ok(
          Math.abs(actual - expected) <= 4e-6 * Math.max(Math.abs(expected), 1e-30),
          `${what} of row ${row} is ${actual}, wanted ${expected}`,
        );
      near(after.maxima[row]!, maximum, "maximum");
      let sum = before.sums[row]! * decay;
      for (let j = 0; j < keys; j++) {
        const probability = j < seen ? 2 ** (scores[j]! - maximum) : 0;
        near(after.scores[row * keys + j]!, probability, `probability ${j}`);
        sum += probability;
      }
      near(after.sums[row]!, sum, "sum");
      for (let col = row * outCols; col < (row + 1) * outCols; col++) {
        near(after.out[col]!, before.out[col]! * decay, `output ${col}`);
      }
    }

    test(`softmaxStep() and combine() on ${name} give o and log-sum-exp of model.md section 16`, () => {
      const values = [
        [1, 2],
        [3, -4],
        [0, 0],
      ];
      // As parts with LSE₂ = 3, 1 and none; with a sink of 0.5, which weighs but has no value.
      const cases = [
        { scores: [3, 1, -1e33], lse: 3.32192809, o: [1.4, 0.8] },
        { scores: [3, 1, 0.5 * LOG2_E], lse: undefined, o: [1.20184866, 0.68677066] },
      ];
      // In one page; key by key, the maximum first or last.
      const pagings = [[[0, 1, 2]], [[0], [1], [2]], [[2], [1], [0]], [[1, 2], [0]]];
      for (const { scores, lse, o } of cases) {
        for (const pages of pagings) {
          let state = fresh([], 1, [0, 0]);
          for (const page of pages) {
            state.scores = Float32Array.from(page, (key) => scores[key]!);
            state = softmaxStep(state, [page.length], 1, "vector");
            const image = new HeapImage();
            const p = { data: image.place(state.scores), count: 1, stride: page.length };
            const v = Float32Array.from(page.flatMap((key) => values[key]!));
            const rows = { data: image.place(v), count: page.length, stride: 2 };
            const out = { data: image.inOut(state.out), count: 1, stride: 2 };
            const action = (k: InferenceKernels) => k.combine(p, rows, 2, out, true);
            [state.out] = runBoth(image, kernels, scalar, { label: "vector", action }) as [Float32Array];
          }
          const sum = state.sums[0]!;
          for (const i of [0, 1]) assert.ok(Math.abs(state.out[i]! / sum - o[i]!) < 5e-7, `o of ${pages}`);
          const actual = Math.log2(sum) + state.maxima[0]!;
          if (lse !== undefined) assert.ok(Math.abs(actual - lse) < 5e-7, `log-sum-exp ${actual}`);
        }
      }
    });

    test(`softmaxStep() on ${name} gives equal scores equal shares, 2^-63 after a maximum 63 higher`, () => {
      const state = softmaxStep(fresh(new Array(8).fill(5), 1, [1]), [8], 1, "equal");
      assert.deepEqual([...state.scores], new Array(8).fill(1));
      assert.deepEqual([state.maxima[0], state.sums[0], state.out[0]], [5, 8, 0]);
      const next = softmaxStep(
        { ...state, scores: Float32Array.of(68), out: Float32Array.of(2) },
        [1],
        1,
        "next",
      );
      assert.deepEqual([next.maxima[0], next.sums[0], next.out[0]], [68, 1 + 8 * 2 ** -63, 2 ** -62]);
    });

    test(`softmaxStep() on ${name} leaves a row that sees nothing, and ignores what it does not see`, () => {
      const keys = 9;
      const scores = new Array(2 * keys).fill(Number.NaN);
      scores[keys] = 1;
      const state: State = {
        scores: Float32Array.from(scores),
        maxima: Float32Array.of(0.25, START),
        sums: Float32Array.of(3, 0),
        out: Float32Array.of(7, 8),
      };
      for (const none of [0, -1, -(2 ** 31)]) {
        const { scores: p, maxima, sums, out } = softmaxStep(state, [none, 1], 1, "nothing seen");
        assert.deepEqual([...p], [...new Array(keys).fill(0), 1, ...new Array(keys - 1).fill(0)]);
        assert.deepEqual(
          [[...maxima], [...sums], [...out]],
          [
            [0.25, 1],
            [3, 1],
            [7, 0],
          ],
        );
      }
    });

    test(`softmaxStep() on ${name} shows NaN scores, and knows no -0 maximum`, () => {
      for (const at of [0, 3, 4, 6]) {
        const scores = Float32Array.of(1, 2, 3, 4, 5, 6, 7);
        scores[at] = Number.NaN;
        const { sums } = softmaxStep(fresh(scores, 1, [1]), [7], 1, `NaN at ${at}`);
        assert.ok(Number.isNaN(sums[0]));
      }
      for (const zeros of [[-0, -0, -0, -0, 0], [0, -0], [-0, 0], [-0]]) {
        const { maxima } = softmaxStep(fresh(zeros, 1, [1]), [zeros.length], 1, "zeros");
        assert.ok(Object.is(maxima[0], 0));
      }
    });

    test(`softmaxStep() on ${name} takes powers of 2 as exp2() does, from 0 to below 2^-126`, () => {
      for (let from = 0; from < 130; from++) {
        const scores = Float32Array.from({ length: 64 }, (_, j) => -from - j / 63);
        scores[0] = 0;
        const { scores: p } = softmaxStep(fresh(scores, 1, [1]), [64], 1, `from ${from}`);
        assertSameBits(p, scores.map(exp2), `powers from ${from}`);
      }
      const far = [0, -126, -126.00001, -1e30, -3e38, -Infinity];
      const { scores: p } = softmaxStep(fresh(far, 1, [1]), [far.length], 1, "far");
      assert.deepEqual([...p], [1, 2 ** -126, 0, 0, 0, 0]);
    });
  });
}
