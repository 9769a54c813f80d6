/**
 * Geometry of block scales: one float32 multiplier per block of rows × columns of a matrix.
 *
 * Blocks at the lower and right edge may be ragged; the scale then covers the elements that exist.
 * Leading dimensions (experts fused into one tensor) repeat the geometry.
 */
import { numElements } from "./dtype.ts";

export interface BlockSize {
  rows: number;
  cols: number;
}

/** DeepSeek's blocks, and the default where config.json names none. */
export const DEFAULT_BLOCK: BlockSize = { rows: 128, cols: 128 };

export interface BlockGrid {
  /** Product of the leading dimensions: how many matrices lie one after another. */
  matrices: number;
  rows: number;
  cols: number;
  blockRows: number;
  blockCols: number;
}

/** The grid of blocks over a tensor of two or more dimensions. */
export function blockGrid(shape: readonly number[], block: BlockSize): BlockGrid {
  const rows = shape.at(-2)!;
  const cols = shape.at(-1)!;
  return {
    matrices: numElements(shape.slice(0, -2)),
    rows,
    cols,
    blockRows: Math.ceil(rows / block.rows),
    blockCols: Math.ceil(cols / block.cols),
  };
}

/** Shape of the scale tensor that belongs to a weight: [⌈rows/128⌉, ⌈cols/128⌉]. */
export function scaleShape(shape: readonly number[], block: BlockSize): number[] {
  const { blockRows, blockCols } = blockGrid(shape, block);
  return [...shape.slice(0, -2), blockRows, blockCols];
}
