/**
 * The kernels in WASM SIMD: lays out descriptors for the module of assembly/ and picks the fastest body
 * for what a band holds. Each instance has a memory of its own, at most 4 GiB, never grown: a growing
 * memory would detach the views that pending reads fill.
 */
import type { FloatDtype } from "../tensor/dtype.ts";
import type { Band, BandInput, Kernels, Squares } from "./kernels.ts";
import { align16, STRIP_ELEMENTS } from "./kernels.ts";
import { WASM_BASE64 } from "./wasm-binary.ts";

const PAGE = 65536;
const DTYPE: Record<FloatDtype, number> = { F32: 0, BF16: 1, F16: 2, F8_E4M3: 3, F8_E5M2: 4 };
const RECORD = 32;

/** What assembly/index.ts exports. Booleans and integers are i32. */
interface Module {
  mergePair(...args: number[]): number;
  mergeMany(...args: number[]): number;
  mergeBandE4m3(...args: number[]): number;
  mergeRows(...args: number[]): number;
  measureBand(...args: number[]): void;
  widen(dtype: number, from: number, to: number, count: number): void;
  narrow(dtype: number, from: number, to: number, count: number, saturate: number): void;
  widenUe8m0(from: number, to: number, count: number): void;
  narrowUe8m0(from: number, to: number, count: number): void;
  firstNonFinite(dtype: number, from: number, count: number): number;
  firstDifference(a: number, b: number, count: number): number;
}

let compiled: WebAssembly.Module | undefined;

/** The compiled module; compiled once per thread. */
export function wasmModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(WASM_BASE64), (c) => c.charCodeAt(0)));
  return compiled;
}

/** Kernels with a heap of at least `heapBytes` bytes. Throws RangeError above 4 GiB. */
export function createWasmKernels(heapBytes: number): Kernels {
  const pages = Math.ceil(heapBytes / PAGE);
  if (pages > 65536) throw new RangeError(`Cannot make a heap of ${heapBytes} bytes, wanted at most 4 GiB`);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536 });
  const instance = new WebAssembly.Instance(wasmModule(), { env: { memory } });
  return new WasmKernels(memory, instance.exports as unknown as Module);
}

class WasmKernels implements Kernels {
  readonly name = "wasm";
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #module: Module;

  constructor(memory: WebAssembly.Memory, module: Module) {
    this.bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
    this.#module = module;
  }

  widen(dtype: FloatDtype, from: number, to: number, count: number): void {
    this.#module.widen(DTYPE[dtype], from, to, count);
  }

  narrow(dtype: FloatDtype, from: number, to: number, count: number, saturate = true): void {
    this.#module.narrow(DTYPE[dtype], from, to, count, saturate ? 1 : 0);
  }

  widenUe8m0(from: number, to: number, count: number): void {
    this.#module.widenUe8m0(from, to, count);
  }

  narrowUe8m0(from: number, to: number, count: number): void {
    this.#module.narrowUe8m0(from, to, count);
  }

  #writeRecord(at: number, { dtype, data, rowBytes, scales, weight }: BandInput, folded: number): void {
    const view = this.#view;
    view.setInt32(at, DTYPE[dtype], true);
    view.setUint32(at + 4, data, true);
    view.setUint32(at + 8, rowBytes, true);
    view.setUint32(at + 12, scales, true);
    view.setFloat32(at + 16, weight, true);
    view.setUint32(at + 20, folded, true);
  }

  mergeBand({ rows, cols, blockCols: width, inputs, output, scratch }: Band): boolean {
    const blockCols = Math.max(1, width); // a band without columns may have blocks without any; they divide
    const blocks = Math.ceil(cols / blockCols);
    const maxima = scratch + align16(RECORD * Math.max(2, inputs.length));
    const folded = maxima + 4 * blocks;
    const acc = align16(folded + 4 * blocks * inputs.length);
    for (const [index, input] of inputs.entries()) {
      this.#writeRecord(scratch + index * RECORD, input, folded + 4 * blocks * index);
    }
    const { data, rowBytes, scales, powerOfTwo } = output;
    const count = inputs.length;
    const round = powerOfTwo ? 1 : 0;
    if (output.dtype !== "F8_E4M3") {
      const dtype = DTYPE[output.dtype];
      return this.#module.mergeRows(scratch, count, rows, cols, blockCols, dtype, data, rowBytes, acc) === -1;
    }
    const isFp8 = inputs.every((input) => input.dtype === "F8_E4M3" && input.scales !== 0);
    if (!isFp8 || rows * blockCols > STRIP_ELEMENTS) {
      const to = [data, rowBytes, scales, maxima, acc];
      return this.#module.mergeBandE4m3(scratch, count, rows, cols, blockCols, ...to, round) === -1;
    }
    const to = [data, rowBytes, scales, maxima, acc, round, this.#kind(inputs, blocks)];
    if (count === 2) return this.#module.mergePair(scratch, rows, cols, blockCols, ...to) === -1;
    return this.#module.mergeMany(scratch, count, rows, cols, blockCols, ...to) === -1;
  }

  /**
   * How products may be formed (term() in assembly/merge-fp8.ts). 2: a scale of 2^7 or more. 0: every λ is
   * ± a power of two and scales are far from underflow: with |value| >= 2^-9, scale >= 2^-80 and
   * |λ| >= 2^-16 every product is at least 2^-105, so λ only moves exponents and may be folded into the
   * scale without rounding. 1: else.
   */
  #kind(inputs: readonly BandInput[], blocks: number): 0 | 1 | 2 {
    let least = Infinity;
    let largest = 0;
    for (const { scales } of inputs) {
      for (let block = 0; block < blocks; block++) {
        const scale = this.#view.getFloat32(scales + 4 * block, true);
        least = Math.min(least, scale);
        largest = Math.max(largest, scale);
      }
    }
    if (!(largest < 128)) return 2;
    const exact = inputs.every(({ weight }) => {
      const size = Math.abs(Math.fround(weight));
      return size <= 1 && size >= 2 ** -16 && Number.isInteger(Math.log2(size));
    });
    return exact && least >= 2 ** -80 ? 0 : 1;
  }

  measureBand(
    {
      rows,
      cols,
      blockCols,
      inputs,
      scratch,
    }: Pick<Band, "rows" | "cols" | "blockCols" | "inputs" | "scratch">,
    sums: Squares,
  ): void {
    const [base, other] = inputs as [BandInput, BandInput];
    this.#writeRecord(scratch, base, 0);
    this.#writeRecord(scratch + RECORD, other, 0);
    const out = scratch + 2 * RECORD;
    const rowA = out + 16;
    this.#view.setFloat64(out, sums.difference, true);
    this.#view.setFloat64(out + 8, sums.base, true);
    this.#module.measureBand(scratch, rows, cols, blockCols, rowA, align16(rowA + 4 * cols), out);
    sums.difference = this.#view.getFloat64(out, true);
    sums.base = this.#view.getFloat64(out + 8, true);
  }

  firstNonFinite(dtype: FloatDtype, from: number, count: number): number {
    return this.#module.firstNonFinite(DTYPE[dtype], from, count);
  }

  firstDifference(a: number, b: number, count: number): number {
    return this.#module.firstDifference(a, b, count);
  }
}
