/**
 * The compute path for one logical tensor: the weighted sum of n operands as a stream of pieces.
 *
 * Nothing is written here: each finished piece of the result is handed to the caller, who writes it,
 * compares it or keeps it. Arithmetic and order are the kernels' (assembly.md section 2), so bytes do not
 * depend on how the tensor is cut.
 */
import { BuildError } from "../base/errors.ts";
import { type Band, type BandInput, type Kernels, scratchBytes } from "../kernels/kernels.ts";
import { type BlockSize, blockGrid } from "../tensor/block.ts";
import { floatSize, numElements } from "../tensor/dtype.ts";
import type { Heap } from "./heap.ts";
import { loadPiece, placeScales, segments } from "./load.ts";
import { notFinite, type Operand, readScales } from "./operand.ts";
import { cut, elementIndex, type Piece } from "./pieces.ts";

/** Takes `bytes` (a view of the heap, valid until the promise settles) at `offset` of the tensor. */
export type Emit = (bytes: Uint8Array, offset: number) => Promise<void>;

export interface MergeResultType {
  dtype: "F32" | "BF16" | "F16" | "F8_E4M3";
  block: BlockSize;
  /** New scales are rounded up to powers of two (scale_fmt "ue8m0"). */
  powerOfTwo: boolean;
}

export interface MergeEnvironment {
  kernels: Kernels;
  heap: Heap;
  /** Called before each piece; throws to stop. */
  checkpoint?: () => void;
}

/**
 * Σ λᵢ·operandᵢ in the order given. Weights of 0 must have been left out.
 * Emits the result in order of its bytes (strips of very wide matrices: row segments band by band) and
 * returns the new block scales for an FP8 result, row-major, else undefined.
 * Throws CheckpointError or BuildError, naming tensor, parent and element, for a value that is not finite.
 */
export async function mergeTensor(
  operands: readonly Operand[],
  weights: readonly number[],
  result: MergeResultType,
  environment: MergeEnvironment & { emit: Emit },
): Promise<Float32Array | undefined> {
  const { kernels, heap, emit, checkpoint } = environment;
  const { shape } = operands[0]!;
  const quantised = result.dtype === "F8_E4M3";
  const banded = quantised || operands.some(({ scale }) => scale !== undefined);
  const size = floatSize(result.dtype);
  const bytesPerElement = operands.reduce<number>((sum, { dtype }) => sum + floatSize(dtype), size);
  const start = heap.mark();
  const scales = await Promise.all(
    operands.map((operand) => (operand.scale ? readScales(operand, kernels, heap) : undefined)),
  );
  const grid = banded ? blockGrid(shape, result.block) : undefined;
  const blocksPerRow = grid?.blockCols ?? 0;
  const newScales = quantised ? new Float32Array(grid!.matrices * grid!.blockRows * grid!.blockCols) : undefined;

  for (const piece of cut({ shape, block: result.block, banded, bytesPerElement })) {
    checkpoint?.();
    const mark = heap.mark();
    const inputs: BandInput[] = [];
    for (const [index, operand] of operands.entries()) {
      inputs.push(await loadPiece(operand, piece, { kernels, heap, weight: weights[index]! }));
    }
    const rowBytes = piece.cols * size;
    const out = heap.allocate(piece.rows * rowBytes);
    const scratch = heap.allocate(scratchBytes(piece.cols, piece.blockCols, inputs.length));
    for (let row = 0, band = piece.band; row < piece.rows; row += piece.bandRows, band++) {
      const bandMark = heap.mark();
      const at = { band, piece, blocksPerRow };
      const numBlocks = Math.ceil(piece.cols / piece.blockCols);
      const work: Band = {
        rows: Math.min(piece.bandRows, piece.rows - row),
        cols: piece.cols,
        blockCols: piece.blockCols,
        inputs: inputs.map((input, index) => ({
          ...input,
          data: input.data + row * input.rowBytes,
          scales: scales[index] ? placeScales(scales[index], at, { kernels, heap }) : 0,
        })),
        output: {
          dtype: result.dtype,
          data: out + row * rowBytes,
          rowBytes,
          scales: quantised ? heap.allocate(4 * numBlocks) : 0,
          powerOfTwo: result.powerOfTwo,
        },
        scratch,
      };
      if (!kernels.mergeBand(work)) {
        throw explainNonFinite(operands, work, piece, { row, kernels, dtype: result.dtype });
      }
      if (newScales) {
        const view = new Float32Array(kernels.bytes.buffer, kernels.bytes.byteOffset + work.output.scales, numBlocks);
        newScales.set(view, band * blocksPerRow + Math.floor(piece.col / piece.blockCols));
      }
      heap.release(bandMark);
    }
    for (const [offset, within, length] of segments(piece, size)) {
      await emit(kernels.bytes.subarray(out + within, out + within + length), offset);
    }
    heap.release(mark);
  }
  heap.release(start);
  return newScales;
}

/** Finds what was not finite: an element of a parent, or else the result. */
function explainNonFinite(
  operands: readonly Operand[],
  band: Band,
  piece: Piece,
  { row, kernels, dtype }: { row: number; kernels: Kernels; dtype: string },
): Error {
  const { shape } = operands[0]!;
  const linear = (r: number, c: number) => (piece.row + row + r) * piece.width + piece.col + c;
  for (const [index, operand] of operands.entries()) {
    const input = band.inputs[index]!;
    for (let r = 0; r < band.rows; r++) {
      const col = kernels.firstNonFinite(operand.dtype, input.data + r * input.rowBytes, band.cols);
      if (col >= 0) return notFinite(operand, elementIndex(shape, linear(r, col)), "not finite");
    }
  }
  const first = elementIndex(shape, linear(0, 0));
  const last = elementIndex(shape, linear(band.rows - 1, band.cols - 1));
  const where = `between elements [${first.join(", ")}] and [${last.join(", ")}]`;
  return new BuildError(
    "not-finite",
    `Cannot merge "${operands[0]!.name}": a result ${where} is beyond the range of ${dtype}, wanted a finite number`,
    { note: "All parents are finite there; weights or scales are too large" },
  );
}

/** Bytes that merging reads from an operand: its weight and its scales. */
export function operandBytes(operand: Pick<Operand, "byteLength" | "scale">): number {
  return operand.byteLength + (operand.scale?.byteLength ?? 0);
}

/** Elements of an operand. */
export function operandElements(operand: Pick<Operand, "shape">): number {
  return numElements(operand.shape);
}
