/** Weights for tests of linear() and dequantise(), and what they mean in float64. */
import type { StoredDtype, Weight } from "../../src/kernels/inference.ts";
import { E4M3_VALUES } from "../../src/tensor/float8.ts";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import type { HeapImage, Random } from "./inference-image.ts";

export const WEIGHT_DTYPES: StoredDtype[] = ["F8_E4M3", "BF16", "F16", "F32"];

export interface WeightSpec {
  dtype: StoredDtype;
  rows: number;
  cols: number;
  /** Of scale blocks; F8_E4M3 without has no scales. */
  block?: { rows: number; cols: number };
  firstRow?: number;
}

export interface TestWeight {
  spec: WeightSpec;
  codes: Float32Array | Uint16Array | Uint8Array;
  scales: Float32Array;
  /** Dequantised, row after row: products in float64. */
  values: Float64Array;
}

export function makeWeight(spec: WeightSpec, random: Random): TestWeight {
  const { dtype, rows, cols, block, firstRow = 0 } = spec;
  const codes = codesOf(dtype, rows * cols, random);
  const scaled = dtype === "F8_E4M3" ? block : undefined;
  const across = scaled ? Math.ceil(cols / scaled.cols) : 0;
  const skipped = scaled ? Math.floor(firstRow / scaled.rows) : 0;
  const down = scaled ? Math.floor((firstRow + rows - 1) / scaled.rows) - skipped + 1 : 0;
  // From 2^-12 to 2^9: larger than 2^7, where a scale times 2^120 would overflow.
  const scales = Float32Array.from({ length: down * across }, () => 2 ** (random.next() * 21 - 12));
  const values = Float64Array.from({ length: rows * cols }, (_, index) => {
    const value = meaningOf(dtype, codes[index]!);
    if (!scaled) return value;
    const blockRow = Math.floor((firstRow + Math.floor(index / cols)) / scaled.rows) - skipped;
    return value * scales[blockRow * across + Math.floor((index % cols) / scaled.cols)]!;
  });
  return { spec, codes, scales, values };
}

function codesOf(dtype: StoredDtype, length: number, random: Random): TestWeight["codes"] {
  switch (dtype) {
    case "F8_E4M3": // every finite code, subnormals too
      return Uint8Array.from({ length }, () => random.below(2) * 0x80 + random.below(0x7f));
    case "BF16":
      return Uint16Array.from({ length }, () => encodeBf16(Math.fround(random.gauss())));
    case "F16": // a few subnormals
      return Uint16Array.from({ length }, () =>
        encodeF16(Math.fround(random.gauss() * 2 ** -random.below(20))),
      );
    case "F32":
      return random.floats(length);
  }
}

function meaningOf(dtype: StoredDtype, code: number): number {
  switch (dtype) {
    case "F8_E4M3":
      return E4M3_VALUES[code]!;
    case "BF16":
      return decodeBf16(code);
    case "F16":
      return decodeF16(code);
    case "F32":
      return code;
  }
}

/** Puts a weight on the heap; codes of one byte at an odd place. */
export function placeWeight(image: HeapImage, { spec, codes, scales }: TestWeight): Weight {
  const { dtype, rows, cols, block, firstRow = 0 } = spec;
  const shift = codes.BYTES_PER_ELEMENT < 4 ? 3 * codes.BYTES_PER_ELEMENT : 4;
  return {
    ...{ dtype, rows, cols, firstRow },
    data: image.place(codes, { shift }),
    scales: scales.length > 0 ? image.place(scales) : 0,
    blockRows: block?.rows ?? 1,
    blockCols: block?.cols ?? 16,
  };
}
