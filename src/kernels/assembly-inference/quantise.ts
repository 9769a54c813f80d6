// float32 -> INT8: activations to 8 bits, weights to 7, and back (kernels/inference.ts has the layouts).

import { BLOCK, HEADER, quadBytes } from "./int8";

/** Largest code of activations and of weights, and what is added to the latter. */
const LARGEST_X: f32 = 127;
const LARGEST_W: f32 = 63;
const OFFSET: i32 = 64;

/** 2^-100: a block that has nothing larger is zeros, so that the reciprocal of a scale is finite. */
const LEAST: u32 = 0x0d800000;
const INFINITE: u32 = 0x7f800000;
const NOT_A_NUMBER: u32 = 0x7fc00000;
/** 1.5 · 2^23: added to a number below 2^22 it rounds it to an integer, ties to even, in the lower bits. */
const ROUNDER: f32 = 12582912;

/** The largest magnitude of a block, as bits: those of NaN and infinities are the largest. */
// @ts-ignore: decorator
@inline
function largestBits(from: usize, cols: i32): u32 {
  let most = i32x4.splat(0);
  const magnitude = i32x4.splat(0x7fffffff);
  let col = 0;
  for (; col + 4 <= cols; col += 4) {
    most = i32x4.max_s(most, v128.and(v128.load(from + (<usize>col << 2)), magnitude));
  }
  let largest = max<i32>(
    max<i32>(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1)),
    max<i32>(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)),
  );
  for (; col < cols; col++) largest = max<i32>(largest, load<i32>(from + (<usize>col << 2)) & 0x7fffffff);
  return largest;
}

// @ts-ignore: decorator
@inline
function scaleOf(largest: u32, limit: f32): f32 {
  if (largest >= INFINITE) return reinterpret<f32>(NOT_A_NUMBER);
  return largest < LEAST ? 0 : reinterpret<f32>(largest) / limit;
}

/** What numbers are multiplied by to become codes; 0 for a block whose codes are all 0. */
// @ts-ignore: decorator
@inline
function inverseOf(largest: u32, limit: f32): f32 {
  return largest >= INFINITE || largest < LEAST ? 0 : limit / reinterpret<f32>(largest);
}

/** Four numbers -> integers: x · inverse, rounded to nearest, ties to even; those of NaN are looked at by nobody. */
// @ts-ignore: decorator
@inline
function rounded(x: v128, inverse: v128, rounder: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(x, inverse), rounder), rounder);
}

/** Sixteen columns -> sixteen codes. */
// @ts-ignore: decorator
@inline
function codes16(from: usize, inverse: v128, rounder: v128): v128 {
  const low = i16x8.narrow_i32x4_s(
    rounded(v128.load(from), inverse, rounder),
    rounded(v128.load(from, 16), inverse, rounder),
  );
  const high = i16x8.narrow_i32x4_s(
    rounded(v128.load(from, 32), inverse, rounder),
    rounded(v128.load(from, 48), inverse, rounder),
  );
  return i8x16.narrow_i16x8_s(low, high);
}

/** One of the last columns of a row. */
// @ts-ignore: decorator
@inline
function code1(from: usize, inverse: f32): i32 {
  return reinterpret<i32>(load<f32>(from) * inverse + ROUNDER) - reinterpret<i32>(ROUNDER);
}

// @ts-ignore: decorator
@inline
function laneSum(v: v128): i32 {
  return (
    i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1) + i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3)
  );
}

/** Rows of activations, each as long as those that are arranged for other types. */
export function arrangeInt8(src: usize, strideBytes: usize, count: i32, cols: i32, out: usize): void {
  const padded = (cols + 15) & ~15;
  for (let row = 0; row < count; row++) {
    let from = src + <usize>row * strideBytes;
    let to = out + (<usize>row * <usize>padded << 2);
    for (let left = cols; left > 0; left -= BLOCK) {
      const width = min<i32>(left, BLOCK);
      from = arrangeBlock(from, width, to);
      to += HEADER + <usize>((width + 15) & ~15);
    }
  }
}

