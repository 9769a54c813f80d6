/**
 * Elements as GGUF stores them, as quickly as plain code can: a model for a benchmark has billions.
 *
 * Q8_0: 32 elements share a scale d, which is the largest magnitude divided by 127 and stored as F16 before
 * the 32 codes; a code is the element divided by d, rounded to nearest, halves away from zero, in float32.
 */
import { encodeF16 } from "../../src/tensor/float16.ts";
import type { TensorType } from "./container.ts";

const BLOCK = 32;
const BLOCK_BYTES = 34;

/** Little endian, as everything here runs on such machines only. Values must be finite. */
export function encodeElements(type: TensorType, values: Float32Array): Uint8Array {
  switch (type) {
    case "F32":
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "BF16":
      return encodeBf16(values);
    case "Q8_0":
      return encodeQ8(values);
    default:
      throw new Error(`internal: no encoding of ${type satisfies never}`);
  }
}

/** Rounds to nearest, ties to even: a carry runs into the exponent, as it should. */
function encodeBf16(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(values.length);
  for (let i = 0; i < codes.length; i++) {
    const word = bits[i]!;
    codes[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
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
    for (let i = from; i < from + BLOCK; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude > largest) largest = magnitude;
    }
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const code = encodeF16(scale);
    const to = block * BLOCK_BYTES;
    bytes[to] = code & 0xff;
    bytes[to + 1] = code >> 8;
    for (let i = 0; i < BLOCK; i++) {
      const steps = Math.fround(values[from + i]! * inverse);
      // Half a step is added in float64, where the sum is exact; cutting off rounds towards zero.
      bytes[to + 2 + i] = (steps < 0 ? steps - 0.5 : steps + 0.5) | 0;
    }
  }
  return bytes;
}
