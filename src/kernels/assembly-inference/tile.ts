// linear() for several tokens: a tile of weights is decoded once to float32, in arranged order, and then
// multiplied with every token, four rows by two tokens in registers.
//
// A tile is TILE_ROWS rows by at most MAX_TILE_COLS columns, whole blocks, and stays in the L2 cache. Totals
// of all its rows and tokens are kept from one tile of columns to the next.

import { BF16, E4M3, F16, F32 } from "../assembly/codec";
import { TILE_STEP, TWO_20, decodeRow, elementBytes, scaleRow } from "./decode";
import { add, laneSum } from "./sums";

const TILE_ROWS: i32 = 16;
export const MAX_TILE_COLS: i32 = 1024;
const TILE_TOKENS: i32 = 64;

/** Four rows: vector after vector, the four of a column side by side. */
const QUAD_BYTES: usize = <usize>MAX_TILE_COLS << 4;
const FACTOR_STRIDE: usize = <usize>MAX_TILE_COLS >> 2; // blocks of 16 columns at least
const FACTORS: usize = <usize>(TILE_ROWS >> 2) * QUAD_BYTES;
const TOTALS: usize = FACTORS + <usize>TILE_ROWS * FACTOR_STRIDE;
const TOTAL_STRIDE: usize = <usize>TILE_ROWS << 4; // of one token
const SCRATCH_BYTES: usize = TOTALS + <usize>(TILE_TOKENS + 1) * TOTAL_STRIDE;

export function scratchBytes(): usize {
  return SCRATCH_BYTES;
}

// @ts-ignore: decorator
@inline
function addTotal(total: usize, acc: v128, factor: v128): void {
  v128.store(total, f32x4.add(v128.load(total), f32x4.mul(acc, factor)));
}

// The loop is not unrolled: V8 would move all loads of the longer body to its front and spill (a third
// slower). Four rows side by side need three pointers, where rows apart need six (a fifth slower).

/** Adds four rows of a tile times two tokens to their totals. bytes: of activations. */
function multiply4x2(
  w: usize, factors: usize, x: usize, y: usize, bytes: i32, blockBytes: i32, totals: usize,
): void {
  for (let left = bytes; left > 0; left -= blockBytes, factors += 4) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let a2 = f32x4.splat(0);
    let a3 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    const end = x + <usize>min<i32>(left, blockBytes);
    for (; x < end; x += 16, y += 16, w += TILE_STEP) {
      const x0 = v128.load(x);
      const y0 = v128.load(y);
      const v0 = v128.load(w);
      a0 = add(a0, v0, x0);
      b0 = add(b0, v0, y0);
      const v1 = v128.load(w, 16);
      a1 = add(a1, v1, x0);
      b1 = add(b1, v1, y0);
      const v2 = v128.load(w, 32);
      a2 = add(a2, v2, x0);
      b2 = add(b2, v2, y0);
      const v3 = v128.load(w, 48);
      a3 = add(a3, v3, x0);
      b3 = add(b3, v3, y0);
    }
    const s0 = v128.load32_splat(factors);
    const s1 = v128.load32_splat(factors + FACTOR_STRIDE);
    const s2 = v128.load32_splat(factors + 2 * FACTOR_STRIDE);
    const s3 = v128.load32_splat(factors + 3 * FACTOR_STRIDE);
    addTotal(totals, a0, s0);
    addTotal(totals + 16, a1, s1);
    addTotal(totals + 32, a2, s2);
    addTotal(totals + 48, a3, s3);
    addTotal(totals + TOTAL_STRIDE, b0, s0);
    addTotal(totals + TOTAL_STRIDE + 16, b1, s1);
    addTotal(totals + TOTAL_STRIDE + 32, b2, s2);
    addTotal(totals + TOTAL_STRIDE + 48, b3, s3);
  }
}

// A function for each type: single.ts says why.

function decodeE4m3(from: usize, bytes: i32, to: usize): void {
  decodeRow(E4M3, from, bytes, to);
}

function decodeBf16(from: usize, bytes: i32, to: usize): void {
  decodeRow(BF16, from, bytes, to);
}

