// Any number of FP8 parents.
// As merge-pair.ts, with a loop over the parents inside. Each record holds at +20 the folded scales (f32 per
// column block), made once per band, so that the loop broadcasts them from memory.

import { encodeFiniteE4m3x4, rawTop } from "./codec";
import { ABS, maxLane, RECORD, scalesFromMaxima, stripCols } from "./merge";
import {
  ABS_MASK,
  biasedCode,
  EXPONENT_MASK,
  foldedScale,
  LEAST_EXPONENT,
  NAN_CODE,
  PACKED_BIAS,
  RAW_MASK,
  rawBy,
  SIGN_MASK,
  STEP_SHIFT,
  term,
} from "./merge-fp8";

// @ts-ignore: decorator
@inline
function foldScales(inputs: usize, count: i32, blocks: i32, kind: i32): void {
  for (let p = 0; p < count; p++) {
    const record = inputs + <usize>p * RECORD;
    const scales = load<usize>(record, 12);
    const folded = load<usize>(record, 20);
    const lambda = load<f32>(record, 16);
    for (let b = 0; b < blocks; b++) store<f32>(folded + (<usize>b << 2), foldedScale(scales, b, lambda, kind));
  }
}

// @ts-ignore: decorator
@inline
function sum1(inputs: usize, count: i32, row: i32, col: i32, block: i32, kind: i32): f32 {
  let acc: f32 = 0;
  for (let p = 0; p < count; p++) {
    const record = inputs + <usize>p * RECORD;
    const code = load<u8>(load<usize>(record, 4) + <usize>row * load<usize>(record, 8) + <usize>col);
    const scale = f32x4.splat(load<f32>(load<usize>(record, 20) + (<usize>block << 2)));
    const one = term(rawTop(i32x4.splat(<i32>code << 24)), scale, f32x4.splat(load<f32>(record, 16)), kind);
    acc = p == 0 ? f32x4.extract_lane(one, 0) : acc + f32x4.extract_lane(one, 0);
  }
  return acc;
}

// @ts-ignore: decorator
@inline
function hasNanCode(inputs: usize, count: i32, rows: i32, cols: i32): bool {
  const nanCode = i32x4.splat(NAN_CODE);
  for (let p = 0; p < count; p++) {
    const record = inputs + <usize>p * RECORD;
    for (let row = 0; row < rows; row++) {
      const src = load<usize>(record, 4) + <usize>row * load<usize>(record, 8);
      let nan = i32x4.splat(0);
      let col = 0;
      for (; col + 16 <= cols; col += 16) {
        nan = v128.or(nan, i8x16.eq(v128.and(v128.load(src + <usize>col), nanCode), nanCode));
      }
      if (v128.any_true(nan)) return true;
      for (; col < cols; col++) if ((load<u8>(src + <usize>col) & 0x7f) == 0x7f) return true;
    }
  }
  return false;
}

