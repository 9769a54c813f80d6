// Weights as they lie on disk -> float32, sixteen bytes at a time, in the order of planes.
//
// E4M3 without shuffles: as 16-bit lanes, bytes 1 and 3 of each 32-bit lane stand at the top; shifted right
// by 4 and masked they are the upper halves of float32s (sign, exponent, 3 bits of mantissa), 2^-120 too
// small. Bytes 0 and 2 need one shift more. Upper halves become float32 by a shift or a mask. Eleven
// operations for 16 codes are nine this way.
//
// Masks are exported and mutable so that no optimiser folds them: V8 builds a constant vector anew at every
// use (docs/LOG.md). Loops splat them before they begin.

import { BF16, E4M3, F16, F32, bytesLane, decodeE4m3x4, load1, load4 } from "../assembly/codec";

/** Sign, exponent and mantissa in the upper half of a raw E4M3, twice. */
export let RAW_HALVES: i32 = 0x87f087f0;
export let UPPER_HALF: i32 = 0xffff0000;

/** Bytes from a vector of a row to its next one in a tile of four rows (tile.ts). */
export const TILE_STEP: usize = 64;

/** 2^20: a block's factor, with 2^100 of arranged activations, makes up for the raw decode. */
export const TWO_20: f32 = 1048576;

// @ts-ignore: decorator
@inline
export function elementBytes(dtype: i32): i32 {
  return dtype == E4M3 ? 1 : dtype == F32 ? 4 : 2;
}

/** Bytes of arranged activations that one group takes: planes of 16. */
// @ts-ignore: decorator
@inline
export function groupBytes(dtype: i32): usize {
  return dtype == E4M3 ? 64 : dtype == F32 ? 16 : 32;
}

/** Of a group that ends a row: bytes beyond `rest` become 0, which no sum notices. */
// @ts-ignore: decorator
@inline
export function firstBytes(v: v128, rest: i32): v128 {
  const index = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return v128.and(v, i8x16.lt_u(index, i8x16.splat(<i8>rest)));
}

/** Raw E4M3 of bytes 1 and 3, as upper halves. */
// @ts-ignore: decorator
@inline
export function oddHalves(v: v128, halves: v128): v128 {
  return v128.and(i16x8.shr_s(v, 4), halves);
}

/** Raw E4M3 of bytes 0 and 2. */
// @ts-ignore: decorator
@inline
export function evenHalves(v: v128, halves: v128): v128 {
  return v128.and(i16x8.shr_s(i16x8.shl(v, 8), 4), halves);
}

/** Upper halves, or F16 codes, in the lower 16 bits of each lane -> float32. */
// @ts-ignore: decorator
@inline
export function lower(dtype: i32, v: v128): v128 {
  return dtype == F16 ? decodeF16(i32x4.shl(v, 16)) : i32x4.shl(v, 16);
}

/** The same of the upper 16 bits. */
// @ts-ignore: decorator
@inline
export function upper(dtype: i32, v: v128, mask: v128): v128 {
  return dtype == F16 ? decodeF16(v128.and(v, mask)) : v128.and(v, mask);
}

