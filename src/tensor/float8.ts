/**
 * FP8: E4M3 ("fn": no infinities, one NaN per sign, largest 448), E5M2 (IEEE-like, largest 57344) and
 * the scale format UE8M0 (powers of two, 2^(code - 127), 255 is NaN).
 *
 * Decoding is a table. Encoding rounds to nearest, ties to even, in exact double arithmetic. This file is
 * the reference, written from the formats' definition: every kernel must agree with it bit for bit.
 * Source: OCP 8-bit Floating Point Specification 1.0; model.md section 11.
 */

/** What becomes of values beyond the largest: the largest, or what the format itself says. */
export type Overflow = "saturate" | "format";

interface Float8Format {
  exponentBits: 4 | 5;
  mantissaBits: 3 | 2;
  bias: 7 | 15;
  largest: 448 | 57344;
  largestCode: 0x7e | 0x7b;
  /** Code of what lies beyond the largest: NaN for E4M3, infinity for E5M2. */
  beyondCode: 0x7f | 0x7c;
}

const E4M3: Float8Format = {
  exponentBits: 4,
  mantissaBits: 3,
  bias: 7,
  largest: 448,
  largestCode: 0x7e,
  beyondCode: 0x7f,
};

const E5M2: Float8Format = {
  exponentBits: 5,
  mantissaBits: 2,
  bias: 15,
  largest: 57344,
  largestCode: 0x7b,
  beyondCode: 0x7c,
};

export const E4M3_MAX = 448;

/** Value of every code, indexed by the byte. */
export const E4M3_VALUES: Float32Array = Float32Array.from({ length: 256 }, (_, code) => {
  return (code & 0x7f) === 0x7f ? Number.NaN : finiteValue(code, E4M3);
});
export const E5M2_VALUES: Float32Array = Float32Array.from({ length: 256 }, (_, code) => {
  const magnitude = code & 0x7f;
  if (magnitude > 0x7c) return Number.NaN;
  if (magnitude === 0x7c) return code & 0x80 ? -Infinity : Infinity;
  return finiteValue(code, E5M2);
});
export const UE8M0_VALUES: Float32Array = Float32Array.from({ length: 256 }, (_, code) =>
  code === 255 ? Number.NaN : 2 ** (code - 127),
);

function finiteValue(code: number, { mantissaBits, bias }: Float8Format): number {
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code & 0x7f) >> mantissaBits;
  const fraction = (code & ((1 << mantissaBits) - 1)) / 2 ** mantissaBits;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias); // subnormal
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

/** Nearest E4M3 code of a float32. */
export function encodeE4m3(value: number, overflow: Overflow = "saturate"): number {
  return encode(value, E4M3, overflow);
}

/** Nearest E5M2 code of a float32. */
export function encodeE5m2(value: number, overflow: Overflow = "saturate"): number {
  return encode(value, E5M2, overflow);
}

function encode(value: number, format: Float8Format, overflow: Overflow): number {
  const { mantissaBits, bias, largest, largestCode, beyondCode } = format;
  if (Number.isNaN(value)) return 0x7f | signBit(value);
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= largest) {
    if (overflow === "saturate") return sign | largestCode;
    // The step above the largest does not exist; half-way to it is a tie. 448 has an even mantissa and
    // keeps it, 57344 has an odd one and gives it to infinity.
    const tie = largest + 2 ** (Math.floor(Math.log2(largest)) - mantissaBits - 1);
    const beyond = magnitude > tie || (magnitude === tie && largestCode % 2 === 1);
    return sign | (beyond ? beyondCode : largestCode);
  }
  // Codes around `magnitude` stand 2^(exponent - mantissaBits) apart, never closer than a subnormal step.
  const least = 1 - bias;
  const exponent = Math.max(exponentOf(magnitude), least);
  const steps = roundHalfToEven(magnitude / 2 ** (exponent - mantissaBits));
  // Counting steps from the exponent below makes one formula of normals and subnormals, carries included.
  return sign | (((exponent - least) << mantissaBits) + steps);
}

const bits = new DataView(new ArrayBuffer(4));

// The sign of a NaN is only seen in its bits.
function signBit(nan: number): number {
  bits.setFloat32(0, nan);
  return bits.getUint8(0) & 0x80;
}

function exponentOf(magnitude: number): number {
  if (magnitude === 0) return -Infinity;
  // log2 may be off by one beside a power of two.
  const guess = Math.floor(Math.log2(magnitude));
  if (2 ** guess > magnitude) return guess - 1;
  return 2 ** (guess + 1) <= magnitude ? guess + 1 : guess;
}

function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** Code of the smallest power of two that is not below a positive value; at most 2^127. NaN gives 255. */
export function encodeUe8m0Ceil(value: number): number {
  if (Number.isNaN(value)) return 255;
  for (let code = 0; code < 254; code++) if (2 ** (code - 127) >= value) return code;
  return 254;
}
