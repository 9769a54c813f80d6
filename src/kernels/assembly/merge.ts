// The merge of n parents over one band: the rows that share a row of scale blocks.
//
// Arithmetic, each step rounded to float32, nothing fused (assembly.md section 2):
//   d = f32(code) · scale;  acc = λ₁·d₁;  acc = acc + λᵢ·dᵢ
//   s = max(max|acc|, 1e-12) / 448;  code = E4M3(acc / s)
//
// An FP8 result needs the largest |acc| of a block before its first code. The band is therefore
// walked twice, row by row: memory is read in order (walking one 128-wide block down a 7168-wide
// matrix is bound by cache misses). Where all parents are FP8 that goes strip by strip, and the sums
// of a strip stay in the L2 cache for its second walk; others compute acc again.
//
// Inputs are described by 32-byte records in memory:
//   +0 dtype  +4 data  +8 row stride in bytes  +12 scales (f32 per column block, 0: none)
//   +16 weight λ (f32)  +20 folded scales (scratch)

import { BF16, E4M3, E5M2, F16, F32, TWO_120_BITS } from "./codec";
import {
  encode4,
  encodeFiniteE4m3x4,
  load1,
  load4,
  nanCodes,
  rawTop,
  store1,
  store4,
} from "./codec";

const RECORD: usize = 32;
const ABS: i32 = 0x7fffffff;
const INFINITY_BITS: i32 = 0x7f800000;
/** Sums that a strip keeps: 512 KiB, half of an L2 cache. kernels.ts has the same number. */
const STRIP_ELEMENTS: i32 = 1 << 17;

// Block scales ----------------------------------------------------------------------------------

/** Scale of a block from the bits of its largest magnitude. powerOfTwo rounds it up (UE8M0). */
// @ts-ignore: decorator
@inline
function blockScale(amaxBits: i32, powerOfTwo: bool): f32 {
  const s = max<f32>(reinterpret<f32>(amaxBits), <f32>1e-12) / <f32>448;
  if (!powerOfTwo) return s;
  return reinterpret<f32>(<i32>((<u32>reinterpret<i32>(s) + 0x7fffff) >> 23) << 23);
}

/** amax bits per block -> scale per block, for columns from..to. First block that is not finite, or -1. */
// @ts-ignore: decorator
@inline
function scalesFromMaxima(
  maxima: usize, from: i32, to: i32, blockCols: i32, out: usize, powerOfTwo: bool,
): i32 {
  for (let b = from / blockCols; b * blockCols < to; b++) {
    const bits = load<i32>(maxima + (<usize>b << 2));
    if (bits >= INFINITY_BITS) return b;
    store<f32>(out + (<usize>b << 2), blockScale(bits, powerOfTwo));
  }
  return -1;
}

/** Columns of a strip: whole blocks, as many as the sums have room for. */
// @ts-ignore: decorator
@inline
function stripCols(rows: i32, blockCols: i32): i32 {
  return max<i32>(1, STRIP_ELEMENTS / max<i32>(1, rows * blockCols)) * blockCols;
}

// @ts-ignore: decorator
@inline
function maxLane(v: v128): i32 {
  const a = max<i32>(i32x4.extract_lane(v, 0), i32x4.extract_lane(v, 1));
  const b = max<i32>(i32x4.extract_lane(v, 2), i32x4.extract_lane(v, 3));
  return max<i32>(a, b);
}

// Two FP8 parents, the fast path -----------------------------------------------------------------
// The first walk keeps every acc for the second (64 bytes for 16 columns, in the order of the walk):
// decoding both parents again costs more than 8 moves from and to the L2 cache. Lanes hold columns j, j+4, j+8, j+12 of sixteen: nothing needs permuting.
//
// V8 builds a constant vector anew at every use (mov, movd, shuffle), which halves the speed here.
// The constants below are therefore exported and mutable, so that no optimiser may fold them, and are
// splatted into locals before the loops: a register or a stack slot each.

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
function rawBy(v: v128, left: i32, mask: v128): v128 {
  return v128.and(i32x4.shr_s(left ? i32x4.shl(v, left) : v, 4), mask);
}

// kind 0: λ is a power of two and folded into the scale by the host, which is exact. 1: any λ.
// 2: a scale is 2^7 or more, so that scale · 2^120 would overflow.
// @ts-ignore: decorator
@inline
function term(raw: v128, scale: v128, lambda: v128, kind: i32): v128 {
  if (kind == 0) return f32x4.mul(raw, scale);
  if (kind == 1) return f32x4.mul(lambda, f32x4.mul(raw, scale));
  const value = f32x4.mul(raw, f32x4.splat(reinterpret<f32>(TWO_120_BITS)));
  return f32x4.mul(lambda, f32x4.mul(value, scale));
}

// @ts-ignore: decorator
@inline
function foldedScale(scales: usize, block: i32, lambda: f32, kind: i32): f32 {
  const scale = load<f32>(scales + (<usize>block << 2));
  if (kind == 2) return scale;
  const folded = scale * reinterpret<f32>(TWO_120_BITS);
  return kind == 0 ? folded * lambda : folded;
}

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

/**
 * Code of |q| <= 448 (1 + 2^-23), plus a bias of 968, without its sign. With e the exponent of q,
 * at least -6, codes stand 2^(e-3) apart; that is one unit in the last place of 2^(e+20), so the
 * addition rounds |q| to whole steps, ties to even, and leaves their number in the low bits.
 */
// @ts-ignore: decorator
@inline
function biasedCode(q: v128, abs: v128, exponent: v128, least: v128, shift: v128): v128 {
  const e = i32x4.max_s(v128.and(q, exponent), least);
  const magic = i32x4.add(e, shift);
  const steps = i32x4.sub(f32x4.add(v128.and(q, abs), magic), magic);
  return i32x4.add(steps, i32x4.shr_u(e, 20));
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

// Any number of FP8 parents ------------------------------------------------------------------------
// As above, with a loop over the parents inside. Each record holds at +20 the folded scales (f32 per
// column block), made once per band, so that the loop broadcasts them from memory.

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

// Any number of parents in any formats: a row of acc in memory ------------------------------------

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
