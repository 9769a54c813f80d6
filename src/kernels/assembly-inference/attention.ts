// Sums of weighted rows, and one page of an online softmax (model.md section 16.4).

import { exp2x4 } from "./exp2";

// Tokens and columns of a tile of combine(): eight accumulators in registers.
const TILE_COLS: i32 = 16;

// @ts-ignore: decorator
@inline
function add(acc: v128, factor: v128, b: v128): v128 {
  return f32x4.add(acc, f32x4.mul(factor, b));
}

// @ts-ignore: decorator
@inline
function combineTile2(
  a: usize, strideA: usize, b: usize, strideB: usize, count: i32, out: usize, strideOut: usize, accumulate: bool,
): void {
  const next = out + strideOut;
  const end = a + (<usize>count << 2);
  let c0 = accumulate ? v128.load(out) : f32x4.splat(0);
  let c1 = accumulate ? v128.load(out, 16) : f32x4.splat(0);
  let c2 = accumulate ? v128.load(out, 32) : f32x4.splat(0);
  let c3 = accumulate ? v128.load(out, 48) : f32x4.splat(0);
  let d0 = accumulate ? v128.load(next) : f32x4.splat(0);
  let d1 = accumulate ? v128.load(next, 16) : f32x4.splat(0);
  let d2 = accumulate ? v128.load(next, 32) : f32x4.splat(0);
  let d3 = accumulate ? v128.load(next, 48) : f32x4.splat(0);
  for (; a < end; a += 4, b += strideB) {
    const x = v128.load32_splat(a);
    const y = v128.load32_splat(a + strideA);
    const b0 = v128.load(b);
    c0 = add(c0, x, b0);
    d0 = add(d0, y, b0);
    const b1 = v128.load(b, 16);
    c1 = add(c1, x, b1);
    d1 = add(d1, y, b1);
    const b2 = v128.load(b, 32);
    c2 = add(c2, x, b2);
    d2 = add(d2, y, b2);
    const b3 = v128.load(b, 48);
    c3 = add(c3, x, b3);
    d3 = add(d3, y, b3);
  }
  v128.store(out, c0);
  v128.store(out, c1, 16);
  v128.store(out, c2, 32);
  v128.store(out, c3, 48);
  v128.store(next, d0);
  v128.store(next, d1, 16);
  v128.store(next, d2, 32);
  v128.store(next, d3, 48);
}

// @ts-ignore: decorator
@inline
function combineTile1(
  a: usize, b: usize, strideB: usize, count: i32, out: usize, accumulate: bool,
): void {
  const end = a + (<usize>count << 2);
  let c0 = accumulate ? v128.load(out) : f32x4.splat(0);
  let c1 = accumulate ? v128.load(out, 16) : f32x4.splat(0);
  let c2 = accumulate ? v128.load(out, 32) : f32x4.splat(0);
  let c3 = accumulate ? v128.load(out, 48) : f32x4.splat(0);
  for (; a < end; a += 4, b += strideB) {
    const x = v128.load32_splat(a);
    c0 = add(c0, x, v128.load(b));
    c1 = add(c1, x, v128.load(b, 16));
    c2 = add(c2, x, v128.load(b, 32));
    c3 = add(c3, x, v128.load(b, 48));
  }
  v128.store(out, c0);
  v128.store(out, c1, 16);
  v128.store(out, c2, 32);
  v128.store(out, c3, 48);
}

/** Columns col … cols - 1, fewer than a tile. */
// @ts-ignore: decorator
@inline
function combineRest(
  a: usize, b: usize, strideB: usize, count: i32, cols: i32, out: usize, accumulate: bool,
): void {
  let col = 0;
  for (; col + 4 <= cols; col += 4) {
    let acc = accumulate ? v128.load(out + (<usize>col << 2)) : f32x4.splat(0);
    let from = b + (<usize>col << 2);
    for (let j = 0; j < count; j++, from += strideB) {
      acc = add(acc, v128.load32_splat(a + (<usize>j << 2)), v128.load(from));
    }
    v128.store(out + (<usize>col << 2), acc);
  }
  for (; col < cols; col++) {
    let acc: f32 = accumulate ? load<f32>(out + (<usize>col << 2)) : 0;
    let from = b + (<usize>col << 2);
    for (let j = 0; j < count; j++, from += strideB) {
      acc += load<f32>(a + (<usize>j << 2)) * load<f32>(from);
    }
    store<f32>(out + (<usize>col << 2), acc);
  }
}

