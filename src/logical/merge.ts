/**
 * The compute path for one logical tensor: the weighted sum of n operands as a stream of pieces.
 *
 * Nothing is written here: each finished piece of the result is handed to the caller, who writes it,
 * compares it or keeps it. Arithmetic and order are the kernels' (assembly.md section 2), so bytes do not
 * depend on how the tensor is cut.
 */
import type { Band, Kernels } from "../kernels/kernels.ts";
import { type BlockSize, blockGrid } from "../tensor/block.ts";
import { floatSize, numElements } from "../tensor/dtype.ts";
import type { Heap } from "./heap.ts";
import { allocateSlots, loadPiece, placeScales, segments, widestScratch } from "./load.ts";
import { explainResult } from "./non-finite.ts";
import { type Operand, readScales } from "./operand.ts";
import { cut, type Piece } from "./pieces.ts";
import { allEnded, PendingWrites, readAhead } from "./read-ahead.ts";

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
  const scales: (Float32Array | undefined)[] = [];
  // One after another: they share the heap, which is a stack.
  for (const operand of operands) scales.push(operand.scale && (await readScales(operand, kernels, heap)));
  const grid = banded ? blockGrid(shape, result.block) : undefined;
  const blocksPerRow = grid?.blockCols ?? 0;
  const newScales = quantised
    ? new Float32Array(grid!.matrices * grid!.blockRows * grid!.blockCols)
    : undefined;

  const pieces = [...cut({ shape, block: result.block, banded, bytesPerElement })];
  const slots = allocateSlots(operands, pieces[0], heap);
  const outBytes = (pieces[0]?.rows ?? 0) * (pieces[0]?.cols ?? 0) * size;
  const outs = [heap.allocate(outBytes), heap.allocate(outBytes)] as const;
  const scratch = heap.allocate(widestScratch(pieces, operands.length));
  const writes = new PendingWrites();
  const load = (piece: Piece, slot: 0 | 1) =>
    allEnded(
      operands.map((operand, index) =>
        loadPiece(operand, piece, { kernels, data: slots[slot][index]!, weight: weights[index]! }),
      ),
    );
  try {
    for await (const { item: piece, loaded: inputs, slot } of readAhead(pieces, load)) {
      checkpoint?.();
      await writes.free(slot);
      const out = outs[slot];
      const rowBytes = piece.cols * size;
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
        if (!kernels.mergeBand(work)) throw explainResult(operands, work, { piece, row, kernels });
        if (newScales) {
          const { buffer, byteOffset } = kernels.bytes;
          const view = new Float32Array(buffer, byteOffset + work.output.scales, numBlocks);
          newScales.set(view, band * blocksPerRow + Math.floor(piece.col / piece.blockCols));
        }
        heap.release(bandMark);
      }
      writes.add(slot, emitPiece(piece, { kernels, emit, out, size }));
    }
    await writes.all();
  } finally {
    await writes.settle();
    heap.release(start);
  }
  return newScales;
}

async function emitPiece(
  piece: Piece,
  { kernels, emit, out, size }: { kernels: Kernels; emit: Emit; out: number; size: number },
): Promise<void> {
  for (const [offset, within, length] of segments(piece, size)) {
    await emit(kernels.bytes.subarray(out + within, out + within + length), offset);
  }
}

/** Bytes that merging reads from an operand: its weight and its scales. */
export function operandBytes(operand: Pick<Operand, "byteLength" | "scale">): number {
  return operand.byteLength + (operand.scale?.byteLength ?? 0);
}

/** Elements of an operand. */
export function operandElements(operand: Pick<Operand, "shape">): number {
  return numElements(operand.shape);
}
