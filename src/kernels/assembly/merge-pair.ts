// Two FP8 parents, the fast path.
// The first walk keeps every acc for the second (64 bytes for 16 columns, in the order of the walk):
// decoding both parents again costs more than 8 moves from and to the L2 cache.

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
function blend1(a: u8, b: u8, sa: f32, sb: f32, la: f32, lb: f32, kind: i32): f32 {
  const ta = term(rawTop(i32x4.splat(<i32>a << 24)), f32x4.splat(sa), f32x4.splat(la), kind);
  const tb = term(rawTop(i32x4.splat(<i32>b << 24)), f32x4.splat(sb), f32x4.splat(lb), kind);
  return f32x4.extract_lane(f32x4.add(ta, tb), 0);
}

// @ts-ignore: decorator
@inline
function pairMaxima(
  a: usize, b: usize, strideA: usize, strideB: usize, scalesA: usize, scalesB: usize, la: f32, lb: f32,
  rows: i32, from: i32, to: i32, blockCols: i32, maxima: usize, sums: usize, kind: i32,
): bool {
  const abs = i32x4.splat(ABS_MASK);
  const mask = i32x4.splat(RAW_MASK);
  const nanCode = i32x4.splat(NAN_CODE);
  const vla = f32x4.splat(la);
  const vlb = f32x4.splat(lb);
  let nan = i32x4.splat(0);
  let at = sums;
  for (let row = 0; row < rows; row++) {
    const rowA = a + <usize>row * strideA;
    const rowB = b + <usize>row * strideB;
    for (let col = from, block = from / blockCols; col < to; block++) {
      const end = min<i32>(col + blockCols, to);
      const sa = foldedScale(scalesA, block, la, kind);
      const sb = foldedScale(scalesB, block, lb, kind);
      const vsa = f32x4.splat(sa);
      const vsb = f32x4.splat(sb);
      let largest = i32x4.splat(0);
      for (; col + 16 <= end; col += 16) {
        const va = v128.load(rowA + <usize>col);
        const vb = v128.load(rowB + <usize>col);
        nan = v128.or(nan, i8x16.eq(v128.and(va, nanCode), nanCode));
        nan = v128.or(nan, i8x16.eq(v128.and(vb, nanCode), nanCode));
        const m3 = f32x4.add(term(rawBy(va, 0, mask), vsa, vla, kind), term(rawBy(vb, 0, mask), vsb, vlb, kind));
        const m2 = f32x4.add(term(rawBy(va, 8, mask), vsa, vla, kind), term(rawBy(vb, 8, mask), vsb, vlb, kind));
        largest = i32x4.max_s(largest, i32x4.max_s(v128.and(m3, abs), v128.and(m2, abs)));
        const m1 = f32x4.add(term(rawBy(va, 16, mask), vsa, vla, kind), term(rawBy(vb, 16, mask), vsb, vlb, kind));
        const m0 = f32x4.add(term(rawBy(va, 24, mask), vsa, vla, kind), term(rawBy(vb, 24, mask), vsb, vlb, kind));
        largest = i32x4.max_s(largest, i32x4.max_s(v128.and(m1, abs), v128.and(m0, abs)));
        v128.store(at, m3);
        v128.store(at, m2, 16);
        v128.store(at, m1, 32);
        v128.store(at, m0, 48);
        at += 64;
      }
      let most = max<i32>(load<i32>(maxima + (<usize>block << 2)), maxLane(largest));
      for (; col < end; col++) {
        const ca = load<u8>(rowA + <usize>col);
        const cb = load<u8>(rowB + <usize>col);
        if ((ca & 0x7f) == 0x7f || (cb & 0x7f) == 0x7f) nan = i32x4.splat(-1);
        most = max<i32>(most, reinterpret<i32>(blend1(ca, cb, sa, sb, la, lb, kind)) & ABS);
      }
      store<i32>(maxima + (<usize>block << 2), most);
    }
  }
  return v128.any_true(nan);
}