/** Strides in bytes. Columns outside, rows of `a` inside: 16 columns of b stay in the L1 cache. */
export function combine(
  a: usize, strideA: usize, rows: i32, b: usize, strideB: usize, count: i32,
  cols: i32, out: usize, strideOut: usize, accumulate: bool,
): void {
  let col = 0;
  for (; col + TILE_COLS <= cols; col += TILE_COLS) {
    const from = b + (<usize>col << 2);
    let weights = a;
    let to = out + (<usize>col << 2);
    let row = 0;
    for (; row + 2 <= rows; row += 2, weights += strideA << 1, to += strideOut << 1) {
      combineTile2(weights, strideA, from, strideB, count, to, strideOut, accumulate);
    }
    if (row < rows) combineTile1(weights, from, strideB, count, to, accumulate);
  }
  if (col == cols) return;
  const from = b + (<usize>col << 2);
  for (let row = 0; row < rows; row++) {
    const to = out + <usize>row * strideOut + (<usize>col << 2);
    combineRest(a + <usize>row * strideA, from, strideB, count, cols - col, to, accumulate);
  }
}

/** Largest of a and b; a where b is NaN, as f32x4.pmax has it. f32x4.max is slower (docs/LOG.md). */
// @ts-ignore: decorator
@inline
function larger(a: f32, b: f32): f32 {
  return a < b ? b : a;
}

// @ts-ignore: decorator
@inline
function largestOf(scores: usize, count: i32): f32 {
  let largest = f32x4.splat(-Infinity);
  let j = 0;
  for (; j + 4 <= count; j += 4) largest = f32x4.pmax(largest, v128.load(scores + (<usize>j << 2)));
  let most = larger(
    larger(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    larger(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
  for (; j < count; j++) most = larger(most, load<f32>(scores + (<usize>j << 2)));
  return most;
}

export function softmaxStep(
  scores: usize, rows: i32, keys: i32, limits: usize, scale: f32,
  maxima: usize, sums: usize, out: usize, outCols: i32,
): void {
  const vscale = f32x4.splat(scale);
  for (let row = 0; row < rows; row++) {
    const line = scores + (<usize>row * <usize>keys << 2);
    const seen = min<i32>(max<i32>(load<i32>(limits + (<usize>row << 2)), 0), keys);
    if (seen > 0) {
      const before = load<f32>(maxima + (<usize>row << 2));
      const maximum = larger(before, scale * largestOf(line, seen)) + 0; // -0 becomes 0
      const vmaximum = f32x4.splat(maximum);
      let added = f32x4.splat(0);
      let j = 0;
      for (; j + 4 <= seen; j += 4) {
        const at = line + (<usize>j << 2);
        const p = exp2x4(f32x4.sub(f32x4.mul(vscale, v128.load(at)), vmaximum));
        v128.store(at, p);
        added = f32x4.add(added, p);
      }
      let q0 = f32x4.extract_lane(added, 0);
      let q1 = f32x4.extract_lane(added, 1);
      let q2 = f32x4.extract_lane(added, 2);
      const q3 = f32x4.extract_lane(added, 3);
      for (let lane = 0; j < seen; j++, lane++) {
        const at = line + (<usize>j << 2);
        const p = f32x4.extract_lane(exp2x4(f32x4.splat(scale * load<f32>(at) - maximum)), 0);
        store<f32>(at, p);
        if (lane == 0) q0 += p;
        else if (lane == 1) q1 += p;
        else q2 += p;
      }
      const decay = f32x4.extract_lane(exp2x4(f32x4.splat(before - maximum)), 0);
      const sum = sums + (<usize>row << 2);
      store<f32>(maxima + (<usize>row << 2), maximum);
      store<f32>(sum, load<f32>(sum) * decay + (q0 + q1 + (q2 + q3)));
      // Most pages do not raise the maximum: a factor of 1 changes nothing.
      if (decay != 1) multiply(out + (<usize>row * <usize>outCols << 2), outCols, decay);
    }
    for (let j = seen; j < keys; j++) store<f32>(line + (<usize>j << 2), 0);
  }
}

// @ts-ignore: decorator
@inline
function multiply(values: usize, count: i32, factor: f32): void {
  const vfactor = f32x4.splat(factor);
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const at = values + (<usize>i << 2);
    v128.store(at, f32x4.mul(v128.load(at), vfactor));
  }
  for (; i < count; i++) {
    const at = values + (<usize>i << 2);
    store<f32>(at, load<f32>(at) * factor);
  }
}
