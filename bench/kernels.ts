/**
 * The kernels on one band in the cache, as a build calls them: WASM against the scalar reference and against
 * a copy of memory.
 */
import assert from "node:assert/strict";
import {
  type Band,
  type BandInput,
  type Kernels,
  type Squares,
  scratchBytes,
} from "../src/kernels/kernels.ts";
import { createScalarKernels } from "../src/kernels/scalar.ts";
import { createWasmKernels } from "../src/kernels/wasm.ts";
import { Heap } from "../src/logical/heap.ts";
import { type FloatDtype, floatSize } from "../src/tensor/dtype.ts";
import { Content } from "./parents/content.ts";
import { printTable } from "./table.ts";
import { quickest } from "./timing.ts";

const HEAP_BYTES = 40 << 20;
const BLOCK = { rows: 128, cols: 128 };
/** Elements of the cases without a shape. */
const LINE: number = 1 << 19;
const COPY_BYTES: number = 128 << 20;
const content = new Content(1);

interface Case {
  name: string;
  what: string;
  elements: number;
  /** Bytes read and written, one walk of the inputs counted. */
  traffic: number;
  /** Sets the heap up; `run` does the work once; `result` is what must be equal. */
  prepare: (kernels: Kernels) => { run: () => void; result: () => Uint8Array | number[] };
}

export function benchKernels(): string {
  const wasm = createWasmKernels(HEAP_BYTES);
  const scalar = createScalarKernels(HEAP_BYTES);
  const memcpy = copyBandwidth();
  const rows = CASES.map(({ name, what, elements, traffic, prepare }) => {
    const [fast, slow] = [prepare(wasm), prepare(scalar)];
    fast.run();
    slow.run();
    assert.deepEqual(fast.result(), slow.result(), `${name} ${what}: WASM differs from the scalar reference`);
    const [seconds, reference] = [quickest(0.5, fast.run), quickest(0.2, slow.run)];
    return [
      ...[name, what, `${(seconds * 1000).toFixed(3)} ms`],
      `${(elements / seconds / 1e9).toFixed(2)} G/s`,
      `${(reference / seconds).toFixed(0)}×`,
      `${((100 * traffic) / seconds / memcpy).toFixed(0)} %`,
    ];
  });
  rows.push(["copyWithin", "128 MB, not in the cache", "", `${(memcpy / 2e9).toFixed(1)} GB/s`, "", "100 %"]);
  printTable(
    "kernels: one thread, data in the cache",
    ["kernel", "data", "time", "elements", "scalar", "memcpy"],
    rows,
  );
  return "results equal to scalar";
}

/** Bytes read and written per second by a copy from memory to memory, far beyond the caches. */
function copyBandwidth(): number {
  const bytes = new Uint8Array(2 * COPY_BYTES).fill(1);
  const seconds = quickest(0.5, () => {
    bytes.copyWithin(COPY_BYTES, 0, COPY_BYTES);
  });
  return (2 * COPY_BYTES) / seconds;
}

interface Operand {
  dtype: FloatDtype;
  weight: number;
}

const pair = (dtype: FloatDtype, ...weights: number[]): Operand[] =>
  weights.map((weight) => ({ dtype, weight }));

const CASES: Case[] = [
  merge("FP8 · 2, λ ½ ½", { rows: 128, cols: 7168, output: "F8_E4M3", operands: pair("F8_E4M3", 0.5, 0.5) }),
  merge("FP8 · 2, λ ½ ½", { rows: 128, cols: 2048, output: "F8_E4M3", operands: pair("F8_E4M3", 0.5, 0.5) }),
  merge("FP8 · 2, λ 0.7 0.3", {
    rows: 128,
    cols: 7168,
    output: "F8_E4M3",
    operands: pair("F8_E4M3", 0.7, 0.3),
  }),
  merge("FP8 · 3, λ 0.5 0.3 0.2", {
    rows: 128,
    cols: 7168,
    output: "F8_E4M3",
    operands: pair("F8_E4M3", 0.5, 0.3, 0.2),
  }),
  merge("BF16 · 2, λ 0.7 0.3", { rows: 256, cols: 2048, output: "BF16", operands: pair("BF16", 0.7, 0.3) }),
  merge("F32 · 2, λ 0.7 0.3", { rows: 128, cols: 2048, output: "F32", operands: pair("F32", 0.7, 0.3) }),
  measure(128, 7168),
  convert("widen", "F8_E4M3"),
  convert("narrow", "F8_E4M3"),
  convert("widen", "BF16"),
  convert("narrow", "BF16"),
  scan("F8_E4M3"),
  scan("BF16"),
  scan("F32"),
  difference(),
];

interface MergeShape {
  rows: number;
  cols: number;
  output: "F32" | "BF16" | "F8_E4M3";
  operands: Operand[];
}

