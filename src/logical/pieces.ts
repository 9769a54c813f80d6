/**
 * How a tensor is cut for streaming: pieces that are read, computed and written one after another.
 *
 * Where block scales take part, a piece is a run of whole bands (the rows that share a row of blocks) over
 * the full width, so that reads and writes are contiguous. A band too wide for the budget is cut into
 * strips of whole blocks. Without scales a tensor is a line of elements, taken in rows of ROW.
 */
import { type BlockSize, blockGrid } from "../tensor/block.ts";
import { numElements } from "../tensor/dtype.ts";
import { BAND_LIMIT_BYTES, PIECE_BYTES } from "./heap.ts";

/** Elements per row where the shape does not matter. Short rows keep the sums in the L1 cache. */
export const ROW = 2048;

export interface Piece {
  /** First row, counted over all matrices of the tensor, and number of rows. */
  row: number;
  rows: number;
  /** First column and number of columns. The full width but in strips. */
  col: number;
  cols: number;
  /** Elements of a whole row: a piece is contiguous when it has them all. */
  width: number;
  /** Rows per band; the last band of each matrix may have fewer. */
  bandRows: number;
  /** Index of the first band, counted over all matrices. */
  band: number;
  /** Columns per scale block. */
  blockCols: number;
}

export interface CutOptions {
  shape: readonly number[];
  block: BlockSize;
  /** Whether block scales take part: on any input or on the result. */
  banded: boolean;
  /** Bytes per element, summed over everything that lies in the heap at once. */
  bytesPerElement: number;
}

/** The pieces of a tensor, in the order of its bytes (strips: band by band). */
export function* cut({ shape, block, banded, bytesPerElement }: CutOptions): Generator<Piece> {
  const total = numElements(shape);
  if (total === 0) return;
  if (!banded) {
    const rowsPerPiece = Math.max(1, Math.floor(PIECE_BYTES / (ROW * bytesPerElement)));
    const whole = Math.floor(total / ROW);
    const common = { col: 0, cols: ROW, width: ROW, band: 0, blockCols: ROW };
    for (let row = 0; row < whole; row += rowsPerPiece) {
      const rows = Math.min(rowsPerPiece, whole - row);
      yield { ...common, row, rows, bandRows: rows };
    }
    const rest = total - whole * ROW;
    if (rest > 0) yield { ...common, row: whole, rows: 1, bandRows: 1, cols: rest, blockCols: rest };
    return;
  }
  const grid = blockGrid(shape, block);
  const columnBytes = bytesPerColumn(grid.rows, { block, bytesPerElement });
  const bandBytes = grid.cols * columnBytes;
  const common = { width: grid.cols, bandRows: block.rows, blockCols: block.cols };
  const bandsPerPiece = Math.max(1, Math.floor(PIECE_BYTES / bandBytes));
  for (let matrix = 0; matrix < grid.matrices; matrix++) {
    const firstRow = matrix * grid.rows;
    for (let band = 0; band < grid.blockRows; band += bandsPerPiece) {
      const row = band * block.rows;
      const rows = Math.min(bandsPerPiece * block.rows, grid.rows - row);
      const at = { ...common, row: firstRow + row, rows, band: matrix * grid.blockRows + band };
      if (bandBytes <= BAND_LIMIT_BYTES) {
        yield { ...at, col: 0, cols: grid.cols };
        continue;
      }
      const fitting = BAND_LIMIT_BYTES / (columnBytes * block.cols);
      const strip = Math.max(1, Math.floor(fitting)) * block.cols;
      for (let col = 0; col < grid.cols; col += strip) {
        yield { ...at, col, cols: Math.min(strip, grid.cols - col) };
      }
    }
  }
}

/** What a column of a band takes of the heap: elements, scratch (scratchBytes()) and everyone's scales. */
function bytesPerColumn(
  rows: number,
  { block, bytesPerElement }: Omit<CutOptions, "shape" | "banded">,
): number {
  const scales = (8 * (bytesPerElement + 1)) / block.cols; // no more operands than bytes per element
  return Math.min(block.rows, rows) * bytesPerElement + 8 + scales;
}

/** Whether the smallest piece of a tensor fits the heap: a scale block is never cut. */
export function fitsHeap({ shape, block, banded, bytesPerElement }: CutOptions): boolean {
  if (!banded) return ROW * (bytesPerElement + 8) <= BAND_LIMIT_BYTES;
  const { rows, cols } = blockGrid(shape, block);
  return Math.min(block.cols, cols) * bytesPerColumn(rows, { block, bytesPerElement }) <= BAND_LIMIT_BYTES;
}

/** Row and column indices of an element, as the tensor's shape counts them. */
export function elementIndex(shape: readonly number[], linear: number): number[] {
  const index: number[] = [];
  let rest = linear;
  for (const dim of [...shape].reverse()) {
    index.unshift(rest % dim);
    rest = Math.floor(rest / dim);
  }
  return index;
}
