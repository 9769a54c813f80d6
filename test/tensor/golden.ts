/**
 * The golden tensors of the number formats, from test/golden/codec. Read by a few lines of their own, so
 * that these tests need no layer above tensor/.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const file = readFileSync("test/golden/codec/codec.safetensors");
const dataStart = 8 + Number(file.readBigUInt64LE(0));
const header = JSON.parse(file.toString("utf8", 8, dataStart)) as Record<string, Entry>;

export const goldenNames: string[] = Object.keys(header).filter((name) => name !== "__metadata__");

function bytesOf(name: string, dtype: string): ArrayBuffer {
  const entry = header[name];
  assert.equal(entry?.dtype, dtype, `dtype of ${name}`);
  const [begin, end] = entry!.data_offsets;
  return new Uint8Array(file.subarray(dataStart + begin, dataStart + end)).buffer;
}

export function goldenFloats(name: string): Float32Array {
  return new Float32Array(bytesOf(name, "F32"));
}

export function goldenBytes(name: string): Uint8Array {
  return new Uint8Array(bytesOf(name, "U8"));
}

export function goldenWords(name: string): Uint16Array {
  return new Uint16Array(bytesOf(name, "U16"));
}

/** Bits equal, any NaN for a NaN. */
export function assertSameFloats(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(actual.length, expected.length, `length of ${what}`);
  for (const [index, value] of expected.entries()) {
    if (Object.is(actual[index], value)) continue;
    assert.fail(`${what}: element ${index} is ${actual[index]}, expected ${value}`);
  }
}

/** Float32 bits of a value, and back. */
export function bitsOfFloat(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

export function floatOfBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

/** Each value, and the float32 on either side of it. Values must be float32, neither 0 nor infinite. */
export function withNeighbours(values: readonly number[]): number[] {
  return values.flatMap((value) => {
    const bits = bitsOfFloat(value);
    return [floatOfBits(bits - 1), value, floatOfBits(bits + 1)];
  });
}

/** Float32 of every `stride`-th bit pattern: all exponents, both signs, infinities and NaNs. */
export function sweep(stride: number): Float32Array {
  const bits = Uint32Array.from({ length: Math.ceil(2 ** 32 / stride) }, (_, i) => i * stride);
  return new Float32Array(bits.buffer);
}
