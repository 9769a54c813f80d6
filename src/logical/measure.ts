/**
 * How far one logical tensor is from another: the measures of assembly.md section 1.
 *
 * Values are dequantised to float32; differences, squares and sums are float64, in a fixed order, so that
 * the threshold of a build and the table of a comparison see the same number, whatever runs them.
 */
import type { Kernels, Squares } from "../kernels/kernels.ts";
import { blockGrid } from "../tensor/block.ts";
import { floatSize, numElements } from "../tensor/dtype.ts";
import type { Heap } from "./heap.ts";
import { allocateSlots, loadPiece, placeScales, widestScratch } from "./load.ts";
import type { MergeEnvironment } from "./merge.ts";
import { explainInput } from "./non-finite.ts";
import { type Operand, readScales } from "./operand.ts";
import { cut, type Piece } from "./pieces.ts";
import { allEnded, readAhead } from "./read-ahead.ts";

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
  const all = [...cut({ shape: base.shape, block: base.block, banded, bytesPerElement })];
  const pieces = sample === undefined ? all : evenly(all, sample);
  const slots = allocateSlots(operands, all[0], heap);
  const scratch = heap.allocate(widestScratch(all, operands.length));
  const load = (piece: Piece, slot: 0 | 1) =>
    allEnded(
      operands.map((operand, i) => loadPiece(operand, piece, { kernels, data: slots[slot][i]!, weight: 1 })),
    );
  const sums: Distance = { difference: 0, base: 0, elements: 0 };
  try {
    for await (const { item: piece, loaded: inputs } of readAhead(pieces, load)) {
      checkpoint?.();
      for (let row = 0, band = piece.band; row < piece.rows; row += piece.bandRows, band++) {
        const bandMark = heap.mark();
        const at = { band, piece, blocksPerRow };
        const work = {
          rows: Math.min(piece.bandRows, piece.rows - row),
          cols: piece.cols,
          blockCols: piece.blockCols,
          inputs: inputs.map((input, index) => ({
            ...input,
            data: input.data + row * input.rowBytes,
            scales: scales[index] ? placeScales(scales[index], at, { kernels, heap }) : 0,
          })),
          scratch,
        };
        kernels.measureBand(work, sums);
        // Squares of finite float32 cannot leave float64, so a bad sum means a bad element.
        if (!Number.isFinite(sums.difference + sums.base)) {
          const internal = new Error(`internal: measuring "${base.name}" failed and every element is finite`);
          throw explainInput(operands, work, { piece, row, kernels }) ?? internal;
        }
        heap.release(bandMark);
      }
      sums.elements += piece.rows * piece.cols;
      onBytes?.(piece.rows * piece.cols * bytesPerElement);
    }
  } finally {
    heap.release(start);
  }
  return sums;
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
