/**
 * What a band is by definition (assembly.md section 2), written without the kernels and without their
 * encoder: Math.fround for each rounding, the nearest value of the table for each code.
 */

import type { FloatDtype } from "../../src/tensor/dtype.ts";
import { E4M3_VALUES, E5M2_VALUES } from "../../src/tensor/float8.ts";
import { decodeF16, encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import { type BandData, codesOf } from "./band-data.ts";

const { fround } = Math;

export interface MergeResult {
  /** False: something was not finite; nothing else is then defined. */
  ok: boolean;
  codes: Uint8Array;
  /** Bits of the new scales. */
  scales: Uint32Array;
}

const F16_VALUES = Float32Array.from({ length: 65536 }, (_, code) => decodeF16(code));

/** Every element as float32. */
export function decodeAll(dtype: FloatDtype, bytes: Uint8Array): Float32Array {
  const codes = codesOf(dtype, bytes.slice());
  if (dtype === "F32") return new Float32Array(codes.buffer);
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(codes).map((code) => code << 16).buffer);
  const table = { F16: F16_VALUES, F8_E4M3: E4M3_VALUES, F8_E5M2: E5M2_VALUES }[dtype];
  const values = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) values[i] = table[codes[i]!]!;
  return values;
}

/** d_i = f32(code_i) · scale_i, for all elements of one input. */
export function dequantise({ cols, blockCols }: BandData, input: BandData["inputs"][number]): Float32Array {
  const values = decodeAll(input.dtype, input.bytes);
  const { scales } = input;
  if (!scales) return values;
  return values.map((value, i) => fround(value * scales[Math.floor((i % cols) / blockCols)]!));
}

// Half-way between each E4M3 code and the next; beyond the last one the code stays 0x7E.
const MIDPOINTS = Array.from(
  { length: 0x7e },
  (_, code) => (E4M3_VALUES[code]! + E4M3_VALUES[code + 1]!) / 2,
);

export function nearestE4m3(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.abs(value);
  let [low, high] = [0, 0x7e]; // the code is low, high or between
  while (low < high) {
    const middle = (low + high) >> 1;
    const midpoint = MIDPOINTS[middle]!;
    const above = magnitude > midpoint || (magnitude === midpoint && middle % 2 === 1);
    if (above) low = middle + 1;
    else high = middle;
  }
  return sign | low;
}

export function mergeByDefinition(band: BandData): MergeResult {
  const { rows, cols, blockCols, inputs, output, powerOfTwo } = band;
  const acc = new Float32Array(rows * cols);
  for (const [index, input] of inputs.entries()) {
    const lambda = fround(input.weight);
    const values = dequantise(band, input);
    for (let i = 0; i < acc.length; i++) {
      const term = fround(lambda * values[i]!);
      acc[i] = index === 0 ? term : fround(acc[i]! + term);
    }
  }
  if (output === "F8_E4M3") return quantise(acc, cols, blockCols, powerOfTwo);
  const [ok, codes] = narrow(acc, output);
  return { ok, codes: new Uint8Array(codes.buffer), scales: new Uint32Array(0) };
}

function narrow(acc: Float32Array, output: "F32" | "BF16" | "F16"): [boolean, Float32Array | Uint16Array] {
  if (output === "F32") return [acc.every(Number.isFinite), acc];
  const codes = Uint16Array.from(acc, output === "F16" ? encodeF16 : encodeBf16);
  const infinity = output === "F16" ? 0x7c00 : 0x7f80;
  return [codes.every((code) => (code & 0x7fff) < infinity), codes];
}

function quantise(acc: Float32Array, cols: number, blockCols: number, powerOfTwo: boolean): MergeResult {
  const numBlocks = cols === 0 ? 0 : Math.ceil(cols / blockCols);
  const blockOf = (i: number) => Math.floor((i % cols) / blockCols);
  const largest = new Float32Array(numBlocks);
  for (const [i, value] of acc.entries()) {
    largest[blockOf(i)] = Math.max(largest[blockOf(i)]!, Math.abs(value));
  }
  const scales = largest.map((amax) => {
    const scale = fround(Math.max(amax, fround(1e-12)) / 448);
    return powerOfTwo ? 2 ** Math.ceil(Math.log2(scale)) : scale;
  });
  const codes = Uint8Array.from(acc, (value, i) => nearestE4m3(fround(value / scales[blockOf(i)]!)));
  return { ok: acc.every(Number.isFinite), codes, scales: new Uint32Array(scales.buffer) };
}
