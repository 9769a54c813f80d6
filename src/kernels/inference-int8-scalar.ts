/**
 * INT8 in plain TypeScript: the reference for assembly-inference/int8.ts and quantise.ts. inference.ts has the
 * layouts and the order of sums.
 */
import { INT8_BLOCK, int8Bytes, paddedCols, type Rows, type Weight } from "./inference.ts";

const { fround } = Math;
/** Bytes before the codes of a block. */
const HEADER = 16;
/** Largest code of activations and of weights, and what is added to the latter. */
const LARGEST_X = 127;
const LARGEST_W = 63;
const OFFSET = 64;
/** A block that has nothing larger is zeros. */
const LEAST = 2 ** -100;

/** The codes of one row's block of columns, and their scale. */
function quantiseBlock(values: readonly number[], limit: number): { codes: number[]; scale: number } {
  const allFinite = values.every(Number.isFinite);
  const largest = Math.max(...values.map(Math.abs));
  if (!allFinite || largest < LEAST) {
    return { codes: values.map(() => 0), scale: allFinite ? 0 : Number.NaN };
  }
  const inverse = fround(limit / largest);
  return {
    codes: values.map((value) => roundHalfToEven(fround(value * inverse))),
    scale: fround(largest / limit),
  };
}

function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

function rowOf(view: DataView, x: Rows, row: number): (col: number) => number {
  return (col) => view.getFloat32(x.data + 4 * (row * x.stride + col), true);
}

function blockAt(value: (col: number) => number, col: number, cols: number): number[] {
  return Array.from({ length: Math.min(INT8_BLOCK, cols - col) }, (_, k) => value(col + k));
}

/** arrange() */
export function arrangeInt8(view: DataView, x: Rows, cols: number, out: number): void {
  for (let row = 0; row < x.count; row++) {
    const value = rowOf(view, x, row);
    let to = out + 4 * row * paddedCols(cols);
    for (let col = 0; col < cols; col += INT8_BLOCK) {
      const { codes, scale } = quantiseBlock(blockAt(value, col, cols), LARGEST_X);
      const padded = paddedCols(codes.length);
      const sum = codes.reduce((total, code) => total + code, 0);
      view.setFloat32(to, scale, true);
      view.setInt32(to + 4, -OFFSET * sum, true);
      view.setBigInt64(to + 8, 0n, true);
      for (let k = 0; k < padded; k++) view.setInt8(to + HEADER + k, codes[k] ?? 0);
      to += HEADER + padded;
    }
  }
}

/** quantise() */
export function quantiseInt8(view: DataView, x: Rows, cols: number, out: number): void {
  for (let row = 0; row < Math.ceil(x.count / 4) * 4; row++) {
    const value = row < x.count ? rowOf(view, x, row) : () => 0;
    for (let col = 0; col < cols; col += INT8_BLOCK) {
      const { codes, scale } = quantiseBlock(blockAt(value, col, cols), LARGEST_W);
      const at = blockOf(out, { row, col, cols });
      view.setFloat32(at.scale, scale, true);
      for (let k = 0; k < paddedCols(codes.length); k++) view.setUint8(at.code(k), (codes[k] ?? 0) + OFFSET);
    }
  }
}

/** Where a row's part of a block lies: its scale, and the code of its k-th column. */
function blockOf(
  data: number,
  { row, col, cols }: { row: number; col: number; cols: number },
): { scale: number; code: (k: number) => number } {
  const four = data + Math.floor(row / 4) * int8Bytes(4, cols);
  const block = four + (col / INT8_BLOCK) * (HEADER + 4 * INT8_BLOCK);
  const lane = 4 * (row % 4);
  return {
    scale: block + lane,
    code: (k) => block + HEADER + 16 * Math.floor(k / 4) + lane + (k % 4),
  };
}

/** linear() */
export function linearInt8(
  view: DataView,
  { data, rows, cols }: Weight,
  x: { data: number; count: number },
  out: Rows,
): void {
  for (let row = 0; row < rows; row++) {
    for (let token = 0; token < x.count; token++) {
      let at = x.data + 4 * token * paddedCols(cols);
      let total = 0;
      for (let col = 0; col < cols; col += INT8_BLOCK) {
        const block = blockOf(data, { row, col, cols });
        const width = paddedCols(Math.min(INT8_BLOCK, cols - col));
        let sum = 0;
        for (let k = 0; k < width; k++) {
          sum += (view.getUint8(block.code(k)) - OFFSET) * view.getInt8(at + HEADER + k);
        }
        const scaled = fround(sum * view.getFloat32(block.scale, true));
        total = fround(total + fround(scaled * view.getFloat32(at, true)));
        at += HEADER + width;
      }
      view.setFloat32(out.data + 4 * (token * out.stride + row), total, true);
    }
  }
}

/** dequantise() */
export function dequantiseInt8(
  view: DataView,
  { data, cols }: Weight,
  { from, count }: { from: number; count: number },
  out: number,
): void {
  for (let row = from; row < from + count; row++) {
    for (let col = 0; col < cols; col++) {
      const k = col % INT8_BLOCK;
      const block = blockOf(data, { row, col: col - k, cols });
      const value = (view.getUint8(block.code(k)) - OFFSET) * view.getFloat32(block.scale, true);
      view.setFloat32(out + 4 * ((row - from) * cols + col), value, true);
    }
  }
}
