/** The suite of the inference kernels over WASM, and that it equals the reference bit for bit. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { type InferenceKernels, paddedCols } from "../../src/kernels/inference.ts";
import { createInference } from "../../src/kernels/inference-probe.ts";
import { createScalarInference } from "../../src/kernels/inference-scalar.ts";
import { createWasmInference, hasRelaxedSimd } from "../../src/kernels/inference-wasm.ts";
import { enableRelaxedSimd } from "../../src/runtime/relaxed-simd.ts";
import { attentionSuite } from "./inference-attention.case.ts";
import { elementSuite } from "./inference-elements.case.ts";
import { assertSameBits, HeapImage, Random } from "./inference-image.ts";
import { assertInt8At, int8Suite } from "./inference-int8.case.ts";
import { linearSuite } from "./inference-linear.case.ts";
import { makeWeight, placeWeight, WEIGHT_DTYPES } from "./inference-weights.ts";

const GIB = 2 ** 30;

linearSuite("wasm", createWasmInference);
attentionSuite("wasm", createWasmInference);
elementSuite("wasm", createWasmInference);
int8Suite("wasm", createWasmInference);

// Node 20 and every later one can have it: where it is missing, the suite below would not run unnoticed.
assert.ok(enableRelaxedSimd(), "no relaxed SIMD, wanted it on Node 20 and later");
int8Suite("wasm, relaxed", (heapBytes) => createWasmInference(heapBytes, { relaxed: true }));

describe("createInference() for INT8", () => {
  test("createInference() takes relaxed SIMD where it is wanted", () => {
    assert.ok(hasRelaxedSimd());
    assert.equal(createInference(65536, "auto", { relaxed: true }).dotProduct, "relaxed");
    assert.equal(createInference(65536, "auto").dotProduct, "plain");
    assert.equal(createInference(65536, "scalar", { relaxed: true }).dotProduct, "scalar");
  });
});

describe("createWasmInference()", () => {
  test("createWasmInference() gives whole pages, at least as many bytes as asked, as bytes and floats", () => {
    for (const [asked, given] of [
      [1, 65536],
      [65536, 65536],
      [65537, 131072],
    ] as const) {
      const { bytes, floats } = createWasmInference(asked);
      assert.equal(bytes.length, given);
      assert.equal(floats.length, given / 4);
      assert.equal(floats.buffer, bytes.buffer);
    }
    assert.throws(() => createWasmInference(2 ** 32 + 1), RangeError);
  });

  for (const gib of [3, 4]) {
    // At 4 GiB there is no room behind the heap for scratch.
    test(`linear() on a heap of ${gib} GiB works beyond 2 GiB, where pointers are negative as i32`, (t) => {
      const kernels = createOrSkip(t, gib * GIB, { relaxed: gib === 3 });
      if (!kernels) return;
      assert.equal(kernels.bytes.length, gib * GIB);
      const scalar = createScalarInference(1 << 20);
      for (const base of [2 * GIB - 20_000, 2 * GIB + 64, gib * GIB - 400_000]) {
        assertInt8At(kernels, base);
        for (const dtype of WEIGHT_DTYPES) {
          for (const count of [1, 2, 9]) {
            const run = (k: InferenceKernels, at: number) => linearAt(k, { at, dtype, count });
            assertSameBits(run(kernels, base), run(scalar, 0), `${dtype} at ${base}, ${count} tokens`);
          }
        }
      }
    });
  }

  test("other kernels work on both sides of 2 GiB", (t) => {
    const kernels = createOrSkip(t, 3 * GIB);
    if (!kernels) return;
    const scalar = createScalarInference(1 << 20);
    for (const base of [2 * GIB - 2048, 2 * GIB + 64]) {
      const results = [elementsAt(kernels, base), elementsAt(scalar, 0)] as const;
      for (const [i, output] of results[0].entries()) assertSameBits(output, results[1][i]!, `${base}: ${i}`);
    }
  });
});

function createOrSkip(
  t: TestContext,
  heapBytes: number,
  options: { relaxed?: boolean } = {},
): InferenceKernels | undefined {
  try {
    return createWasmInference(heapBytes, options);
  } catch (error) {
    t.skip(`no heap of ${heapBytes / GIB} GiB here: ${(error as Error).message}`);
    return undefined;
  }
}

function linearAt(
  kernels: InferenceKernels,
  { at, dtype, count }: { at: number; dtype: (typeof WEIGHT_DTYPES)[number]; count: number },
): Float32Array {
  const [rows, cols] = [9, 300];
  const random = new Random(count);
  const image = new HeapImage(at);
  const weight = placeWeight(image, makeWeight({ dtype, rows, cols, block: { rows: 4, cols: 128 } }, random));
  const data = image.place(random.floats(count * cols));
  const arranged = image.output(count * paddedCols(cols));
  const out = image.output(count * rows);
  const values = image.output(rows * cols);
  const [, y] = image.run(kernels, (k) => {
    k.arrange(dtype, { data, count, stride: cols }, cols, arranged);
    k.linear(weight, { data: arranged, count }, { data: out, count, stride: rows });
    k.dequantise(weight, { from: 0, count: rows }, values);
  });
  return y!;
}

function elementsAt(kernels: InferenceKernels, base: number): Float32Array[] {
  const random = new Random(5);
  const image = new HeapImage(base);
  const [count, stride] = [3, 40];
  const rows = (data: number) => ({ data, count, stride });
  const [x, y] = [rows(image.inOut(random.floats(120))), rows(image.inOut(random.floats(120)))];
  const out = rows(image.inOut(new Float32Array(120)));
  const [maxima, sums] = [image.inOut(new Float32Array(3).fill(-1e30)), image.inOut(new Float32Array(3))];
  const limits = image.place(Int32Array.of(40, 7, 0));
  const [cos, sin] = [image.place(random.floats(20)), image.place(random.floats(20))];
  const running = { maxima, sums, out: out.data, outCols: 40 };
  return image.run(kernels, (k) => {
    k.rmsNorm(x, cos, 20, 1e-6, x);
    k.rotate(x, { cos, sin, pairs: 20 }, true);
    k.rotate(x, { cos, sin, pairs: 20 }, false);
    k.siluMul(x, y, 40, out);
    k.addScaled(out.data, y.data, 0.5, 120);
    assert.equal(k.firstNonFinite(out.data, 120), -1);
    k.softmaxStep({ scores: x.data, rows: 3, keys: 40, limits, scale: 0.3, ...running });
    k.combine({ data: x.data, count: 3, stride }, { ...y, count: 2 }, 40, out, true);
  });
}

describe("createInference()", () => {
  test("createInference() takes WASM where the engine has SIMD, and the reference when asked", () => {
    assert.equal(createInference(65536).name, "wasm");
    assert.equal(createInference(65536, "wasm").name, "wasm");
    assert.equal(createInference(65536, "scalar").name, "scalar");
  });
});
