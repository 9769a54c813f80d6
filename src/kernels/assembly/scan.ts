// Kernels that look at bytes without changing them, and conversions of whole arrays.

import { BF16, E4M3, E5M2, F16, F32 } from "./codec";
import { encode4, load1, load4, nanCodes, store1, store4 } from "./codec";

// Conversions -----------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
function widenAs(dtype: i32, src: usize, dst: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(dst + (<usize>i << 2), load4(dtype, src, i));
  for (; i < n; i++) store<f32>(dst + (<usize>i << 2), load1(dtype, src, i));
}

/** n elements of any format -> float32. */
export function widen(dtype: i32, src: usize, dst: usize, n: i32): void {
  if (dtype == BF16) widenAs(BF16, src, dst, n);
  else if (dtype == F16) widenAs(F16, src, dst, n);
  else if (dtype == E4M3) widenAs(E4M3, src, dst, n);
  else if (dtype == E5M2) widenAs(E5M2, src, dst, n);
  else memory.copy(dst, src, <usize>n << 2);
}

// @ts-ignore: decorator
@inline
function narrowAs(dtype: i32, src: usize, dst: usize, n: i32, saturate: bool): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    store4(dtype, dst, i, encode4(dtype, v128.load(src + (<usize>i << 2)), saturate));
  }
  for (; i < n; i++) {
    store1(dtype, dst, i, encode4(dtype, f32x4.splat(load<f32>(src + (<usize>i << 2))), saturate));
  }
}

/** n float32 -> any format, nearest even. saturate concerns the FP8 formats. */
export function narrow(dtype: i32, src: usize, dst: usize, n: i32, saturate: bool): void {
  if (dtype == BF16) narrowAs(BF16, src, dst, n, true);
  else if (dtype == F16) narrowAs(F16, src, dst, n, true);
  else if (dtype == E4M3) {
    if (saturate) narrowAs(E4M3, src, dst, n, true);
    else narrowAs(E4M3, src, dst, n, false);
  } else if (dtype == E5M2) {
    if (saturate) narrowAs(E5M2, src, dst, n, true);
    else narrowAs(E5M2, src, dst, n, false);
  } else memory.copy(dst, src, <usize>n << 2);
}

/** UE8M0 codes -> float32: 2^(code - 127); 255 is NaN. */
export function widenUe8m0(src: usize, dst: usize, n: i32): void {
  for (let i = 0; i < n; i++) {
    const code = <i32>load<u8>(src + <usize>i);
    // Code 0 is 2^-127, a subnormal float32.
    const bits = code == 255 ? 0x7fc00000 : code == 0 ? 0x00400000 : code << 23;
    store<i32>(dst + (<usize>i << 2), bits);
  }
}

/** Positive float32 -> the code of the smallest power of two that is not below it; NaN -> 255. */
export function narrowUe8m0(src: usize, dst: usize, n: i32): void {
  for (let i = 0; i < n; i++) {
    const bits = load<u32>(src + (<usize>i << 2)) & 0x7fffffff;
    // Subnormals are at most 2^-126: code 1, or 0 up to 2^-127.
    let code = bits <= 0x00400000 ? 0 : min<u32>((bits + 0x7fffff) >> 23, 254);
    if (bits > 0x7f800000) code = 255;
    store<u8>(dst + <usize>i, <u8>code);
  }
}

// Anomalies -------------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
function firstAtLeast16(src: usize, n: i32, limit: i32): i32 {
  const magnitude = i16x8.splat(0x7fff);
  const last = i16x8.splat(<i16>(limit - 1));
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const bits = v128.and(v128.load(src + (<usize>i << 1)), magnitude);
    if (v128.any_true(i16x8.gt_s(bits, last))) break;
  }
  for (; i < n; i++) {
    if ((<i32>load<u16>(src + (<usize>i << 1)) & 0x7fff) >= limit) return i;
  }
  return -1;
}

function firstNonFinite32(src: usize, n: i32): i32 {
  const infinity = i32x4.splat(0x7f800000);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const exponent = v128.and(v128.load(src + (<usize>i << 2)), infinity);
    if (v128.any_true(i32x4.eq(exponent, infinity))) break;
  }
  for (; i < n; i++) {
    if ((load<i32>(src + (<usize>i << 2)) & 0x7f800000) == 0x7f800000) return i;
  }
  return -1;
}

function firstNonFinite8(dtype: i32, src: usize, n: i32): i32 {
  const magnitude = i8x16.splat(0x7f);
  // E4M3 has one NaN per sign and no infinity; E5M2 is IEEE-like from 0x7C up.
  const limit: i32 = dtype == E4M3 ? 0x7f : 0x7c;
  const last = i8x16.splat(<i8>(limit - 1));
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const bits = v128.and(v128.load(src + <usize>i), magnitude);
    if (v128.any_true(i8x16.gt_s(bits, last))) break;
  }
  for (; i < n; i++) {
    if ((<i32>load<u8>(src + <usize>i) & 0x7f) >= limit) return i;
  }
  return -1;
}

