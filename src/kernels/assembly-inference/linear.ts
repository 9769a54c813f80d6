// Activations times a weight as it lies on disk; inference.ts has the order of the sums.
//
// One accumulator vector per token and row gives that order whatever is computed beside it. Four rows go
// together: each of their chains of additions waits for itself only, and one load of activations serves
// all. A group is always 16 bytes of a row. Rows that do not fill a four are computed twice or more: the
// last one again, to the same place.

import { BF16, E4M3, F16, F32 } from "../assembly/codec";
import {
  RAW_HALVES,
  TWO_20,
  UPPER_HALF,
  elementBytes,
  evenHalves,
  firstBytes,
  groupBytes,
  lower,
  oddHalves,
  scaleRow,
  upper,
} from "./decode";
import { linearTiled } from "./tile";

// @ts-ignore: decorator
@inline
function add(acc: v128, w: v128, x: v128): v128 {
  return f32x4.add(acc, f32x4.mul(w, x));
}

/** acc after one group; x points at its planes. */
// @ts-ignore: decorator
@inline
function step(dtype: i32, acc: v128, v: v128, x: usize, halves: v128, mask: v128): v128 {
  if (dtype == F32) return add(acc, v, v128.load(x));
  if (dtype == E4M3) {
    const even = evenHalves(v, halves);
    const odd = oddHalves(v, halves);
    acc = add(acc, lower(E4M3, even), v128.load(x));
    acc = add(acc, lower(E4M3, odd), v128.load(x, 16));
    acc = add(acc, upper(E4M3, even, mask), v128.load(x, 32));
    return add(acc, upper(E4M3, odd, mask), v128.load(x, 48));
  }
  acc = add(acc, lower(dtype, v), v128.load(x));
  return add(acc, upper(dtype, v, mask), v128.load(x, 16));
}

/** total after a block. */
// @ts-ignore: decorator
@inline
function closed(dtype: i32, total: v128, acc: v128, scale: usize): v128 {
  if (dtype != E4M3) return f32x4.add(total, acc);
  const factor = scale ? load<f32>(scale) * TWO_20 : TWO_20;
  return f32x4.add(total, f32x4.mul(acc, f32x4.splat(factor)));
}

// @ts-ignore: decorator
@inline
export function laneSum(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

// @ts-ignore: decorator
@inline
function linear1As(
  dtype: i32, data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32, x: usize, out: usize,
): void {
  const halves = i32x4.splat(RAW_HALVES);
  const mask = i32x4.splat(UPPER_HALF);
  const rowBytes = cols * elementBytes(dtype);
  const blockBytes = blockCols * elementBytes(dtype);
  const stepScale: usize = scales ? 4 : 0;
  for (let row = 0; row < rows; row += 4) {
    const row1 = min<i32>(row + 1, rows - 1);
    const row2 = min<i32>(row + 2, rows - 1);
    const row3 = min<i32>(row + 3, rows - 1);
    let w0 = data + <usize>row * <usize>rowBytes;
    let w1 = data + <usize>row1 * <usize>rowBytes;
    let w2 = data + <usize>row2 * <usize>rowBytes;
    let w3 = data + <usize>row3 * <usize>rowBytes;
    let s0: usize = 0;
    let s1: usize = 0;
    let s2: usize = 0;
    let s3: usize = 0;
    if (scales) {
      s0 = scaleRow(scales, row, cols, blockRows, blockCols, firstRow);
      s1 = scaleRow(scales, row1, cols, blockRows, blockCols, firstRow);
      s2 = scaleRow(scales, row2, cols, blockRows, blockCols, firstRow);
      s3 = scaleRow(scales, row3, cols, blockRows, blockCols, firstRow);
    }
    let t0 = f32x4.splat(0);
    let t1 = f32x4.splat(0);
    let t2 = f32x4.splat(0);
    let t3 = f32x4.splat(0);
    let at = x;
    for (let left = rowBytes; left > 0; left -= blockBytes) {
      const bytes = min<i32>(left, blockBytes);
      let a0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      const end = w0 + <usize>(bytes & ~15);
      for (; w0 < end; w0 += 16, w1 += 16, w2 += 16, w3 += 16, at += groupBytes(dtype)) {
        a0 = step(dtype, a0, v128.load(w0), at, halves, mask);
        a1 = step(dtype, a1, v128.load(w1), at, halves, mask);
        a2 = step(dtype, a2, v128.load(w2), at, halves, mask);
        a3 = step(dtype, a3, v128.load(w3), at, halves, mask);
      }
      const rest = bytes & 15;
      if (rest) {
        a0 = step(dtype, a0, firstBytes(v128.load(w0), rest), at, halves, mask);
        a1 = step(dtype, a1, firstBytes(v128.load(w1), rest), at, halves, mask);
        a2 = step(dtype, a2, firstBytes(v128.load(w2), rest), at, halves, mask);
        a3 = step(dtype, a3, firstBytes(v128.load(w3), rest), at, halves, mask);
      }
      t0 = closed(dtype, t0, a0, s0);
      t1 = closed(dtype, t1, a1, s1);
      t2 = closed(dtype, t2, a2, s2);
      t3 = closed(dtype, t3, a3, s3);
      s0 += stepScale;
      s1 += stepScale;
      s2 += stepScale;
      s3 += stepScale;
    }
    store<f32>(out + (<usize>row << 2), laneSum(t0));
    store<f32>(out + (<usize>row1 << 2), laneSum(t1));
    store<f32>(out + (<usize>row2 << 2), laneSum(t2));
    store<f32>(out + (<usize>row3 << 2), laneSum(t3));
  }
}

// A function for each type: in the arms of one `if`, binaryen finds equal bodies, folds them into one and
// looks at the type inside the loop.

function linear1E4m3(
  data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32, x: usize, out: usize,
): void {
  linear1As(E4M3, data, rows, cols, scales, blockRows, blockCols, firstRow, x, out);
}

function linear1Bf16(data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, out: usize): void {
  linear1As(BF16, data, rows, cols, 0, 1, blockCols, 0, x, out);
}

function linear1F16(data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, out: usize): void {
  linear1As(F16, data, rows, cols, 0, 1, blockCols, 0, x, out);
}

function linear1F32(data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, out: usize): void {
  linear1As(F32, data, rows, cols, 0, 1, blockCols, 0, x, out);
}

/**
 * blockCols: 128 where there are no scales. strideOut in bytes. scratch: SCRATCH_BYTES (tile.ts), or 0
 * where a heap has no room for them: tokens then go one by one.
 */
export function linear(
  dtype: i32, data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32,
  x: usize, count: i32, out: usize, strideOut: usize, scratch: usize,
): void {
  if (count > 1 && scratch != 0 && blockCols <= 1024) {
    linearTiled(
      dtype, data, rows, cols, scales, blockRows, blockCols, firstRow, x, count, out, strideOut, scratch,
    );
    return;
  }
  const strideX = <usize>((cols + 15) & ~15) << 2;
  for (let token = 0; token < count; token++, x += strideX, out += strideOut) {
    if (dtype == E4M3) linear1E4m3(data, rows, cols, scales, blockRows, blockCols, firstRow, x, out);
    else if (dtype == BF16) linear1Bf16(data, rows, cols, blockCols, x, out);
    else if (dtype == F16) linear1F16(data, rows, cols, blockCols, x, out);
    else linear1F32(data, rows, cols, blockCols, x, out);
  }
}
