// Any number of parents in any formats: a row of acc in memory.

import { BF16, E4M3, E5M2, encode4, encodeFiniteE4m3x4, F16, F32, load1, load4, store1, store4 } from "./codec";
import { ABS, INFINITY_BITS, maxLane, RECORD, scalesFromMaxima } from "./merge";
import { ABS_MASK, HALF_STEP, ONE } from "./merge-fp8";

// @ts-ignore: decorator
@inline
function accumulateAs(
  dtype: i32, src: usize, scales: usize, weight: f32, cols: i32, blockCols: i32, acc: usize, first: bool,
): void {
  const lambda = f32x4.splat(weight);
  for (let col = 0, block = 0; col < cols; block++) {
    const end = min<i32>(col + blockCols, cols);
    const scale = scales ? load<f32>(scales + (<usize>block << 2)) : <f32>1;
    const vscale = f32x4.splat(scale);
    for (; col + 4 <= end; col += 4) {
      const value = load4(dtype, src, col);
      const term = f32x4.mul(lambda, scales ? f32x4.mul(value, vscale) : value);
      const at = acc + (<usize>col << 2);
      v128.store(at, first ? term : f32x4.add(v128.load(at), term));
    }
    for (; col < end; col++) {
      const term = weight * (load1(dtype, src, col) * scale);
      const at = acc + (<usize>col << 2);
      store<f32>(at, first ? term : load<f32>(at) + term);
    }
  }
}

function accumulateRow(
  dtype: i32, src: usize, scales: usize, weight: f32, cols: i32, blockCols: i32, acc: usize, first: bool,
): void {
  if (dtype == F32) accumulateAs(F32, src, scales, weight, cols, blockCols, acc, first);
  else if (dtype == BF16) accumulateAs(BF16, src, scales, weight, cols, blockCols, acc, first);
  else if (dtype == F16) accumulateAs(F16, src, scales, weight, cols, blockCols, acc, first);
  else if (dtype == E4M3) accumulateAs(E4M3, src, scales, weight, cols, blockCols, acc, first);
  else accumulateAs(E5M2, src, scales, weight, cols, blockCols, acc, first);
}

// @ts-ignore: decorator
@inline
function sumRow(inputs: usize, count: i32, row: i32, cols: i32, blockCols: i32, acc: usize): void {
  for (let p = 0; p < count; p++) {
    const record = inputs + <usize>p * RECORD;
    const src = load<usize>(record, 4) + <usize>row * load<usize>(record, 8);
    accumulateRow(load<i32>(record), src, load<usize>(record, 12), load<f32>(record, 16), cols, blockCols,
      acc, p == 0);
  }
}

/** Raises maxima[block] to the largest |acc| bits of each column block. */
function maximaRow(acc: usize, cols: i32, blockCols: i32, maxima: usize): void {
  const abs = i32x4.splat(ABS_MASK);
  for (let col = 0, block = 0; col < cols; block++) {
    const end = min<i32>(col + blockCols, cols);
    let largest = i32x4.splat(0);
    for (; col + 4 <= end; col += 4) {
      largest = i32x4.max_s(largest, v128.and(v128.load(acc + (<usize>col << 2)), abs));
    }
    let most = max<i32>(load<i32>(maxima + (<usize>block << 2)), maxLane(largest));
    for (; col < end; col++) most = max<i32>(most, load<i32>(acc + (<usize>col << 2)) & ABS);
    store<i32>(maxima + (<usize>block << 2), most);
  }
}

function encodeRow(acc: usize, cols: i32, blockCols: i32, scales: usize, out: usize): void {
  for (let col = 0, block = 0; col < cols; block++) {
    const end = min<i32>(col + blockCols, cols);
    const scale = f32x4.splat(load<f32>(scales + (<usize>block << 2)));
    for (; col + 4 <= end; col += 4) {
      const code = encodeFiniteE4m3x4(f32x4.div(v128.load(acc + (<usize>col << 2)), scale));
      store4(E4M3, out, col, code);
    }
    for (; col < end; col++) {
      const q = f32x4.div(f32x4.splat(load<f32>(acc + (<usize>col << 2))), scale);
      store1(E4M3, out, col, encodeFiniteE4m3x4(q));
    }
  }
}

/**
 * Any parents -> E4M3 codes and block scales, one band of rows. acc: cols × f32 of scratch.
 * Returns -1, or the first column block whose result is not finite (a NaN code makes NaN).
 */
export function mergeBandE4m3(
  inputs: usize, count: i32, rows: i32, cols: i32, blockCols: i32,
  out: usize, strideOut: usize, scalesOut: usize, maxima: usize, acc: usize, powerOfTwo: bool,
): i32 {
  const blocks = (cols + blockCols - 1) / blockCols;
  memory.fill(maxima, 0, <usize>blocks << 2);
  for (let row = 0; row < rows; row++) {
    sumRow(inputs, count, row, cols, blockCols, acc);
    maximaRow(acc, cols, blockCols, maxima);
  }
  const bad = scalesFromMaxima(maxima, 0, cols, blockCols, scalesOut, powerOfTwo);
  if (bad >= 0) return bad;
  for (let row = 0; row < rows; row++) {
    if (rows > 1) sumRow(inputs, count, row, cols, blockCols, acc);
    encodeRow(acc, cols, blockCols, scalesOut, out + <usize>row * strideOut);
  }
  return -1;
}

// @ts-ignore: decorator
@inline
function narrowRowAs(dtype: i32, acc: usize, cols: i32, out: usize, limit: i32): bool {
  const abs = i32x4.splat(ABS_MASK);
  const one = i32x4.splat(ONE);
  const half = i32x4.splat(HALF_STEP);
  let most = i32x4.splat(0);
  let col = 0;
  for (; col + 4 <= cols; col += 4) {
    const value = v128.load(acc + (<usize>col << 2));
    most = i32x4.max_s(most, v128.and(value, abs));
    // A result that is not finite ends the merge, so BF16 needs no test for NaN here.
    if (dtype == BF16) {
      const odd = v128.and(i32x4.shr_u(value, 16), one);
      store4(BF16, out, col, i32x4.shr_u(i32x4.add(i32x4.add(value, half), odd), 16));
    } else {
      store4(dtype, out, col, encode4(dtype, value, true));
    }
  }
  let largest = maxLane(most);
  for (; col < cols; col++) {
    const value = load<f32>(acc + (<usize>col << 2));
    largest = max<i32>(largest, reinterpret<i32>(value) & ABS);
    store1(dtype, out, col, encode4(dtype, f32x4.splat(value), true));
  }
  return largest >= limit;
}

/**
 * Any parents -> F32, BF16 or F16, rounded once to nearest even.
 * Returns -1, or the first row that holds a result which is not finite in that format.
 */
export function mergeRows(
  inputs: usize, count: i32, rows: i32, cols: i32, blockCols: i32,
  dtype: i32, out: usize, strideOut: usize, acc: usize,
): i32 {
  for (let row = 0; row < rows; row++) {
    sumRow(inputs, count, row, cols, blockCols, acc);
    const to = out + <usize>row * strideOut;
    // The limits are the smallest magnitudes that round to infinity.
    if (dtype == BF16) {
      if (narrowRowAs(BF16, acc, cols, to, 0x7f7f8000)) return row;
    } else if (dtype == F16) {
      if (narrowRowAs(F16, acc, cols, to, 0x477ff000)) return row;
    } else if (narrowRowAs(F32, acc, cols, to, INFINITY_BITS)) return row;
  }
  return -1;
}