function decodeF16(from: usize, bytes: i32, to: usize): void {
  decodeRow(F16, from, bytes, to);
}

function decodeF32(from: usize, bytes: i32, to: usize): void {
  decodeRow(F32, from, bytes, to);
}

function decodeOne(dtype: i32, from: usize, bytes: i32, to: usize): void {
  if (dtype == E4M3) decodeE4m3(from, bytes, to);
  else if (dtype == BF16) decodeBf16(from, bytes, to);
  else if (dtype == F16) decodeF16(from, bytes, to);
  else decodeF32(from, bytes, to);
}

/** What the sum of each block is multiplied by; 1 changes no bit. */
function writeFactors(dtype: i32, scale: usize, blocks: i32, to: usize): void {
  for (let block: usize = 0; block < <usize>blocks; block++) {
    let factor: f32 = 1;
    if (dtype == E4M3) factor = scale ? load<f32>(scale + (block << 2)) * TWO_20 : TWO_20;
    store<f32>(to + (block << 2), factor);
  }
}

/** Arguments as those of linear(); blockCols at most MAX_TILE_COLS. */
export function linearTiled(
  dtype: i32, data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32,
  x: usize, count: i32, out: usize, strideOut: usize, scratch: usize,
): void {
  const strideX = <usize>((cols + 15) & ~15) << 2;
  for (let token = 0; token < count; token += TILE_TOKENS) {
    for (let row = 0; row < rows; row += TILE_ROWS) {
      tile(
        dtype, data, row, min<i32>(TILE_ROWS, rows - row), cols, scales, blockRows, blockCols, firstRow,
        x + <usize>token * strideX, strideX, min<i32>(TILE_TOKENS, count - token),
        out + <usize>token * strideOut + (<usize>row << 2), strideOut, scratch,
      );
    }
  }
}

// @ts-ignore: decorator
@inline
function tile(
  dtype: i32, data: usize, row: i32, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32,
  x: usize, strideX: usize, count: i32, out: usize, strideOut: usize, scratch: usize,
): void {
  const size = elementBytes(dtype);
  const rowBytes = <usize>(cols * size);
  const factors = scratch + FACTORS;
  const totals = scratch + TOTALS;
  const tileCols = (MAX_TILE_COLS / blockCols) * blockCols;
  memory.fill(totals, 0, <usize>(count + 1) * TOTAL_STRIDE);
  for (let col = 0; col < cols; col += tileCols) {
    const width = min<i32>(tileCols, cols - col);
    const blocks = (width + blockCols - 1) / blockCols;
    const bytes = ((width + 15) & ~15) << 2;
    // Rows and tokens that are not there have totals of their own, which nobody looks at.
    for (let k = 0; k < ((rows + 3) & ~3); k++) {
      const from = row + min<i32>(k, rows - 1);
      const to = scratch + <usize>(k >> 2) * QUAD_BYTES + (<usize>(k & 3) << 4);
      decodeOne(dtype, data + <usize>from * rowBytes + <usize>(col * size), width * size, to);
      const scale: usize = scales
        ? scaleRow(scales, from, cols, blockRows, blockCols, firstRow) + (<usize>(col / blockCols) << 2)
        : 0;
      writeFactors(dtype, scale, blocks, factors + <usize>k * FACTOR_STRIDE);
    }
    for (let token = 0; token < count; token += 2) {
      const x0 = x + <usize>token * strideX + (<usize>col << 2);
      const x1 = token + 1 < count ? x0 + strideX : x0;
      const to = totals + <usize>token * TOTAL_STRIDE;
      for (let k = 0; k < rows; k += 4) {
        const weights = scratch + <usize>(k >> 2) * QUAD_BYTES;
        const first = factors + <usize>k * FACTOR_STRIDE;
        multiply4x2(weights, first, x0, x1, bytes, blockCols << 2, to + (<usize>k << 4));
      }
    }
  }
  for (let token = 0; token < count; token++) {
    for (let k = 0; k < rows; k++) {
      const total = v128.load(totals + <usize>token * TOTAL_STRIDE + (<usize>k << 4));
      store<f32>(out + <usize>token * strideOut + (<usize>k << 2), laneSum(total));
    }
  }
}