/** F16 codes in the upper half of each lane, the lower half 0. As decodeF16x4. */
// @ts-ignore: decorator
@inline
function decodeF16(v: v128): v128 {
  const sign = v128.and(v, i32x4.splat(0x80000000));
  const magnitude = i32x4.shr_u(v128.xor(v, sign), 3);
  // 2^112 moves the exponent bias from 15 to 127 and normalises subnormals, exactly.
  const value = f32x4.mul(magnitude, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = i32x4.ge_s(magnitude, i32x4.splat(0x0f800000));
  const kept = v128.or(magnitude, i32x4.splat(0x7f800000));
  return v128.or(v128.bitselect(kept, value, special), sign);
}

/**
 * One row of a tile: `bytes` of weights -> float32 in arranged order, whole groups, and zeros up to whole
 * sixteens. The vectors of a row lie TILE_STEP bytes apart.
 */
// @ts-ignore: decorator
@inline
export function decodeRow(dtype: i32, from: usize, bytes: i32, to: usize): void {
  const halves = i32x4.splat(RAW_HALVES);
  const mask = i32x4.splat(UPPER_HALF);
  const end = from + <usize>(bytes & ~15);
  const stop = to + <usize>((bytes / elementBytes(dtype) + 15) >> 4 << 2) * TILE_STEP;
  for (; from < end; from += 16, to += (groupBytes(dtype) >> 4) * TILE_STEP) {
    decodeGroup(dtype, v128.load(from), to, halves, mask);
  }
  if (bytes & 15) {
    decodeGroup(dtype, firstBytes(v128.load(from), bytes & 15), to, halves, mask);
    to += (groupBytes(dtype) >> 4) * TILE_STEP;
  }
  for (; to < stop; to += TILE_STEP) v128.store(to, i32x4.splat(0));
}

// @ts-ignore: decorator
@inline
function decodeGroup(dtype: i32, v: v128, to: usize, halves: v128, mask: v128): void {
  if (dtype == F32) {
    v128.store(to, v);
  } else if (dtype == E4M3) {
    const even = evenHalves(v, halves);
    const odd = oddHalves(v, halves);
    v128.store(to, lower(E4M3, even));
    v128.store(to, lower(E4M3, odd), TILE_STEP);
    v128.store(to, upper(E4M3, even, mask), 2 * TILE_STEP);
    v128.store(to, upper(E4M3, odd, mask), 3 * TILE_STEP);
  } else {
    v128.store(to, lower(dtype, v));
    v128.store(to, upper(dtype, v, mask), TILE_STEP);
  }
}

/** Columns from … to - 1 of one row in natural order, times a scale. */
// @ts-ignore: decorator
@inline
function dequantiseSpan(dtype: i32, src: usize, from: i32, to: i32, scale: f32, scaled: bool, out: usize): void {
  const vscale = f32x4.splat(scale);
  let col = from;
  if (dtype == E4M3) {
    for (; col + 16 <= to; col += 16) {
      const v = v128.load(src + <usize>col);
      const at = out + (<usize>col << 2);
      v128.store(at, f32x4.mul(decodeE4m3x4(bytesLane(v, 0)), vscale));
      v128.store(at, f32x4.mul(decodeE4m3x4(bytesLane(v, 1)), vscale), 16);
      v128.store(at, f32x4.mul(decodeE4m3x4(bytesLane(v, 2)), vscale), 32);
      v128.store(at, f32x4.mul(decodeE4m3x4(bytesLane(v, 3)), vscale), 48);
    }
  }
  for (; col + 4 <= to; col += 4) {
    const value = load4(dtype, src, col);
    v128.store(out + (<usize>col << 2), scaled ? f32x4.mul(value, vscale) : value);
  }
  for (; col < to; col++) {
    const value = load1(dtype, src, col);
    store<f32>(out + (<usize>col << 2), scaled ? value * scale : value);
  }
}

/** Rows row … row + count - 1 of a weight; firstRow says where blocks of rows begin. */
export function dequantise(
  dtype: i32, data: usize, cols: i32, scales: usize, blockRows: i32, blockCols: i32, firstRow: i32,
  row: i32, count: i32, out: usize,
): void {
  const rowBytes = <usize>(cols * elementBytes(dtype));
  for (const end = row + count; row < end; row++, out += <usize>cols << 2) {
    const src = data + <usize>row * rowBytes;
    if (dtype == BF16) dequantiseSpan(BF16, src, 0, cols, 1, false, out);
    else if (dtype == F16) dequantiseSpan(F16, src, 0, cols, 1, false, out);
    else if (dtype == F32) dequantiseSpan(F32, src, 0, cols, 1, false, out);
    else if (!scales) dequantiseSpan(E4M3, src, 0, cols, 1, true, out);
    else {
      let scale = scaleRow(scales, row, cols, blockRows, blockCols, firstRow);
      for (let col = 0; col < cols; col += blockCols, scale += 4) {
        dequantiseSpan(E4M3, src, col, min<i32>(col + blockCols, cols), load<f32>(scale), true, out);
      }
    }
  }
}

/** Where the scales of a row lie; the first row of blocks is the one that holds firstRow. */
// @ts-ignore: decorator
@inline
export function scaleRow(
  scales: usize, row: i32, cols: i32, blockRows: i32, blockCols: i32, firstRow: i32,
): usize {
  const blockRow = (firstRow + row) / blockRows - firstRow / blockRows;
  return scales + (<usize>(blockRow * ((cols + blockCols - 1) / blockCols)) << 2);
}
