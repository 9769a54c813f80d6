/**
 * What a kernel implementation offers. There are two: WASM SIMD (wasm.ts) and plain TypeScript
 * (scalar.ts), the reference; both give the same bits, and one test suite runs over both.
 *
 * Kernels work on a heap of fixed size that the caller fills and reads through `bytes`: files are read
 * straight into it and written straight from it, without a copy between. All positions are byte offsets
 * into the heap; multi-byte data lies on a multiple of its element size. Counts stay below 2^30.
 */
import type { FloatDtype } from "../tensor/dtype.ts";

/** One parent's share of a band. */
export interface BandInput {
  dtype: FloatDtype;
  /** Offset of the first element; rows lie `rowBytes` apart. */
  data: number;
  rowBytes: number;
  /** Offset of one float32 per column block, which multiplies; 0: none. All > 0 and finite. */
  scales: number;
  /** λ. Rounded to float32 where it meets the first product. */
  weight: number;
}

/** Where a band's result goes. */
export interface BandOutput {
  dtype: "F32" | "BF16" | "F16" | "F8_E4M3";
  data: number;
  rowBytes: number;
  /** For F8_E4M3: offset of one float32 per column block. */
  scales: number;
  /** Round new scales up to powers of two (scale_fmt "ue8m0"). */
  powerOfTwo: boolean;
}

/** Rows that share one row of scale blocks, in all parents. */
export interface Band {
  rows: number;
  cols: number;
  /** Columns per block of scales; `cols` where there are none. */
  blockCols: number;
  inputs: BandInput[];
  output: BandOutput;
  /** Offset of scratchBytes(band) bytes, on a multiple of 16. */
  scratch: number;
}

/** Sums of a measure, in float64. */
export interface Squares {
  /** Σ (other - base)² */
  difference: number;
  /** Σ base² */
  base: number;
}

export interface Kernels {
  readonly name: "wasm" | "scalar";
  /** The whole heap. Offset 0 is never used for data: 0 means "none". */
  readonly bytes: Uint8Array;

  /** `count` elements of any float format -> float32. */
  widen(dtype: FloatDtype, from: number, to: number, count: number): void;
  /** `count` float32 -> a float format, nearest even. `saturate` concerns the FP8 formats. */
  narrow(dtype: FloatDtype, from: number, to: number, count: number, saturate?: boolean): void;
  /** UE8M0 codes -> float32, and positive float32 -> the next power of two upwards. */
  widenUe8m0(from: number, to: number, count: number): void;
  narrowUe8m0(from: number, to: number, count: number): void;

  /**
   * The weighted sum of the inputs (assembly.md section 2): every step rounded to float32, in the order of
   * the inputs. False when an input or a result is not finite; the output is then undefined.
   */
  mergeBand(band: Band): boolean;
  /**
   * Adds the squares of other - base and of base to `sums`. `inputs` are base and other; weights and
   * output are not looked at. Each row is summed by sumSquares' order, rows one after another.
   */
  measureBand(band: Pick<Band, "rows" | "cols" | "blockCols" | "inputs" | "scratch">, sums: Squares): void;

  /** Index of the first NaN or infinity among `count` elements, or -1. */
  firstNonFinite(dtype: FloatDtype, from: number, count: number): number;
  /** Index of the first byte in which two ranges differ, or -1. */
  firstDifference(a: number, b: number, count: number): number;
}

/** Sums that merging FP8 parents keeps from its first walk to its second; assembly/merge.ts says why. */
export const STRIP_ELEMENTS: number = 1 << 17;

/** Bytes of scratch that mergeBand and measureBand need for this width and number of inputs. */
export function scratchBytes(cols: number, blockCols: number, numInputs: number): number {
  const blocks = Math.ceil(cols / Math.max(1, blockCols));
  const records = 32 * Math.max(2, numInputs);
  const floats = 2 * cols + (1 + numInputs) * blocks + 4 + STRIP_ELEMENTS;
  return align16(records) + align16(4 * floats) + 64;
}

export function align16(offset: number): number {
  return Math.ceil(offset / 16) * 16;
}
