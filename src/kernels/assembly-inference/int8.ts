// linear() of INT8 weights: integer dot products of blocks, then one float sum for each row.
//
// A vector of a weight holds four columns of four rows, and a lane of an accumulator is a row: nothing is
// added across lanes, and a block's end costs one conversion and two products for four rows. Activations go in
// as four bytes, to all lanes.
//
// This file is compiled twice: with relaxed SIMD (assembly-relaxed/), where one instruction multiplies and
// adds, and without. Codes of weights have 7 bits (0 … 127) and those of activations are -127 … 127, for which
// the relaxed instruction has one result on every CPU; integer sums have no order. Both give the same bits.

/** Columns that share a scale. */
export const BLOCK: i32 = 64;
/** Bytes before the codes of a block, in a weight and in arranged activations. */
export const HEADER: usize = 16;

/** Bytes of a block of four rows, with all its columns. */
const BLOCK_BYTES: usize = HEADER + (<usize>BLOCK << 2);

/** Bytes of four rows. */
// @ts-ignore: decorator
@inline
export function quadBytes(cols: i32): usize {
  return <usize>((cols + BLOCK - 1) / BLOCK) * HEADER + (<usize>((cols + 15) & ~15) << 2);
}

// Not relaxed_dot_i8x16_i7x16_add_s, which also adds: the baseline compiler of V8 11.3 (Node 20) may take the
// accumulator's register as a temporary, and it is no faster here.

/** acc + w · x: in each lane four products. w: 0 … 127, x: -127 … 127. */
// @ts-ignore: decorator
@inline
function dot(acc: v128, w: v128, x: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i32x4.add(acc, i32x4.extadd_pairwise_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(x, w)));
  }
  const even = i32x4.dot_i16x8_s(i16x8.shr_u(i16x8.shl(w, 8), 8), i16x8.shr_s(i16x8.shl(x, 8), 8));
  const odd = i32x4.dot_i16x8_s(i16x8.shr_u(w, 8), i16x8.shr_s(x, 8));
  return i32x4.add(acc, i32x4.add(even, odd));
}

/** What a block's sums begin with: it takes away what the offset of weights adds. */
// @ts-ignore: decorator
@inline
function correction(headerX: usize): v128 {
  return v128.load32_splat(headerX, 4);
}

/** total after a block. header: the scales of four rows. */
// @ts-ignore: decorator
@inline
function closed(total: v128, acc: v128, header: usize, headerX: usize): v128 {
  const product = f32x4.mul(f32x4.convert_i32x4_s(acc), v128.load(header));
  return f32x4.add(total, f32x4.mul(product, v128.load32_splat(headerX)));
}

/** Four rows of the output, or as many as there are. */
// @ts-ignore: decorator
@inline
function storeRows(out: usize, quad: i32, rows: i32, total: v128): void {
  const row = quad << 2;
  const at = out + (<usize>row << 2);
  if (row + 4 <= rows) {
    v128.store(at, total);
    return;
  }
  store<f32>(at, f32x4.extract_lane(total, 0));
  if (row + 1 < rows) store<f32>(at, f32x4.extract_lane(total, 1), 4);
  if (row + 2 < rows) store<f32>(at, f32x4.extract_lane(total, 2), 8);
}

