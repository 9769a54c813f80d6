// Everything that goes element by element or row by row: arranging, norms, rotation, activation.

import { BF16, E4M3, F16 } from "../assembly/codec";
import { UNIT, expx4, splat } from "./exp2";

// @ts-ignore: decorator
@inline
function get(base: usize, index: i32): f32 {
  return load<f32>(base + (<usize>index << 2));
}

// @ts-ignore: decorator
@inline
function set(base: usize, index: i32, value: f32): void {
  store<f32>(base + (<usize>index << 2), value);
}

/** 2^100: what raw E4M3 (2^-120) and a block's factor of 2^20 leave over. */
const TWO_100: u32 = 0x71800000;

// @ts-ignore: decorator
@inline
function arrangeAs(dtype: i32, src: usize, strideBytes: usize, count: i32, cols: i32, out: usize): void {
  const padded = (cols + 15) & ~15;
  const factor = f32x4.splat(reinterpret<f32>(TWO_100));
  for (let row = 0; row < count; row++) {
    let from = src + <usize>row * strideBytes;
    let to = out + (<usize>row * <usize>padded << 2);
    let col = 0;
    for (; col + 16 <= cols; col += 16, from += 64, to += 64) {
      const a = v128.load(from);
      const b = v128.load(from, 16);
      const c = v128.load(from, 32);
      const d = v128.load(from, 48);
      if (dtype == E4M3) {
        const ab02 = v128.shuffle<f32>(a, b, 0, 4, 2, 6);
        const ab13 = v128.shuffle<f32>(a, b, 1, 5, 3, 7);
        const cd02 = v128.shuffle<f32>(c, d, 0, 4, 2, 6);
        const cd13 = v128.shuffle<f32>(c, d, 1, 5, 3, 7);
        v128.store(to, f32x4.mul(v128.shuffle<f32>(ab02, cd02, 0, 1, 4, 5), factor));
        v128.store(to, f32x4.mul(v128.shuffle<f32>(ab13, cd13, 0, 1, 4, 5), factor), 16);
        v128.store(to, f32x4.mul(v128.shuffle<f32>(ab02, cd02, 2, 3, 6, 7), factor), 32);
        v128.store(to, f32x4.mul(v128.shuffle<f32>(ab13, cd13, 2, 3, 6, 7), factor), 48);
      } else if (dtype == BF16) {
        v128.store(to, v128.shuffle<f32>(a, b, 0, 2, 4, 6));
        v128.store(to, v128.shuffle<f32>(a, b, 1, 3, 5, 7), 16);
        v128.store(to, v128.shuffle<f32>(c, d, 0, 2, 4, 6), 32);
        v128.store(to, v128.shuffle<f32>(c, d, 1, 3, 5, 7), 48);
      } else {
        v128.store(to, a);
        v128.store(to, b, 16);
        v128.store(to, c, 32);
        v128.store(to, d, 48);
      }
    }
    if (col < padded) {
      memory.fill(to, 0, 64);
      for (let k = 0; col + k < cols; k++) {
        const value = get(from, k);
        if (dtype == E4M3) set(to, ((k & 3) << 2) + (k >> 2), value * reinterpret<f32>(TWO_100));
        else if (dtype == BF16) set(to, (k & 8) + ((k & 1) << 2) + ((k & 7) >> 1), value);
        else set(to, k, value);
      }
    }
  }
}

export function arrange(dtype: i32, src: usize, strideBytes: usize, count: i32, cols: i32, out: usize): void {
  if (dtype == E4M3) arrangeAs(E4M3, src, strideBytes, count, cols, out);
  else if (dtype == BF16 || dtype == F16) arrangeAs(BF16, src, strideBytes, count, cols, out);
  else arrangeAs(0, src, strideBytes, count, cols, out);
}

export function rmsNorm(
  x: usize, strideX: usize, count: i32, weight: usize, cols: i32, epsilon: f64, out: usize, strideOut: usize,
): void {
  for (let row = 0; row < count; row++) {
    const from = x + <usize>row * strideX;
    const to = out + <usize>row * strideOut;
    let sum = f64x2.splat(0);
    let col = 0;
    for (; col + 4 <= cols; col += 4) {
      const v = v128.load(from + (<usize>col << 2));
      const low = f64x2.promote_low_f32x4(v);
      const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3));
      sum = f64x2.add(f64x2.add(sum, f64x2.mul(low, low)), f64x2.mul(high, high));
    }
    let even = f64x2.extract_lane(sum, 0);
    let odd = f64x2.extract_lane(sum, 1);
    for (; col < cols; col++) {
      const value = <f64>get(from, col);
      if (col & 1) odd += value * value;
      else even += value * value;
    }
    const factor = <f32>(1 / sqrt<f64>((even + odd) / <f64>cols + epsilon));
    const vfactor = f32x4.splat(factor);
    for (col = 0; col + 4 <= cols; col += 4) {
      const at = <usize>col << 2;
      v128.store(to + at, f32x4.mul(f32x4.mul(v128.load(from + at), vfactor), v128.load(weight + at)));
    }
    for (; col < cols; col++) set(to, col, get(from, col) * factor * get(weight, col));
  }
}

