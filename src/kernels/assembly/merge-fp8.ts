// Products of FP8 codes with their scales, and codes of sums: what the merges of FP8 parents alone share.
// Lanes hold columns j, j+4, j+8, j+12 of sixteen: nothing needs permuting.
//
// V8 builds a constant vector anew at every use (mov, movd, shuffle), which halves the speed here.
// The constants below are therefore exported and mutable, so that no optimiser may fold them, and are
// splatted into locals before the loops: a register or a stack slot each.

import { TWO_120_BITS } from "./codec";

export let RAW_MASK: i32 = 0x87f00000;
export let ABS_MASK: i32 = 0x7fffffff;
export let SIGN_MASK: i32 = 0x80000000;
export let NAN_CODE: i32 = 0x7f7f7f7f;
export let EXPONENT_MASK: i32 = 0x7f800000;
export let LEAST_EXPONENT: i32 = 0x3c800000; // 2^-6, the smallest normal E4M3
export let STEP_SHIFT: i32 = 20 << 23;
// Every lane of four codes carries a bias of 968 (121 · 8); it leaves in one subtraction per 16 codes.
export let ONE: i32 = 1;
export let HALF_STEP: i32 = 0x7fff; // of BF16, less one
export let PACKED_BIAS: i32 = 968 + (968 << 8) + (968 << 16) + (968 << 24);

// @ts-ignore: decorator
@inline
export function rawBy(v: v128, left: i32, mask: v128): v128 {
  return v128.and(i32x4.shr_s(left ? i32x4.shl(v, left) : v, 4), mask);
}

// kind 0: λ is a power of two and folded into the scale by the host, which is exact. 1: any λ.
// 2: a scale is 2^7 or more, so that scale · 2^120 would overflow.
// @ts-ignore: decorator
@inline
export function term(raw: v128, scale: v128, lambda: v128, kind: i32): v128 {
  if (kind == 0) return f32x4.mul(raw, scale);
  if (kind == 1) return f32x4.mul(lambda, f32x4.mul(raw, scale));
  const value = f32x4.mul(raw, f32x4.splat(reinterpret<f32>(TWO_120_BITS)));
  return f32x4.mul(lambda, f32x4.mul(value, scale));
}

// @ts-ignore: decorator
@inline
export function foldedScale(scales: usize, block: i32, lambda: f32, kind: i32): f32 {
  const scale = load<f32>(scales + (<usize>block << 2));
  if (kind == 2) return scale;
  const folded = scale * reinterpret<f32>(TWO_120_BITS);
  return kind == 0 ? folded * lambda : folded;
}

/**
 * Code of |q| <= 448 (1 + 2^-23), plus a bias of 968, without its sign. With e the exponent of q,
 * at least -6, codes stand 2^(e-3) apart; that is one unit in the last place of 2^(e+20), so the
 * addition rounds |q| to whole steps, ties to even, and leaves their number in the low bits.
 */
// @ts-ignore: decorator
@inline
export function biasedCode(q: v128, abs: v128, exponent: v128, least: v128, shift: v128): v128 {
  const e = i32x4.max_s(v128.and(q, exponent), least);
  const magic = i32x4.add(e, shift);
  const steps = i32x4.sub(f32x4.add(v128.and(q, abs), magic), magic);
  return i32x4.add(steps, i32x4.shr_u(e, 20));
}