// One token: four fours of rows, a quarter of the weight apart (single.ts says why).
function single(data: usize, rows: i32, cols: i32, x: usize, out: usize): void {
  const bytes = quadBytes(cols);
  const quads = (rows + 3) >> 2;
  const quarter = (quads + 3) >> 2;
  const last = quads - 1;
  const endX = x + (bytes >> 2) + <usize>((cols + BLOCK - 1) / BLOCK) * 12;
  for (let quad = 0; quad < quarter; quad++) {
    const quad1 = min<i32>(quad + quarter, last);
    const quad2 = min<i32>(quad + 2 * quarter, last);
    const quad3 = min<i32>(quad + 3 * quarter, last);
    let w0 = data + <usize>quad * bytes;
    let w1 = data + <usize>quad1 * bytes;
    let w2 = data + <usize>quad2 * bytes;
    let w3 = data + <usize>quad3 * bytes;
    let t0 = f32x4.splat(0);
    let t1 = f32x4.splat(0);
    let t2 = f32x4.splat(0);
    let t3 = f32x4.splat(0);
    let at = x;
    while (at < endX) {
      const begin = at;
      const end = min<usize>(at + HEADER + BLOCK, endX);
      const size = (end - at - HEADER) << 2;
      let a0 = correction(at);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      w0 += HEADER;
      w1 += HEADER;
      w2 += HEADER;
      w3 += HEADER;
      for (at += HEADER; at < end; at += 8, w0 += 32, w1 += 32, w2 += 32, w3 += 32) {
        const x0 = v128.load32_splat(at);
        a0 = dot(a0, v128.load(w0), x0);
        a1 = dot(a1, v128.load(w1), x0);
        a2 = dot(a2, v128.load(w2), x0);
        a3 = dot(a3, v128.load(w3), x0);
        const x1 = v128.load32_splat(at, 4);
        a0 = dot(a0, v128.load(w0, 16), x1);
        a1 = dot(a1, v128.load(w1, 16), x1);
        a2 = dot(a2, v128.load(w2, 16), x1);
        a3 = dot(a3, v128.load(w3, 16), x1);
      }
      const back = size + HEADER;
      t0 = closed(t0, a0, w0 - back, begin);
      t1 = closed(t1, a1, w1 - back, begin);
      t2 = closed(t2, a2, w2 - back, begin);
      t3 = closed(t3, a3, w3 - back, begin);
    }
    storeRows(out, quad, rows, t0);
    storeRows(out, quad1, rows, t1);
    storeRows(out, quad2, rows, t2);
    storeRows(out, quad3, rows, t3);
  }
}

// Two tokens: two fours of rows, half of the weight apart.
function pair(data: usize, rows: i32, cols: i32, x: usize, strideX: usize, out: usize, strideOut: usize): void {
  const bytes = quadBytes(cols);
  const quads = (rows + 3) >> 2;
  const half = (quads + 1) >> 1;
  const endX = x + (bytes >> 2) + <usize>((cols + BLOCK - 1) / BLOCK) * 12;
  for (let quad = 0; quad < half; quad++) {
    const quad1 = min<i32>(quad + half, quads - 1);
    let w0 = data + <usize>quad * bytes;
    let w1 = data + <usize>quad1 * bytes;
    let t0 = f32x4.splat(0);
    let t1 = f32x4.splat(0);
    let u0 = f32x4.splat(0);
    let u1 = f32x4.splat(0);
    let at = x;
    let bt = x + strideX;
    while (at < endX) {
      const begin = at;
      const end = min<usize>(at + HEADER + BLOCK, endX);
      const size = (end - at - HEADER) << 2;
      let a0 = correction(at);
      let a1 = a0;
      let b0 = correction(bt);
      let b1 = b0;
      w0 += HEADER;
      w1 += HEADER;
      bt += HEADER;
      for (at += HEADER; at < end; at += 8, bt += 8, w0 += 32, w1 += 32) {
        const x0 = v128.load32_splat(at);
        const y0 = v128.load32_splat(bt);
        const v0 = v128.load(w0);
        const v1 = v128.load(w1);
        a0 = dot(a0, v0, x0);
        b0 = dot(b0, v0, y0);
        a1 = dot(a1, v1, x0);
        b1 = dot(b1, v1, y0);
        const x1 = v128.load32_splat(at, 4);
        const y1 = v128.load32_splat(bt, 4);
        const v2 = v128.load(w0, 16);
        const v3 = v128.load(w1, 16);
        a0 = dot(a0, v2, x1);
        b0 = dot(b0, v2, y1);
        a1 = dot(a1, v3, x1);
        b1 = dot(b1, v3, y1);
      }
      const back = size + HEADER;
      t0 = closed(t0, a0, w0 - back, begin);
      t1 = closed(t1, a1, w1 - back, begin);
      u0 = closed(u0, b0, w0 - back, begin + strideX);
      u1 = closed(u1, b1, w1 - back, begin + strideX);
    }
    storeRows(out, quad, rows, t0);
    storeRows(out, quad1, rows, t1);
    storeRows(out + strideOut, quad, rows, u0);
    storeRows(out + strideOut, quad1, rows, u1);
  }
}