export function rotateInterleaved(
  x: usize, stride: usize, count: i32, cos: usize, sin: usize, pairs: i32,
): void {
  for (let row = 0; row < count; row++) {
    const base = x + <usize>row * stride;
    let i = 0;
    for (; i + 4 <= pairs; i += 4) {
      const at = base + (<usize>i << 3);
      const a = v128.load(at);
      const b = v128.load(at, 16);
      const first = v128.shuffle<f32>(a, b, 0, 2, 4, 6);
      const second = v128.shuffle<f32>(a, b, 1, 3, 5, 7);
      const c = v128.load(cos + (<usize>i << 2));
      const s = v128.load(sin + (<usize>i << 2));
      const p = f32x4.sub(f32x4.mul(first, c), f32x4.mul(second, s));
      const q = f32x4.add(f32x4.mul(first, s), f32x4.mul(second, c));
      v128.store(at, v128.shuffle<f32>(p, q, 0, 4, 1, 5));
      v128.store(at, v128.shuffle<f32>(p, q, 2, 6, 3, 7), 16);
    }
    for (; i < pairs; i++) rotate1(base, 2 * i, 2 * i + 1, get(cos, i), get(sin, i));
  }
}

// @ts-ignore: decorator
@inline
function rotate1(base: usize, first: i32, second: i32, c: f32, s: f32): void {
  const a = get(base, first);
  const b = get(base, second);
  set(base, first, a * c - b * s);
  set(base, second, a * s + b * c);
}

export function rotateHalves(x: usize, stride: usize, count: i32, cos: usize, sin: usize, pairs: i32): void {
  for (let row = 0; row < count; row++) {
    const base = x + <usize>row * stride;
    let i = 0;
    for (; i + 4 <= pairs; i += 4) {
      const first = v128.load(base + (<usize>i << 2));
      const second = v128.load(base + (<usize>(i + pairs) << 2));
      const c = v128.load(cos + (<usize>i << 2));
      const s = v128.load(sin + (<usize>i << 2));
      const p = f32x4.sub(f32x4.mul(first, c), f32x4.mul(second, s));
      v128.store(base + (<usize>i << 2), p);
      v128.store(base + (<usize>(i + pairs) << 2), f32x4.add(f32x4.mul(first, s), f32x4.mul(second, c)));
    }
    for (; i < pairs; i++) rotate1(base, i, i + pairs, get(cos, i), get(sin, i));
  }
}

// @ts-ignore: decorator
@inline
function siluTimes(z: v128, up: v128): v128 {
  const silu = f32x4.div(z, f32x4.add(splat(UNIT), expx4(f32x4.neg(z))));
  return f32x4.mul(silu, up);
}

export function siluMul(
  gate: usize, strideGate: usize, up: usize, strideUp: usize, count: i32, cols: i32, out: usize, strideOut: usize,
): void {
  for (let row = 0; row < count; row++) {
    const g = gate + <usize>row * strideGate;
    const u = up + <usize>row * strideUp;
    const to = out + <usize>row * strideOut;
    let col = 0;
    for (; col + 4 <= cols; col += 4) {
      const at = <usize>col << 2;
      v128.store(to + at, siluTimes(v128.load(g + at), v128.load(u + at)));
    }
    for (; col < cols; col++) {
      const value = siluTimes(f32x4.splat(get(g, col)), f32x4.splat(get(u, col)));
      set(to, col, f32x4.extract_lane(value, 0));
    }
  }
}

export function addScaled(y: usize, x: usize, weight: f32, count: i32): void {
  const factor = f32x4.splat(weight);
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, f32x4.add(v128.load(y + at), f32x4.mul(factor, v128.load(x + at))));
  }
  for (; i < count; i++) set(y, i, get(y, i) + weight * get(x, i));
}

export function firstNonFinite(from: usize, count: i32): i32 {
  // x - x is 0 where x is finite and NaN elsewhere, which no equality holds for.
  let i = 0;
  for (; i + 16 <= count; i += 16) {
    const at = from + (<usize>i << 2);
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const ab = f32x4.add(f32x4.sub(a, a), f32x4.sub(b, b));
    const cd = f32x4.add(f32x4.sub(c, c), f32x4.sub(d, d));
    const sum = f32x4.add(ab, cd);
    if (!i32x4.all_true(f32x4.eq(sum, sum))) break;
  }
  for (; i < count; i++) {
    const value = get(from, i);
    if (value - value != 0) return i;
  }
  return -1;
}