// @ts-ignore: decorator
@inline
function arrangeBlock(from: usize, width: i32, to: usize): usize {
  const largest = largestBits(from, width);
  const inverse = inverseOf(largest, LARGEST_X);
  memory.fill(to, 0, HEADER + <usize>((width + 15) & ~15));
  store<f32>(to, scaleOf(largest, LARGEST_X));
  if (inverse == 0) return from + (<usize>width << 2);
  const vinverse = f32x4.splat(inverse);
  const rounder = f32x4.splat(ROUNDER);
  let sums = i32x4.splat(0);
  let at = to + HEADER;
  let col = 0;
  for (; col + 16 <= width; col += 16, from += 64, at += 16) {
    const codes = codes16(from, vinverse, rounder);
    v128.store(at, codes);
    sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(codes)));
  }
  let sum = laneSum(sums);
  for (; col < width; col++, from += 4, at++) {
    const code = code1(from, inverse);
    store<u8>(at, code);
    sum += code;
  }
  store<i32>(to, -OFFSET * sum, 4);
  return from;
}

/** Rows of float32 -> a weight, fours of rows; rows that fill the last four are zeros. */
export function quantise(src: usize, strideBytes: usize, count: i32, cols: i32, out: usize): void {
  for (let row = 0; row < count; row += 4) {
    for (let col = 0; col < cols; col += BLOCK) {
      const width = min<i32>(cols - col, BLOCK);
      const codeBytes = <usize>((width + 15) & ~15) << 2;
      memory.fill(out, 0, HEADER);
      memory.fill(out + HEADER, <u8>OFFSET, codeBytes);
      for (let k = 0; k < min<i32>(4, count - row); k++) {
        const from = src + <usize>(row + k) * strideBytes + (<usize>col << 2);
        quantiseBlock(from, width, out + (<usize>k << 2));
      }
      out += HEADER + codeBytes;
    }
  }
}

/** One row of a block: every fourth four of bytes. */
// @ts-ignore: decorator
@inline
function quantiseBlock(from: usize, width: i32, to: usize): void {
  const largest = largestBits(from, width);
  const inverse = inverseOf(largest, LARGEST_W);
  store<f32>(to, scaleOf(largest, LARGEST_W));
  if (inverse == 0) return;
  const vinverse = f32x4.splat(inverse);
  const rounder = f32x4.splat(ROUNDER);
  const offset = i8x16.splat(<i8>OFFSET);
  let at = to + HEADER;
  let col = 0;
  for (; col + 16 <= width; col += 16, from += 64, at += 64) {
    const codes = i8x16.add(codes16(from, vinverse, rounder), offset);
    store<i32>(at, i32x4.extract_lane(codes, 0));
    store<i32>(at, i32x4.extract_lane(codes, 1), 16);
    store<i32>(at, i32x4.extract_lane(codes, 2), 32);
    store<i32>(at, i32x4.extract_lane(codes, 3), 48);
  }
  for (let k: usize = 0; col < width; col++, k++, from += 4) {
    store<u8>(at + (k >> 2 << 4) + (k & 3), code1(from, inverse) + OFFSET);
  }
}

/** Rows row … row + count - 1 of a weight as float32 in natural order. */
export function dequantiseInt8(data: usize, cols: i32, row: i32, count: i32, out: usize): void {
  const bytes = quadBytes(cols);
  for (const end = row + count; row < end; row++) {
    let header = data + <usize>(row >> 2) * bytes + (<usize>(row & 3) << 2);
    for (let col = 0; col < cols; col += BLOCK) {
      const width = min<i32>(cols - col, BLOCK);
      const scale = load<f32>(header);
      const codes = header + HEADER;
      for (let k: usize = 0; k < <usize>width; k++, out += 4) {
        store<f32>(out, <f32>(<i32>load<u8>(codes + (k >> 2 << 4) + (k & 3)) - OFFSET) * scale);
      }
      header += HEADER + (<usize>((width + 15) & ~15) << 2);
    }
  }
}