/** Four tokens by two fours of rows; the same row or token twice where there is no other. */
function tile(
  w0: usize, w1: usize, bytesX: usize, x0: usize, x1: usize, x2: usize, x3: usize,
  out: usize, out1: usize, out2: usize, out3: usize, quad: i32, quad1: i32, rows: i32,
): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let t0 = f32x4.splat(0);
  let t1 = f32x4.splat(0);
  let u0 = f32x4.splat(0);
  let u1 = f32x4.splat(0);
  let v0 = f32x4.splat(0);
  let v1 = f32x4.splat(0);
  const endX = x0 + bytesX;
  while (x0 < endX) {
    const end = min<usize>(x0 + HEADER + BLOCK, endX);
    const size = end - x0 - HEADER;
    let a0 = correction(x0);
    let a1 = a0;
    let b0 = correction(x1);
    let b1 = b0;
    let c0 = correction(x2);
    let c1 = c0;
    let d0 = correction(x3);
    let d1 = d0;
    w0 += HEADER;
    w1 += HEADER;
    x1 += HEADER;
    x2 += HEADER;
    x3 += HEADER;
    for (x0 += HEADER; x0 < end; x0 += 4, x1 += 4, x2 += 4, x3 += 4, w0 += 16, w1 += 16) {
      const r0 = v128.load(w0);
      const r1 = v128.load(w1);
      const p0 = v128.load32_splat(x0);
      a0 = dot(a0, r0, p0);
      a1 = dot(a1, r1, p0);
      const p1 = v128.load32_splat(x1);
      b0 = dot(b0, r0, p1);
      b1 = dot(b1, r1, p1);
      const p2 = v128.load32_splat(x2);
      c0 = dot(c0, r0, p2);
      c1 = dot(c1, r1, p2);
      const p3 = v128.load32_splat(x3);
      d0 = dot(d0, r0, p3);
      d1 = dot(d1, r1, p3);
    }
    const h0 = w0 - (size << 2) - HEADER;
    const h1 = w1 - (size << 2) - HEADER;
    const back = size + HEADER;
    s0 = closed(s0, a0, h0, x0 - back);
    s1 = closed(s1, a1, h1, x0 - back);
    t0 = closed(t0, b0, h0, x1 - back);
    t1 = closed(t1, b1, h1, x1 - back);
    u0 = closed(u0, c0, h0, x2 - back);
    u1 = closed(u1, c1, h1, x2 - back);
    v0 = closed(v0, d0, h0, x3 - back);
    v1 = closed(v1, d1, h1, x3 - back);
  }
  storeRows(out, quad, rows, s0);
  storeRows(out, quad1, rows, s1);
  storeRows(out1, quad, rows, t0);
  storeRows(out1, quad1, rows, t1);
  storeRows(out2, quad, rows, u0);
  storeRows(out2, quad1, rows, u1);
  storeRows(out3, quad, rows, v0);
  storeRows(out3, quad1, rows, v1);
}

/** Strides in bytes. */
export function linearInt8(
  data: usize, rows: i32, cols: i32, x: usize, count: i32, out: usize, strideOut: usize,
): void {
  const strideX = <usize>((cols + 15) & ~15) << 2;
  if (count == 1) {
    single(data, rows, cols, x, out);
    return;
  }
  if (count == 2) {
    pair(data, rows, cols, x, strideX, out, strideOut);
    return;
  }
  const bytes = quadBytes(cols);
  const quads = (rows + 3) >> 2;
  const half = (quads + 1) >> 1;
  const bytesX = (bytes >> 2) + <usize>((cols + BLOCK - 1) / BLOCK) * 12;
  for (let quad = 0; quad < half; quad++) {
    const quad1 = min<i32>(quad + half, quads - 1);
    for (let token = 0; token < count; token += 4) {
      const token1 = <usize>min<i32>(token + 1, count - 1);
      const token2 = <usize>min<i32>(token + 2, count - 1);
      const token3 = <usize>min<i32>(token + 3, count - 1);
      tile(
        data + <usize>quad * bytes, data + <usize>quad1 * bytes, bytesX,
        x + <usize>token * strideX, x + token1 * strideX, x + token2 * strideX, x + token3 * strideX,
        out + <usize>token * strideOut, out + token1 * strideOut, out + token2 * strideOut, out + token3 * strideOut,
        quad, quad1, rows,
      );
    }
  }
}
