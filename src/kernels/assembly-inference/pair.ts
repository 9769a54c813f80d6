// linear() for two tokens, as speculative decoding has them: weights are decoded once for both. Otherwise as
// single.ts, which says why rows stand apart and types have functions of their own.

import { BF16, E4M3, F16, F32 } from "../assembly/codec";
import { RAW_HALVES, UPPER_HALF, elementBytes, firstBytes, groupBytes, scaleRow } from "./decode";
import { closed, laneSum, step } from "./sums";

// @ts-ignore: decorator
@inline
function pairAs(
  dtype: i32, data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32, x: usize, y: usize, out: usize, outY: usize,
): void {
  const halves = i32x4.splat(RAW_HALVES);
  const mask = i32x4.splat(UPPER_HALF);
  const rowBytes = cols * elementBytes(dtype);
  const blockBytes = blockCols * elementBytes(dtype);
  const stepScale: usize = scales ? 4 : 0;
  const quarter = (rows + 3) >> 2;
  for (let row = 0; row < quarter; row++) {
    const row1 = min<i32>(row + quarter, rows - 1);
    const row2 = min<i32>(row + 2 * quarter, rows - 1);
    const row3 = min<i32>(row + 3 * quarter, rows - 1);
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
    let u0 = f32x4.splat(0);
    let t1 = f32x4.splat(0);
    let u1 = f32x4.splat(0);
    let t2 = f32x4.splat(0);
    let u2 = f32x4.splat(0);
    let t3 = f32x4.splat(0);
    let u3 = f32x4.splat(0);
    let at = x;
    let atY = y;
    for (let left = rowBytes; left > 0; left -= blockBytes) {
      const bytes = min<i32>(left, blockBytes);
      let a0 = f32x4.splat(0);
      let b0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let b1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let b2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      let b3 = f32x4.splat(0);
      const end = w0 + <usize>(bytes & ~15);
      for (; w0 < end; w0 += 16, w1 += 16, w2 += 16, w3 += 16, at += groupBytes(dtype), atY += groupBytes(dtype)) {
        const v0 = v128.load(w0);
        a0 = step(dtype, a0, v0, at, halves, mask);
        b0 = step(dtype, b0, v0, atY, halves, mask);
        const v1 = v128.load(w1);
        a1 = step(dtype, a1, v1, at, halves, mask);
        b1 = step(dtype, b1, v1, atY, halves, mask);
        const v2 = v128.load(w2);
        a2 = step(dtype, a2, v2, at, halves, mask);
        b2 = step(dtype, b2, v2, atY, halves, mask);
        const v3 = v128.load(w3);
        a3 = step(dtype, a3, v3, at, halves, mask);
        b3 = step(dtype, b3, v3, atY, halves, mask);
      }
      const rest = bytes & 15;
      if (rest) {
        const v0 = firstBytes(v128.load(w0), rest);
        a0 = step(dtype, a0, v0, at, halves, mask);
        b0 = step(dtype, b0, v0, atY, halves, mask);
        const v1 = firstBytes(v128.load(w1), rest);
        a1 = step(dtype, a1, v1, at, halves, mask);
        b1 = step(dtype, b1, v1, atY, halves, mask);
        const v2 = firstBytes(v128.load(w2), rest);
        a2 = step(dtype, a2, v2, at, halves, mask);
        b2 = step(dtype, b2, v2, atY, halves, mask);
        const v3 = firstBytes(v128.load(w3), rest);
        a3 = step(dtype, a3, v3, at, halves, mask);
        b3 = step(dtype, b3, v3, atY, halves, mask);
      }
      t0 = closed(dtype, t0, a0, s0);
      u0 = closed(dtype, u0, b0, s0);
      t1 = closed(dtype, t1, a1, s1);
      u1 = closed(dtype, u1, b1, s1);
      t2 = closed(dtype, t2, a2, s2);
      u2 = closed(dtype, u2, b2, s2);
      t3 = closed(dtype, t3, a3, s3);
      u3 = closed(dtype, u3, b3, s3);
      s0 += stepScale;
      s1 += stepScale;
      s2 += stepScale;
      s3 += stepScale;
    }
    store<f32>(out + (<usize>row << 2), laneSum(t0));
    store<f32>(outY + (<usize>row << 2), laneSum(u0));
    store<f32>(out + (<usize>row1 << 2), laneSum(t1));
    store<f32>(outY + (<usize>row1 << 2), laneSum(u1));
    store<f32>(out + (<usize>row2 << 2), laneSum(t2));
    store<f32>(outY + (<usize>row2 << 2), laneSum(u2));
    store<f32>(out + (<usize>row3 << 2), laneSum(t3));
    store<f32>(outY + (<usize>row3 << 2), laneSum(u3));
  }
}

export function pairE4m3(
  data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32, x: usize, y: usize, out: usize, outY: usize,
): void {
  pairAs(E4M3, data, rows, cols, scales, blockRows, blockCols, firstRow, x, y, out, outY);
}

export function pairBf16(
  data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, y: usize, out: usize, outY: usize,
): void {
  pairAs(BF16, data, rows, cols, 0, 1, blockCols, 0, x, y, out, outY);
}

export function pairF16(
  data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, y: usize, out: usize, outY: usize,
): void {
  pairAs(F16, data, rows, cols, 0, 1, blockCols, 0, x, y, out, outY);
}

export function pairF32(
  data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, y: usize, out: usize, outY: usize,
): void {
  pairAs(F32, data, rows, cols, 0, 1, blockCols, 0, x, y, out, outY);
}
