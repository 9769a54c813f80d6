/**
 * The element types of safetensors files: their names on disk, sizes, and which we compute with.
 *
 * Sub-byte types count in bits. FNUZ types are other formats than the FP8 types of like name: they are
 * copied, never computed with (checkpoint-format.md section 6).
 */

const BITS = {
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
  F32: 32,
  I32: 32,
  U32: 32,
  F16: 16,
  BF16: 16,
  I16: 16,
  U16: 16,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I8: 8,
  U8: 8,
  BOOL: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
} as const;

/** An element type, spelt as safetensors spells it. */
export type Dtype = keyof typeof BITS;

/** A type that decodes to float32 and takes part in arithmetic. */
export type FloatDtype = "F32" | "BF16" | "F16" | "F8_E4M3" | "F8_E5M2";

export const DTYPES: readonly Dtype[] = Object.keys(BITS) as Dtype[];

export function isDtype(text: string): text is Dtype {
  return Object.hasOwn(BITS, text);
}

export function bitsOf(dtype: Dtype): number {
  return BITS[dtype];
}

export function isFloat(dtype: Dtype): dtype is FloatDtype {
  return dtype === "F32" || dtype === "BF16" || dtype === "F16" || isFloat8(dtype);
}

export function isFloat8(dtype: Dtype): dtype is "F8_E4M3" | "F8_E5M2" {
  return dtype === "F8_E4M3" || dtype === "F8_E5M2";
}

/** Bytes of one element of a float type. */
export function floatSize(dtype: FloatDtype): 1 | 2 | 4 {
  return (BITS[dtype] / 8) as 1 | 2 | 4;
}

/** Elements of a shape; an empty shape is a scalar. NaN when it leaves the safe integers. */
export function numElements(shape: readonly number[]): number {
  let product = 1;
  // A zero anywhere makes zero, even beside dimensions whose product would overflow.
  if (shape.includes(0)) return 0;
  for (const dim of shape) {
    product *= dim;
    if (!Number.isSafeInteger(product)) return Number.NaN;
  }
  return product;
}

/** Bytes of a tensor, or NaN when it is not whole or leaves the safe integers. */
export function byteLengthOf(dtype: Dtype, shape: readonly number[]): number {
  const elements = numElements(shape);
  const whole = ((elements % 8) * BITS[dtype]) % 8 === 0;
  // Divided first: counts of bits can pass 2^53 where bytes do not.
  const bytes = (elements / 8) * BITS[dtype];
  return whole && Number.isSafeInteger(bytes) ? bytes : Number.NaN;
}

/** [2048, 7168] -> "[2048, 7168]", as messages show shapes. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
