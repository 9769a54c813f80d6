/**
 * The kernels of the forward pass: WASM against the scalar reference, and against how fast one core reads
 * memory. Products of one or two tokens walk a weight that no cache holds, as decoding does.
 */
import assert from "node:assert/strict";
import {
  type InferenceKernels,
  int8Bytes,
  paddedCols,
  type Weight,
  type WeightDtype,
} from "../src/kernels/inference.ts";
import { createScalarInference } from "../src/kernels/inference-scalar.ts";
import { createWasmInference } from "../src/kernels/inference-wasm.ts";
import { enableRelaxedSimd } from "../src/runtime/relaxed-simd.ts";
import { encodeE4m3 } from "../src/tensor/float8.ts";
import { encodeBf16, encodeF16 } from "../src/tensor/float16.ts";
import { printTable } from "./table.ts";
import { quickest } from "./timing.ts";

const LARGE_BYTES: number = 200 << 20;
const HEAP_BYTES: number = LARGE_BYTES + (40 << 20);
const SMALL_HEAP_BYTES: number = 40 << 20;
const BLOCK = 128;
/** Rows that the scalar reference multiplies. */
const FEW_ROWS = 32;
const SIZE: Record<WeightDtype, number> = { F8_E4M3: 1, BF16: 2, F16: 2, F32: 4, INT8: 17 / 16 };

// Places on either heap; the weight is last and as long as it may be.
const X: number = 1 << 10;
const ARRANGED: number = 5 << 20;
const OUT: number = 11 << 20;
const SCALES: number = 18 << 20;
const WEIGHT: number = 20 << 20;

/** A case does `work` units (weights, or products) of `unit`; bytes: what it must read at least. */
interface Case {
  name: string;
  what: string;
  work: number;
  unit: string;
  bytes: number;
  run: (kernels: InferenceKernels) => void;
  /** Work and run of the part that the scalar reference does too. */
  check: { work: number; run: (kernels: InferenceKernels) => Float32Array };
}

export function benchInference(): string {
  const relaxed = enableRelaxedSimd();
  const fast = createWasmInference(HEAP_BYTES, { relaxed });
  const plain = createWasmInference(HEAP_BYTES);
  const scalar = createScalarInference(SMALL_HEAP_BYTES);
  for (const kernels of [fast, plain, scalar]) fillActivations(kernels);
  const read = readBandwidth(fast);
  const rows = CASES.flatMap(({ prepare, ...shape }) => {
    const kinds = shape.dtype === "INT8" && relaxed ? [fast, plain] : [plain];
    return kinds.map((wasm) => measure({ prepare, ...shape }, { wasm, scalar, read }));
  });
  rows.push(["read", "200 MB, not in the cache", "", `${(read / 1e9).toFixed(1)} GB/s`, "", "100 %"]);
  printTable("inference: one thread", ["kernel", "data", "time", "speed", "scalar", "read"], rows);
  return "results equal to scalar";
}

function measure(
  { prepare, ...shape }: CaseSpec,
  { wasm, scalar, read }: { wasm: InferenceKernels; scalar: InferenceKernels; read: number },
): string[] {
  const { name, what, work, unit, bytes, run, check } = prepare(shape, [wasm, scalar]);
  const results = [check.run(wasm), check.run(scalar)] as const;
  assert.deepEqual(results[0], results[1], `${name} ${what}: WASM differs from the scalar reference`);
  const seconds = quickest(0.5, () => run(wasm));
  const reference = quickest(0.1, () => check.run(scalar)) / check.work;
  return [
    ...[
      name,
      shape.dtype === "INT8" ? `${what}, ${wasm.dotProduct}` : what,
      `${(seconds * 1000).toFixed(3)} ms`,
      `${(work / seconds / 1e9).toFixed(2)} ${unit}`,
    ],
    `${((reference * work) / seconds).toFixed(0)}×`,
    bytes > 0 ? `${((100 * bytes) / seconds / read).toFixed(0)} %` : "–",
  ];
}

/** Bytes that one core reads per second, far beyond the caches. */
function readBandwidth(kernels: InferenceKernels): number {
  kernels.floats.fill(1, WEIGHT / 4); // else all pages are one page of zeros
  return LARGE_BYTES / quickest(0.5, () => assert.equal(kernels.firstNonFinite(WEIGHT, LARGE_BYTES / 4), -1));
}

interface Shape {
  dtype?: WeightDtype;
  rows: number;
  cols: number;
  tokens: number;
}

interface CaseSpec extends Shape {
  prepare: (shape: Shape, both: readonly InferenceKernels[]) => Case;
}