// @ts-ignore: decorator
@inline
function pairEncode(
  a: usize, b: usize, strideA: usize, strideB: usize, scalesA: usize, scalesB: usize, la: f32, lb: f32,
  rows: i32, from: i32, to: i32, blockCols: i32, out: usize, strideOut: usize, scalesOut: usize, sums: usize,
  kind: i32,
): void {
  const abs = i32x4.splat(ABS_MASK);
  const sign = i32x4.splat(SIGN_MASK);
  const exponent = i32x4.splat(EXPONENT_MASK);
  const least = i32x4.splat(LEAST_EXPONENT);
  const shift = i32x4.splat(STEP_SHIFT);
  const bias = i32x4.splat(PACKED_BIAS);
  let at = sums;
  for (let row = 0; row < rows; row++) {
    const rowA = a + <usize>row * strideA;
    const rowB = b + <usize>row * strideB;
    const rowOut = out + <usize>row * strideOut;
    for (let col = from, block = from / blockCols; col < to; block++) {
      const end = min<i32>(col + blockCols, to);
      const s = load<f32>(scalesOut + (<usize>block << 2));
      const vs = f32x4.splat(s);
      for (; col + 16 <= end; col += 16) {
        const q3 = f32x4.div(v128.load(at), vs);
        let signs = v128.and(q3, sign);
        let codes = i32x4.shl(biasedCode(q3, abs, exponent, least, shift), 24);
        const q2 = f32x4.div(v128.load(at, 16), vs);
        signs = v128.or(signs, i32x4.shr_u(v128.and(q2, sign), 8));
        codes = i32x4.add(codes, i32x4.shl(biasedCode(q2, abs, exponent, least, shift), 16));
        const q1 = f32x4.div(v128.load(at, 32), vs);
        signs = v128.or(signs, i32x4.shr_u(v128.and(q1, sign), 16));
        codes = i32x4.add(codes, i32x4.shl(biasedCode(q1, abs, exponent, least, shift), 8));
        const q0 = f32x4.div(v128.load(at, 48), vs);
        signs = v128.or(signs, i32x4.shr_u(v128.and(q0, sign), 24));
        codes = i32x4.add(codes, biasedCode(q0, abs, exponent, least, shift));
        v128.store(rowOut + <usize>col, v128.or(i32x4.sub(codes, bias), signs));
        at += 64;
      }
      if (col == end) continue;
      const sa = foldedScale(scalesA, block, la, kind);
      const sb = foldedScale(scalesB, block, lb, kind);
      for (; col < end; col++) {
        const acc = blend1(load<u8>(rowA + <usize>col), load<u8>(rowB + <usize>col), sa, sb, la, lb, kind);
        store<u8>(rowOut + <usize>col, <u8>i32x4.extract_lane(encodeFiniteE4m3x4(f32x4.splat(acc / s)), 0));
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function mergePairAs(
  inputs: usize, rows: i32, cols: i32, blockCols: i32,
  out: usize, strideOut: usize, scalesOut: usize, maxima: usize, sums: usize, powerOfTwo: bool, kind: i32,
): i32 {
  const a = load<usize>(inputs, 4);
  const strideA = load<usize>(inputs, 8);
  const scalesA = load<usize>(inputs, 12);
  const la = load<f32>(inputs, 16);
  const b = load<usize>(inputs + RECORD, 4);
  const strideB = load<usize>(inputs + RECORD, 8);
  const scalesB = load<usize>(inputs + RECORD, 12);
  const lb = load<f32>(inputs + RECORD, 16);
  const strip = stripCols(rows, blockCols);
  memory.fill(maxima, 0, <usize>((cols + blockCols - 1) / blockCols) << 2);
  for (let from = 0; from < cols; from += strip) {
    const to = min<i32>(from + strip, cols);
    if (pairMaxima(a, b, strideA, strideB, scalesA, scalesB, la, lb, rows, from, to, blockCols, maxima, sums, kind)) {
      return -2;
    }
    const bad = scalesFromMaxima(maxima, from, to, blockCols, scalesOut, powerOfTwo);
    if (bad >= 0) return bad;
    pairEncode(a, b, strideA, strideB, scalesA, scalesB, la, lb, rows, from, to, blockCols, out, strideOut,
      scalesOut, sums, kind);
  }
  return -1;
}

/**
 * Two E4M3 parents with block scales -> E4M3 codes and block scales, one band of rows.
 * inputs: two records. maxima: blocks × i32 of scratch. sums: STRIP_ELEMENTS × f32 of scratch, which one
 * block (rows × blockCols) must fit. kind: see term().
 * Returns -1, or the first column block whose result is not finite, or -2 for a NaN code.
 */
export function mergePair(
  inputs: usize, rows: i32, cols: i32, blockCols: i32,
  out: usize, strideOut: usize, scalesOut: usize, maxima: usize, sums: usize, powerOfTwo: bool, kind: i32,
): i32 {
  if (kind == 0) {
    return mergePairAs(inputs, rows, cols, blockCols, out, strideOut, scalesOut, maxima, sums, powerOfTwo, 0);
  }
  if (kind == 1) {
    return mergePairAs(inputs, rows, cols, blockCols, out, strideOut, scalesOut, maxima, sums, powerOfTwo, 1);
  }
  return mergePairAs(inputs, rows, cols, blockCols, out, strideOut, scalesOut, maxima, sums, powerOfTwo, 2);
}
