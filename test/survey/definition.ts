/**
 * Distances by their definition (assembly.md sections 1 and 2): values are float32 code times float32 scale,
 * rounded to float32; differences and sums are doubles. No table, kernel or codec of the code under test.
 */
import type { TensorContent } from "../support/safetensors.ts";

export interface Distances {
  rms: number;
  relative: number;
  difference: number;
  base: number;
  elements: number;
}

export function distances(base: Float64Array, other: Float64Array): Distances {
  let [difference, square] = [0, 0];
  for (let i = 0; i < base.length; i++) {
    difference += (other[i]! - base[i]!) ** 2;
    square += base[i]! ** 2;
  }
  const relative = difference === 0 ? 0 : Math.sqrt(difference / square);
  return {
    rms: Math.sqrt(difference / base.length),
    relative,
    difference,
    base: square,
    elements: base.length,
  };
}

/** The values of a tensor of a checkpoint, with its block scales (128×128) where it has some. */
export function valuesOf(tensors: ReadonlyMap<string, TensorContent>, name: string): Float64Array {
  const { dtype, shape, bytes } = tensors.get(name)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scale = tensors.get(`${name}_scale_inv`);
  const count = shape.reduce((product, dim) => product * dim, 1);
  return Float64Array.from({ length: count }, (_, index) => {
    if (dtype === "F32") return view.getFloat32(4 * index, true);
    if (dtype === "BF16") return bf16(view.getUint16(2 * index, true));
    const [row, col] = [Math.floor(index / shape[1]!), index % shape[1]!];
    const block = Math.floor(row / 128) * Math.ceil(shape[1]! / 128) + Math.floor(col / 128);
    const scales = new DataView(scale!.bytes.buffer, scale!.bytes.byteOffset);
    return Math.fround(e4m3(view.getUint8(index)) * scales.getFloat32(4 * block, true));
  });
}

function bf16(code: number): number {
  const [sign, exponent, fraction] = [code >> 15 ? -1 : 1, (code >> 7) & 0xff, (code & 0x7f) / 128];
  return sign * (exponent === 0 ? fraction * 2 ** -126 : (1 + fraction) * 2 ** (exponent - 127));
}

function e4m3(code: number): number {
  const [sign, exponent, fraction] = [code >> 7 ? -1 : 1, (code >> 3) & 0xf, (code & 7) / 8];
  return sign * (exponent === 0 ? fraction * 2 ** -6 : (1 + fraction) * 2 ** (exponent - 7));
}