const large = (dtype: WeightDtype, cols: number, tokens: number): CaseSpec => ({
  ...{ dtype, cols, tokens, rows: Math.floor(LARGE_BYTES / cols / SIZE[dtype]) },
  prepare: linear,
});
const prefill = (dtype: WeightDtype, cols: number, tokens: number): CaseSpec => ({
  ...{ dtype, cols, tokens, rows: 512 },
  prepare: linear,
});

const CASES: CaseSpec[] = [
  large("F8_E4M3", 7168, 1),
  large("F8_E4M3", 2048, 1),
  large("BF16", 7168, 1),
  large("F16", 7168, 1),
  large("F32", 7168, 1),
  large("F8_E4M3", 7168, 2),
  large("BF16", 7168, 2),
  large("INT8", 7168, 1),
  large("INT8", 2048, 1),
  large("INT8", 7168, 2),
  prefill("F8_E4M3", 7168, 4),
  prefill("F8_E4M3", 7168, 128),
  prefill("F8_E4M3", 2048, 128),
  prefill("BF16", 7168, 128),
  prefill("INT8", 7168, 4),
  prefill("INT8", 7168, 128),
  { dtype: "F8_E4M3", rows: 512, cols: 7168, tokens: 1, prepare: quantise },
  { dtype: "BF16", rows: 512, cols: 7168, tokens: 1, prepare: quantise },
  { dtype: "F32", rows: 64, cols: 576, tokens: 128, prepare: linear }, // scores of one page, 128 heads
  { rows: 64, cols: 512, tokens: 128, prepare: combine }, // its values
  { rows: 64, cols: 512, tokens: 1, prepare: combine },
  { rows: 64, cols: 512, tokens: 128, prepare: softmax },
  { rows: 1, cols: 2048, tokens: 8, prepare: siluMul },
  { rows: 1, cols: 7168, tokens: 1, prepare: rmsNorm },
];

function linear({ dtype = "F32", rows, cols, tokens }: Shape, both: readonly InferenceKernels[]): Case {
  const bytes = rows * cols * SIZE[dtype];
  for (const kernels of both) fillWeight(kernels, dtype, Math.min(bytes, kernels.bytes.length - WEIGHT - 64));
  const blocks = {
    scales: dtype === "F8_E4M3" ? SCALES : 0,
    blockRows: BLOCK,
    blockCols: BLOCK,
    firstRow: 0,
  };
  const x = { data: X, count: tokens, stride: cols };
  const weight = (count: number): Weight => ({ dtype, data: WEIGHT, rows: count, cols, ...blocks });
  const multiply = (kernels: InferenceKernels, count: number): void =>
    kernels.linear(
      weight(count),
      { data: ARRANGED, count: tokens },
      { data: OUT, count: tokens, stride: count },
    );
  for (const kernels of both) {
    kernels.floats.fill(0.001, SCALES / 4, WEIGHT / 4);
    kernels.arrange(dtype, x, cols, ARRANGED);
  }
  assert.ok(ARRANGED + 4 * tokens * paddedCols(cols) <= OUT && OUT + 4 * tokens * rows <= SCALES);
  const few = Math.min(FEW_ROWS, rows);
  return {
    name: "linear",
    what: `${rows}×${cols} ${dtype}, ${tokens} token${tokens > 1 ? "s" : ""}`,
    ...(tokens > 2
      ? { work: rows * cols * tokens, unit: "GMAC/s", bytes: 0 }
      : { work: rows * cols, unit: "Gweights/s", bytes }),
    run: (kernels) => multiply(kernels, rows),
    check: {
      work: few * cols * (tokens > 2 ? tokens : 1),
      run: (kernels) => {
        multiply(kernels, few);
        return kernels.floats.slice(OUT / 4, OUT / 4 + tokens * few);
      },
    },
  };
}

/** Stored weights -> INT8, four rows at a time, as loading does. */
function quantise({ dtype = "F32", rows, cols }: Shape, both: readonly InferenceKernels[]): Case {
  for (const kernels of both) fillWeight(kernels, dtype, rows * cols * SIZE[dtype]);
  const blocks = { scales: 0, blockRows: BLOCK, blockCols: BLOCK, firstRow: 0 };
  const weight: Weight = { dtype, data: WEIGHT, rows, cols, ...blocks };
  const fours = (kernels: InferenceKernels, count: number): void => {
    for (let from = 0; from < count; from += 4) {
      kernels.dequantise(weight, { from, count: 4 }, ARRANGED);
      kernels.quantise({ data: ARRANGED, count: 4, stride: cols }, cols, OUT + int8Bytes(from, cols));
    }
  };
  return {
    name: "quantise",
    what: `${rows}×${cols} ${dtype} to INT8`,
    ...{ work: rows * cols, unit: "Gweights/s", bytes: 0 },
    run: (kernels) => fours(kernels, rows),
    check: {
      work: FEW_ROWS * cols,
      run: (kernels) => {
        fours(kernels, FEW_ROWS);
        return kernels.floats.slice(OUT / 4, (OUT + int8Bytes(FEW_ROWS, cols)) / 4);
      },
    },
  };
}

