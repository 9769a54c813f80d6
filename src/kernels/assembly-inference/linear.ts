// Activations times a weight as it lies on disk: the body for a number of tokens.

import { BF16, E4M3, F16 } from "../assembly/codec";
import { pairBf16, pairE4m3, pairF16, pairF32 } from "./pair";
import { singleBf16, singleE4m3, singleF16, singleF32 } from "./single";
import { MAX_TILE_COLS, linearTiled } from "./tile";

/**
 * How many tokens go in pairs, faster than through a tile. A tile is written before it is used, and while it
 * is decoded from memory nothing is multiplied; a pair decodes its weights again. F16 is dear to decode.
 */
// @ts-ignore: decorator
@inline
function mostInPairs(dtype: i32): i32 {
  return dtype == E4M3 ? 4 : dtype == F16 ? 2 : 7;
}

/**
 * blockCols: 128 where there are no scales. strideOut in bytes. scratch: scratchBytes() of it, or 0 where a
 * heap has no room: tokens then go in pairs.
 */
export function linear(
  dtype: i32, data: usize, rows: i32, cols: i32,
  scales: usize, blockRows: i32, blockCols: i32, firstRow: i32,
  x: usize, count: i32, out: usize, strideOut: usize, scratch: usize,
): void {
  if (count > mostInPairs(dtype) && scratch != 0 && blockCols <= MAX_TILE_COLS) {
    linearTiled(
      dtype, data, rows, cols, scales, blockRows, blockCols, firstRow, x, count, out, strideOut, scratch,
    );
    return;
  }
  const strideX = <usize>((cols + 15) & ~15) << 2;
  let token = 0;
  for (; token + 2 <= count; token += 2, x += strideX << 1, out += strideOut << 1) {
    const y = x + strideX;
    const outY = out + strideOut;
    if (dtype == E4M3) pairE4m3(data, rows, cols, scales, blockRows, blockCols, firstRow, x, y, out, outY);
    else if (dtype == BF16) pairBf16(data, rows, cols, blockCols, x, y, out, outY);
    else if (dtype == F16) pairF16(data, rows, cols, blockCols, x, y, out, outY);
    else pairF32(data, rows, cols, blockCols, x, y, out, outY);
  }
  if (token == count) return;
  if (dtype == E4M3) singleE4m3(data, rows, cols, scales, blockRows, blockCols, firstRow, x, out);
  else if (dtype == BF16) singleBf16(data, rows, cols, blockCols, x, out);
  else if (dtype == F16) singleF16(data, rows, cols, blockCols, x, out);
  else singleF32(data, rows, cols, blockCols, x, out);
}