function merge(label: string, { rows, cols, output, operands }: MergeShape): Case {
  const elements = rows * cols;
  const bytesPerElement = operands.reduce<number>(
    (sum, { dtype }) => sum + floatSize(dtype),
    floatSize(output),
  );
  return {
    name: "mergeBand",
    what: `${rows}×${cols} ${label}`,
    elements,
    traffic: elements * bytesPerElement,
    prepare: (kernels) => {
      const heap = new Heap(kernels.bytes.length);
      const inputs = operands.map((operand, i) => place(kernels, heap, { ...operand, rows, cols, seed: i }));
      const blocks = Math.ceil(cols / BLOCK.cols);
      const rowBytes = cols * floatSize(output);
      const to = { data: heap.allocate(rows * rowBytes), scales: heap.allocate(4 * blocks) };
      const scratch = heap.allocate(scratchBytes(cols, BLOCK.cols, inputs.length));
      const band: Band = {
        rows,
        cols,
        blockCols: BLOCK.cols,
        inputs,
        output: { dtype: output, ...to, rowBytes, powerOfTwo: false },
        scratch,
      };
      return {
        run: () => assert.ok(kernels.mergeBand(band)),
        result: () => {
          const codes = kernels.bytes.slice(to.data, to.data + rows * rowBytes);
          return output === "F8_E4M3"
            ? joined(codes, kernels.bytes.slice(to.scales, to.scales + 4 * blocks))
            : codes;
        },
      };
    },
  };
}

function measure(rows: number, cols: number): Case {
  return {
    name: "measureBand",
    what: `${rows}×${cols} FP8 · 2`,
    elements: rows * cols,
    traffic: 2 * rows * cols,
    prepare: (kernels) => {
      const heap = new Heap(kernels.bytes.length);
      const inputs = [0, 1].map((seed) =>
        place(kernels, heap, { dtype: "F8_E4M3", weight: 1, rows, cols, seed }),
      );
      const scratch = heap.allocate(scratchBytes(cols, BLOCK.cols, 2));
      let sums: Squares = { difference: 0, base: 0 };
      return {
        run: () => {
          sums = { difference: 0, base: 0 };
          kernels.measureBand({ rows, cols, blockCols: BLOCK.cols, inputs, scratch }, sums);
        },
        result: () => [sums.difference, sums.base],
      };
    },
  };
}

function convert(way: "widen" | "narrow", dtype: FloatDtype): Case {
  const size = floatSize(dtype);
  return {
    name: way,
    what: way === "widen" ? `524288 ${dtype} → F32` : `524288 F32 → ${dtype}`,
    elements: LINE,
    traffic: LINE * (4 + size),
    prepare: (kernels) => {
      const heap = new Heap(kernels.bytes.length);
      const { data } = place(kernels, heap, { dtype, weight: 1, rows: 1, cols: LINE, seed: 0 });
      const [floats, back] = [heap.allocate(4 * LINE), heap.allocate(size * LINE)];
      kernels.widen(dtype, data, floats, LINE);
      const at = way === "widen" ? floats : back;
      return {
        run: () =>
          way === "widen"
            ? kernels.widen(dtype, data, floats, LINE)
            : kernels.narrow(dtype, floats, back, LINE),
        result: () => kernels.bytes.slice(at, at + LINE * (way === "widen" ? 4 : size)),
      };
    },
  };
}

function scan(dtype: FloatDtype): Case {
  return {
    name: "firstNonFinite",
    what: `524288 ${dtype}`,
    elements: LINE,
    traffic: LINE * floatSize(dtype),
    prepare: (kernels) => {
      const { data } = place(kernels, new Heap(kernels.bytes.length), {
        dtype,
        weight: 1,
        rows: 1,
        cols: LINE,
        seed: 0,
      });
      let found = 0;
      return {
        run: () => {
          found = kernels.firstNonFinite(dtype, data, LINE);
        },
        result: () => [found],
      };
    },
  };
}

function difference(): Case {
  return {
    name: "firstDifference",
    what: "1 MB, equal",
    elements: 1 << 20,
    traffic: 2 << 20,
    prepare: (kernels) => {
      const heap = new Heap(kernels.bytes.length);
      const operand = { dtype: "F8_E4M3", weight: 1, rows: 1, cols: 1 << 20, seed: 0 } as const;
      const [a, b] = [place(kernels, heap, operand).data, place(kernels, heap, operand).data];
      let found = 0;
      return {
        run: () => {
          found = kernels.firstDifference(a, b, 1 << 20);
        },
        result: () => [found],
      };
    },
  };
}

interface Placed extends Operand {
  rows: number;
  cols: number;
  seed: number;
}

/** Puts a band of a synthetic tensor onto the heap; FP8 with its scales. */
function place(kernels: Kernels, heap: Heap, { dtype, weight, rows, cols, seed }: Placed): BandInput {
  const size = floatSize(dtype);
  const at = heap.allocate(rows * cols * size);
  const tensor = { name: `bench.${seed}`, shape: [rows, cols], byteLength: rows * cols * size };
  fill(kernels, at, { ...tensor, dtype });
  const input: BandInput = { dtype, data: at, rowBytes: cols * size, scales: 0, weight };
  if (dtype !== "F8_E4M3") return input;
  const blocks = Math.ceil(cols / BLOCK.cols);
  input.scales = heap.allocate(4 * blocks);
  fill(kernels, input.scales, {
    name: `bench.${seed}.weight_scale_inv`,
    dtype: "F32",
    shape: [1, blocks],
    byteLength: 4 * blocks,
  });
  return input;
}

function fill(kernels: Kernels, at: number, tensor: Parameters<Content["pieces"]>[0]): void {
  let to = at;
  for (const piece of content.pieces(tensor, BLOCK)) {
    kernels.bytes.set(piece, to);
    to += piece.length;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