function combine({ rows, cols, tokens }: Shape): Case {
  const a = { data: X, count: tokens, stride: rows };
  const b = { data: ARRANGED, count: rows, stride: 576 };
  const out = { data: OUT, count: tokens, stride: cols };
  return same(
    `${tokens}×${rows}×${cols}`,
    { name: "combine", work: tokens * rows * cols, unit: "GMAC/s" },
    { run: (kernels) => kernels.combine(a, b, cols, out, false), count: tokens * cols },
  );
}

function softmax({ rows: keys, cols, tokens: rows }: Shape, both: readonly InferenceKernels[]): Case {
  const [maxima, sums, limits] = [SCALES, SCALES + 4096, SCALES + 8192];
  const scores = both[0]!.floats.slice(X / 4, X / 4 + rows * keys);
  const step = { scores: ARRANGED, rows, keys, limits, scale: 0.2, maxima, sums, out: OUT, outCols: cols };
  for (const { bytes } of both) new Int32Array(bytes.buffer, limits, rows).fill(keys);
  return same(
    `${rows}×${keys}, out ${cols} wide`,
    { name: "softmaxStep", work: rows * keys, unit: "Gscores/s" },
    {
      run: (kernels) => {
        kernels.floats.set(scores, ARRANGED / 4);
        kernels.floats.fill(-1e30, maxima / 4, maxima / 4 + rows);
        kernels.floats.fill(0, sums / 4, sums / 4 + rows);
        kernels.softmaxStep(step);
      },
      at: ARRANGED,
      count: rows * keys,
    },
  );
}

function siluMul({ cols, tokens }: Shape): Case {
  const [gate, up, out] = [X, ARRANGED, OUT].map((data) => ({ data, count: tokens, stride: cols }));
  return same(
    `${tokens}×${cols}`,
    { name: "siluMul", work: tokens * cols, unit: "Gelements/s" },
    { run: (kernels) => kernels.siluMul(gate!, up!, cols, out!), count: tokens * cols },
  );
}

function rmsNorm({ cols, tokens }: Shape): Case {
  const [x, out] = [X, OUT].map((data) => ({ data, count: tokens, stride: cols }));
  return same(
    `${tokens}×${cols}`,
    { name: "rmsNorm", work: tokens * cols, unit: "Gelements/s" },
    { run: (kernels) => kernels.rmsNorm(x!, ARRANGED, cols, 1e-6, out!), count: tokens * cols },
  );
}

/** A case that both implementations do as a whole. */
function same(
  what: string,
  head: { name: string; work: number; unit: string },
  { run, at = OUT, count }: { run: (kernels: InferenceKernels) => void; at?: number; count: number },
): Case {
  const result = (kernels: InferenceKernels) => {
    run(kernels);
    return kernels.floats.slice(at / 4, at / 4 + count);
  };
  return { ...head, what, bytes: 0, run, check: { work: head.work, run: result } };
}

// Values with a fixed seed: normal as those of a model, since denormals would be timed else (docs/LOG.md).
let state = 1;

function gauss(): number {
  let sum = -2;
  for (let i = 0; i < 4; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    sum += state / 2 ** 32;
  }
  return sum;
}

function fillActivations({ floats }: InferenceKernels): void {
  state = 1;
  const pattern = Float32Array.from({ length: 8191 }, gauss);
  for (let at = X / 4; at < SCALES / 4; at += pattern.length) {
    floats.set(pattern.subarray(0, Math.min(pattern.length, SCALES / 4 - at)), at);
  }
}

function fillWeight({ bytes }: InferenceKernels, dtype: WeightDtype, byteLength: number): void {
  state = 2;
  const values = Float32Array.from({ length: 1 << 16 }, gauss);
  const codes = {
    F8_E4M3: () => Uint8Array.from(values, (value) => encodeE4m3(100 * value)),
    BF16: () => Uint16Array.from(values, encodeBf16),
    F16: () => Uint16Array.from(values, encodeF16),
    F32: () => values,
    INT8: () => int8Pattern(values),
  }[dtype]();
  const pattern = new Uint8Array(codes.buffer);
  for (let at = 0; at < byteLength; at += pattern.length) {
    bytes.set(pattern.subarray(0, Math.min(pattern.length, byteLength - at)), WEIGHT + at);
  }
}

/** Blocks of INT8: four scales and codes. */
function int8Pattern(values: Float32Array): Uint8Array {
  const bytes = Uint8Array.from({ length: 272 * 256 }, (_, i) => 64 + 31 * values[i % values.length]!);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 272) {
    for (let row = 0; row < 4; row++) view.setFloat32(at + 4 * row, 0.001, true);
  }
  return bytes;
}
