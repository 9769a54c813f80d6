/**
 * Elements as GGUF stores them. Q8_0: 32 elements share a scale d, which is the largest magnitude divided by
 * 127 and stored as F16 before the 32 codes; a code is the element divided by d, rounded to nearest, halves
 * away from zero, in float32.
 */
import { encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import type { TensorType } from "./container.ts";

const BLOCK = 32;
const BLOCK_BYTES = 34;

/** Little endian, as everything here runs on such machines only. */
export function encodeElements(type: TensorType, values: Float32Array): Uint8Array {
  switch (type) {
    case "F32":
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "BF16":
      return encodeBf16All(values);
    case "Q8_0":
      return encodeQ8(values);
    default:
      throw new Error(`internal: no encoding of ${type satisfies never}`);
  }
}

function encodeBf16All(values: Float32Array): Uint8Array {
  const codes = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) codes[i] = encodeBf16(values[i]!);
  return new Uint8Array(codes.buffer);
}

function encodeQ8(values: Float32Array): Uint8Array {
  const numBlocks = values.length / BLOCK;
  if (!Number.isInteger(numBlocks)) {
    throw new RangeError(`Cannot encode ${values.length} elements as Q8_0, wanted a multiple of ${BLOCK}`);
  }
  const bytes = new Uint8Array(numBlocks * BLOCK_BYTES);
  for (let block = 0; block < numBlocks; block++) {
    const from = block * BLOCK;
    let largest = 0;
    for (let i = from; i < from + BLOCK; i++) largest = Math.max(largest, Math.abs(values[i]!));
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const code = encodeF16(scale);
    const to = block * BLOCK_BYTES;
    bytes[to] = code & 0xff;
    bytes[to + 1] = code >> 8;
    for (let i = 0; i < BLOCK; i++) {
      const steps = Math.fround(values[from + i]! * inverse);
      // Half a step is added in float64, where the sum is exact.
      bytes[to + 2 + i] = steps < 0 ? -Math.floor(0.5 - steps) : Math.floor(steps + 0.5);
    }
  }
  return bytes;
}