/** Index of the first NaN or infinity among n elements, or -1. */
export function firstNonFinite(dtype: i32, src: usize, n: i32): i32 {
  if (dtype == F32) return firstNonFinite32(src, n);
  if (dtype == BF16) return firstAtLeast16(src, n, 0x7f80);
  if (dtype == F16) return firstAtLeast16(src, n, 0x7c00);
  return firstNonFinite8(dtype, src, n);
}

/** Index of the first byte that differs between two ranges, or -1. */
export function firstDifference(a: usize, b: usize, n: i32): i32 {
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    if (v128.any_true(v128.xor(v128.load(a + <usize>i), v128.load(b + <usize>i)))) break;
  }
  for (; i < n; i++) {
    if (load<u8>(a + <usize>i) != load<u8>(b + <usize>i)) return i;
  }
  return -1;
}

// Measures --------------------------------------------------------------------------------------

/** Four float32 as two pairs of float64. */
// @ts-ignore: decorator
@inline
function low64(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}
// @ts-ignore: decorator
@inline
function high64(v: v128): v128 {
  return f64x2.promote_low_f32x4(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
}
// @ts-ignore: decorator
@inline
function total64(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/**
 * Sums over two rows of n float32, in float64. Adds to out: +0 Σ(b-a)², +8 Σa².
 * Order: element i goes to lane i mod 4, the lanes are added as (0+1)+(2+3), the rest one by one.
 */
export function sumSquares(a: usize, b: usize, n: i32, out: usize): void {
  let d0 = f64x2.splat(0);
  let d1 = f64x2.splat(0);
  let s0 = f64x2.splat(0);
  let s1 = f64x2.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const va = v128.load(a + (<usize>i << 2));
    const vb = v128.load(b + (<usize>i << 2));
    const a0 = low64(va);
    const a1 = high64(va);
    const e0 = f64x2.sub(low64(vb), a0);
    const e1 = f64x2.sub(high64(vb), a1);
    d0 = f64x2.add(d0, f64x2.mul(e0, e0));
    d1 = f64x2.add(d1, f64x2.mul(e1, e1));
    s0 = f64x2.add(s0, f64x2.mul(a0, a0));
    s1 = f64x2.add(s1, f64x2.mul(a1, a1));
  }
  let difference = total64(d0) + total64(d1);
  let square = total64(s0) + total64(s1);
  for (; i < n; i++) {
    const x = <f64>load<f32>(a + (<usize>i << 2));
    const e = <f64>load<f32>(b + (<usize>i << 2)) - x;
    difference += e * e;
    square += x * x;
  }
  store<f64>(out, load<f64>(out) + difference);
  store<f64>(out, load<f64>(out, 8) + square, 8);
}

// @ts-ignore: decorator
@inline
function dequantizeAs(dtype: i32, src: usize, scales: usize, cols: i32, blockCols: i32, dst: usize): void {
  for (let col = 0, block = 0; col < cols; block++) {
    const end = min<i32>(col + blockCols, cols);
    const scale = load<f32>(scales + (<usize>block << 2));
    const vscale = f32x4.splat(scale);
    for (; col + 4 <= end; col += 4) {
      v128.store(dst + (<usize>col << 2), f32x4.mul(load4(dtype, src, col), vscale));
    }
    for (; col < end; col++) store<f32>(dst + (<usize>col << 2), load1(dtype, src, col) * scale);
  }
}

/** One row: float32(code) · scale of its column block. */
export function dequantizeRow(
  dtype: i32, src: usize, scales: usize, cols: i32, blockCols: i32, dst: usize,
): void {
  if (dtype == E4M3) dequantizeAs(E4M3, src, scales, cols, blockCols, dst);
  else if (dtype == E5M2) dequantizeAs(E5M2, src, scales, cols, blockCols, dst);
  else if (dtype == BF16) dequantizeAs(BF16, src, scales, cols, blockCols, dst);
  else if (dtype == F16) dequantizeAs(F16, src, scales, cols, blockCols, dst);
  else dequantizeAs(F32, src, scales, cols, blockCols, dst);
}

/**
 * Distances between two bands: rows × cols of any formats, each with or without block scales.
 * inputs: two records as in merge.ts (λ is not used), the base first. rowA, rowB: cols × f32 scratch.
 * Adds to out as sumSquares does, row by row.
 */
export function measureBand(
  inputs: usize, rows: i32, cols: i32, blockCols: i32, rowA: usize, rowB: usize, out: usize,
): void {
  for (let row = 0; row < rows; row++) {
    for (let p = 0; p < 2; p++) {
      const record = inputs + <usize>p * 32;
      const dtype = load<i32>(record);
      const src = load<usize>(record, 4) + <usize>row * load<usize>(record, 8);
      const scales = load<usize>(record, 12);
      const to = p == 0 ? rowA : rowB;
      if (scales) dequantizeRow(dtype, src, scales, cols, blockCols, to);
      else widen(dtype, src, to, cols);
    }
    sumSquares(rowA, rowB, cols, out);
  }
}
