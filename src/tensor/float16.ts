/**
 * BF16 and F16 (IEEE half): decode is exact, encode rounds a float32 to nearest, ties to even, and
 * overflows to infinity. Reference code: written from the formats, checked against golden vectors.
 */

const view = new DataView(new ArrayBuffer(4));

function bitsOfFloat32(value: number): number {
  view.setFloat32(0, value);
  return view.getUint32(0);
}

function float32OfBits(bits: number): number {
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

/** BF16 bits are the upper half of a float32. */
export function decodeBf16(code: number): number {
  return float32OfBits((code << 16) >>> 0);
}

/** Bits of the nearest BF16. A NaN stays a NaN, also when only its low bits are set. */
export function encodeBf16(value: number): number {
  const bits = bitsOfFloat32(value);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  const upper = bits >>> 16;
  const rest = bits & 0xffff;
  const up = rest > 0x8000 || (rest === 0x8000 && upper % 2 === 1);
  return up ? upper + 1 : upper; // a carry into the exponent is the next power of two, or infinity
}

export function decodeF16(code: number): number {
  const sign = code & 0x8000 ? -1 : 1;
  const exponent = (code >> 10) & 0x1f;
  const mantissa = code & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Infinity;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

export function encodeF16(value: number): number {
  const bits = bitsOfFloat32(value);
  const sign = (bits >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00; // half-way between 65504 and the step beyond it
  // The float32 exponent is exact; below 2^-14 the step stays 2^-24.
  const exponent = Math.max(((bits >>> 23) & 0xff) - 127, -14);
  const steps = magnitude / 2 ** (exponent - 10);
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  return sign | (((exponent + 14) << 10) + rounded);
}
