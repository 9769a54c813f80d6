// linear() for one token: four rows at once, each of their chains of additions waiting for itself only.
//
// The four rows that go together stand a quarter of the weight apart, so that memory is read in four long
// streams. Four neighbours are four short ones, which the hardware's prefetcher seems to begin anew each fourth
// row: 5.3 G weights/s instead of 9 at 1536 columns of FP8 from DRAM. Rows that do not fill a four are
// computed twice or more: the last one again, to the same place.
//
// There is a function for each type: in the arms of one `if`, binaryen finds equal bodies, folds them into
// one and looks at the type inside the loop: a third of the speed for BF16 and F32.

import { BF16, E4M3, F16, F32 } from "../assembly/codec";
import { RAW_HALVES, UPPER_HALF, elementBytes, firstBytes, groupBytes, scaleRow } from "./decode";
import { closed, laneSum, step } from "./sums";

// @ts-ignore: decorator
@inline
function singleAs(
  dtype: i32, data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32, x: usize, out: usize,
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

export function singleE4m3(
  data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32, x: usize, out: usize,
): void {
  singleAs(E4M3, data, rows, cols, scales, blockRows, blockCols, firstRow, x, out);
}

export function singleBf16(
  data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, out: usize,
): void {
  singleAs(BF16, data, rows, cols, 0, 1, blockCols, 0, x, out);
}

export function singleF16(
  data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, out: usize,
): void {
  singleAs(F16, data, rows, cols, 0, 1, blockCols, 0, x, out);
}

export function singleF32(
  data: usize, rows: i32, cols: i32, blockCols: i32, x: usize, out: usize,
): void {
  singleAs(F32, data, rows, cols, 0, 1, blockCols, 0, x, out);
}
