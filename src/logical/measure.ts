/**
 * How far one logical tensor is from another: the measures of assembly.md section 1.
 *
 * Values are dequantised to float32; differences, squares and sums are float64, in a fixed order, so that
 * the threshold of a build and the table of a comparison see the same number, whatever runs them.
 */
import { type Kernels, type Squares, scratchBytes } from "../kernels/kernels.ts";
import { blockGrid } from "../tensor/block.ts";
import { floatSize, numElements } from "../tensor/dtype.ts";
import type { Heap } from "./heap.ts";
import { loadPiece, placeScales } from "./load.ts";
import type { MergeEnvironment } from "./merge.ts";
import { notFinite, type Operand, readScales } from "./operand.ts";
import { cut, elementIndex, type Piece } from "./pieces.ts";

export type Measure = "rms" | "relative";

export interface Distance extends Squares {
  /** Elements that were looked at: all, or those of the sample. */
  elements: number;
}

export interface MeasureOptions {
  /** Look at this many evenly spaced pieces only. */
  sample?: number;
}

/** Σ(other - base)² and Σ base² over a tensor, in float64. Throws CheckpointError for NaN or infinity. */
export async function measureTensor(
  base: Operand,
  other: Operand,
  environment: MergeEnvironment & { onBytes?: (bytes: number) => void },
  { sample }: MeasureOptions = {},
): Promise<Distance> {
  const { kernels, heap, checkpoint, onBytes } = environment;
  const operands = [base, other];
  const banded = operands.some(({ scale }) => scale !== undefined);
  const start = heap.mark();
  const scales = [
    base.scale && (await readScales(base, kernels, heap)),
    other.scale && (await readScales(other, kernels, heap)),
  ];
  const blocksPerRow = banded ? blockGrid(base.shape, base.block).blockCols : 0;
  const bytesPerElement = floatSize(base.dtype) + floatSize(other.dtype);
  const pieces = cut({ shape: base.shape, block: base.block, banded, bytesPerElement });
  const sums: Distance = { difference: 0, base: 0, elements: 0 };
  for (const piece of sample === undefined ? pieces : evenly([...pieces], sample)) {
    checkpoint?.();
    const mark = heap.mark();
    const inputs = [
      await loadPiece(base, piece, { kernels, heap, weight: 1 }),
      await loadPiece(other, piece, { kernels, heap, weight: 1 }),
    ];
    const scratch = heap.allocate(scratchBytes(piece.cols, piece.blockCols, 2));
    const before = sums.difference + sums.base;
    for (let row = 0, band = piece.band; row < piece.rows; row += piece.bandRows, band++) {
      const bandMark = heap.mark();
      const at = { band, piece, blocksPerRow };
      kernels.measureBand(
        {
          rows: Math.min(piece.bandRows, piece.rows - row),
          cols: piece.cols,
          blockCols: piece.blockCols,
          inputs: inputs.map((input, index) => ({
            ...input,
            data: input.data + row * input.rowBytes,
            scales: scales[index] ? placeScales(scales[index], at, { kernels, heap }) : 0,
          })),
          scratch,
        },
        sums,
      );
      heap.release(bandMark);
    }
    if (!Number.isFinite(sums.difference + sums.base) && Number.isFinite(before)) {
      requireFinite(operands, inputs, piece, kernels);
    }
    sums.elements += piece.rows * piece.cols;
    onBytes?.(piece.rows * piece.cols * bytesPerElement);
    heap.release(mark);
  }
  heap.release(start);
  return sums;
}

/** Sums of finite float32 can still overflow nothing in float64, so a bad sum means a bad element. */
function requireFinite(
  operands: readonly Operand[],
  inputs: readonly { data: number; rowBytes: number }[],
  piece: Piece,
  kernels: Kernels,
): void {
  for (const [index, operand] of operands.entries()) {
    for (let row = 0; row < piece.rows; row++) {
      const { data, rowBytes } = inputs[index]!;
      const col = kernels.firstNonFinite(operand.dtype, data + row * rowBytes, piece.cols);
      if (col < 0) continue;
      const linear = (piece.row + row) * piece.width + piece.col + col;
      throw notFinite(operand, elementIndex(operand.shape, linear), "not finite");
    }
  }
}

function evenly<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.floor(((i + 0.5) * items.length) / count)]!);
}

/** The number a threshold is compared with: a normalised Frobenius norm of the difference. */
export function distanceOf({ difference, base, elements }: Distance, measure: Measure): number {
  if (measure === "rms") return elements === 0 ? 0 : Math.sqrt(difference / elements);
  if (difference === 0) return 0;
  return Math.sqrt(difference / base); // infinity where the base is all zeros
}

/** Elements of a tensor of this shape. */
export function elementsOf(shape: readonly number[]): number {
  return numElements(shape);
}

/**
 * Whether all operands hold the same bytes in weight and scale. Stops at the first difference, so that it
 * costs one piece where tensors differ early, as they do after training.
 */
export async function identical(
  operands: readonly Operand[],
  { kernels, heap, checkpoint }: { kernels: Kernels; heap: Heap; checkpoint?: () => void },
): Promise<boolean> {
  const [first, ...others] = operands as [Operand, ...Operand[]];
  for (const other of others) {
    if (other.dtype !== first.dtype || other.scale?.dtype !== first.scale?.dtype) return false;
    const ranges: [Range, Range][] = [];
    if (first.scale) ranges.push([first.scale, other.scale!]);
    ranges.push([first, other]);
    for (const [a, b] of ranges) {
      if (a.byteLength !== b.byteLength) return false;
      const step = 1 << 20;
      for (let offset = 0; offset < a.byteLength; offset += step) {
        checkpoint?.();
        const length = Math.min(step, a.byteLength - offset);
        const mark = heap.mark();
        const [x, y] = [heap.allocate(length), heap.allocate(length)];
        await a.source.read(kernels.bytes.subarray(x, x + length), a.offset + offset);
        await b.source.read(kernels.bytes.subarray(y, y + length), b.offset + offset);
        const difference = kernels.firstDifference(x, y, length);
        heap.release(mark);
        if (difference >= 0) return false;
      }
    }
  }
  return true;
}

type Range = Pick<Operand, "source" | "offset" | "byteLength">;
