/** Reading pieces of operands into the heap. */
import { type BandInput, type Kernels, scratchBytes } from "../kernels/kernels.ts";
import { floatSize } from "../tensor/dtype.ts";
import type { Heap } from "./heap.ts";
import type { Operand } from "./operand.ts";
import type { Piece } from "./pieces.ts";

/** Reads the piece's rows to `data` in the heap. `scales` stay 0: they belong to a band. */
export async function loadPiece(
  operand: Operand,
  piece: Piece,
  { kernels, data, weight }: { kernels: Kernels; data: number; weight: number },
): Promise<BandInput> {
  const size = floatSize(operand.dtype);
  const rowBytes = piece.cols * size;
  const input: BandInput = { dtype: operand.dtype, data, rowBytes, scales: 0, weight };
  for (const [from, to, length] of segments(piece, size)) {
    await operand.source.read(kernels.bytes.subarray(data + to, data + to + length), operand.offset + from);
  }
  return input;
}

/** [offset in the tensor, offset in the piece, length] of each contiguous run of a piece, in bytes. */
export function* segments(piece: Piece, size: number): Generator<[number, number, number]> {
  const { row, rows, col, cols, width } = piece;
  // The last line of a tensor without bands is short, and contiguous all the same.
  if (cols === width || rows === 1) {
    yield [(row * width + col) * size, 0, rows * cols * size];
    return;
  }
  for (let r = 0; r < rows; r++) yield [((row + r) * width + col) * size, r * cols * size, cols * size];
}

/** Copies the scales of one band's columns into the heap as float32; returns their offset. */
export function placeScales(
  scales: Float32Array,
  { band, piece, blocksPerRow }: { band: number; piece: Piece; blocksPerRow: number },
  { kernels, heap }: { kernels: Kernels; heap: Heap },
): number {
  const first = band * blocksPerRow + Math.floor(piece.col / piece.blockCols);
  const count = Math.ceil(piece.cols / piece.blockCols);
  const at = heap.allocate(4 * count);
  const { buffer, byteOffset } = kernels.bytes;
  new Float32Array(buffer, byteOffset + at, count).set(scales.subarray(first, first + count));
  return at;
}

/** Room for the pieces of all operands in both slots, by the largest piece, which comes first. */
export function allocateSlots(
  operands: readonly Operand[],
  first: Piece | undefined,
  heap: Heap,
): [number[], number[]] {
  const elements = first ? first.rows * first.cols : 0;
  const slot = () => operands.map(({ dtype }) => heap.allocate(elements * floatSize(dtype)));
  return [slot(), slot()];
}

/** Scratch for the widest of the pieces. */
export function widestScratch(pieces: readonly Piece[], numInputs: number): number {
  return pieces.reduce(
    (most, { cols, blockCols }) => Math.max(most, scratchBytes(cols, blockCols, numInputs)),
    0,
  );
}