// @ts-ignore: decorator
@inline
function manyWalk(
  inputs: usize, count: i32, rows: i32, from: i32, to: i32, blockCols: i32,
  out: usize, strideOut: usize, scalesOut: usize, maxima: usize, sums: usize, kind: i32, encoding: bool,
): void {
  const abs = i32x4.splat(ABS_MASK);
  const mask = i32x4.splat(RAW_MASK);
  const sign = i32x4.splat(SIGN_MASK);
  const exponent = i32x4.splat(EXPONENT_MASK);
  const least = i32x4.splat(LEAST_EXPONENT);
  const shift = i32x4.splat(STEP_SHIFT);
  const bias = i32x4.splat(PACKED_BIAS);
  const last = inputs + <usize>count * RECORD;
  let at = sums;
  for (let row = 0; row < rows; row++) {
    const rowOut = out + <usize>row * strideOut;
    for (let col = from, block = from / blockCols; col < to; block++) {
      const end = min<i32>(col + blockCols, to);
      const s = encoding ? load<f32>(scalesOut + (<usize>block << 2)) : <f32>1;
      const vs = f32x4.splat(s);
      let largest = i32x4.splat(0);
      for (; col + 16 <= end; col += 16, at += 64) {
        if (encoding) {
          const q3 = f32x4.div(v128.load(at), vs);
          let codes = i32x4.shl(biasedCode(q3, abs, exponent, least, shift), 24);
          const q2 = f32x4.div(v128.load(at, 16), vs);
          codes = i32x4.add(codes, i32x4.shl(biasedCode(q2, abs, exponent, least, shift), 16));
          const q1 = f32x4.div(v128.load(at, 32), vs);
          codes = i32x4.add(codes, i32x4.shl(biasedCode(q1, abs, exponent, least, shift), 8));
          const q0 = f32x4.div(v128.load(at, 48), vs);
          codes = i32x4.add(codes, biasedCode(q0, abs, exponent, least, shift));
          let signs = v128.or(v128.and(q3, sign), i32x4.shr_u(v128.and(q2, sign), 8));
          signs = v128.or(signs, i32x4.shr_u(v128.and(q1, sign), 16));
          signs = v128.or(signs, i32x4.shr_u(v128.and(q0, sign), 24));
          v128.store(rowOut + <usize>col, v128.or(i32x4.sub(codes, bias), signs));
          continue;
        }
        // The first parent opens the sums: 0 + x would turn -0 into +0.
        let v = v128.load(load<usize>(inputs, 4) + <usize>row * load<usize>(inputs, 8) + <usize>col);
        let scale = v128.load32_splat(load<usize>(inputs, 20) + (<usize>block << 2));
        let lambda = v128.load32_splat(inputs, 16);
        let t3 = term(rawBy(v, 0, mask), scale, lambda, kind);
        let t2 = term(rawBy(v, 8, mask), scale, lambda, kind);
        let t1 = term(rawBy(v, 16, mask), scale, lambda, kind);
        let t0 = term(rawBy(v, 24, mask), scale, lambda, kind);
        for (let record = inputs + RECORD; record < last; record += RECORD) {
          v = v128.load(load<usize>(record, 4) + <usize>row * load<usize>(record, 8) + <usize>col);
          scale = v128.load32_splat(load<usize>(record, 20) + (<usize>block << 2));
          lambda = v128.load32_splat(record, 16);
          t3 = f32x4.add(t3, term(rawBy(v, 0, mask), scale, lambda, kind));
          t2 = f32x4.add(t2, term(rawBy(v, 8, mask), scale, lambda, kind));
          t1 = f32x4.add(t1, term(rawBy(v, 16, mask), scale, lambda, kind));
          t0 = f32x4.add(t0, term(rawBy(v, 24, mask), scale, lambda, kind));
        }
        const upper = i32x4.max_s(v128.and(t3, abs), v128.and(t2, abs));
        const lower = i32x4.max_s(v128.and(t1, abs), v128.and(t0, abs));
        largest = i32x4.max_s(largest, i32x4.max_s(upper, lower));
        v128.store(at, t3);
        v128.store(at, t2, 16);
        v128.store(at, t1, 32);
        v128.store(at, t0, 48);
      }
      if (encoding) {
        for (; col < end; col++) {
          const q = f32x4.splat(sum1(inputs, count, row, col, block, kind) / s);
          store<u8>(rowOut + <usize>col, <u8>i32x4.extract_lane(encodeFiniteE4m3x4(q), 0));
        }
      } else {
        let most = max<i32>(load<i32>(maxima + (<usize>block << 2)), maxLane(largest));
        for (; col < end; col++) {
          most = max<i32>(most, reinterpret<i32>(sum1(inputs, count, row, col, block, kind)) & ABS);
        }
        store<i32>(maxima + (<usize>block << 2), most);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function mergeManyAs(
  inputs: usize, count: i32, rows: i32, cols: i32, blockCols: i32,
  out: usize, strideOut: usize, scalesOut: usize, maxima: usize, sums: usize, powerOfTwo: bool, kind: i32,
): i32 {
  const blocks = (cols + blockCols - 1) / blockCols;
  const strip = stripCols(rows, blockCols);
  memory.fill(maxima, 0, <usize>blocks << 2);
  foldScales(inputs, count, blocks, kind);
  for (let from = 0; from < cols; from += strip) {
    const to = min<i32>(from + strip, cols);
    manyWalk(inputs, count, rows, from, to, blockCols, out, strideOut, scalesOut, maxima, sums, kind, false);
    const bad = scalesFromMaxima(maxima, from, to, blockCols, scalesOut, powerOfTwo);
    if (bad >= 0) return bad;
    manyWalk(inputs, count, rows, from, to, blockCols, out, strideOut, scalesOut, maxima, sums, kind, true);
  }
  return -1;
}

/** As mergePair, for `count` E4M3 parents. Each record points at +20 to blocks × f32 of scratch. */
export function mergeMany(
  inputs: usize, count: i32, rows: i32, cols: i32, blockCols: i32,
  out: usize, strideOut: usize, scalesOut: usize, maxima: usize, sums: usize, powerOfTwo: bool, kind: i32,
): i32 {
  if (hasNanCode(inputs, count, rows, cols)) return -2;
  if (kind == 0) {
    return mergeManyAs(inputs, count, rows, cols, blockCols, out, strideOut, scalesOut, maxima, sums,
      powerOfTwo, 0);
  }
  if (kind == 1) {
    return mergeManyAs(inputs, count, rows, cols, blockCols, out, strideOut, scalesOut, maxima, sums,
      powerOfTwo, 1);
  }
  return mergeManyAs(inputs, count, rows, cols, blockCols, out, strideOut, scalesOut, maxima, sums,
      powerOfTwo, 2);
}
