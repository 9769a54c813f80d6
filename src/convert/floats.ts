/** Rows of a source's weights as float32, block scales applied: what is written in another form starts from. */

import { decodeBlocks } from "../gguf/blocks.ts";
import { type RowRange, rowLength, type WeightSource } from "../logical/weight-source.ts";
import { type FloatDtype, floatSize } from "../tensor/dtype.ts";
import { E4M3_VALUES, E5M2_VALUES } from "../tensor/float8.ts";
import type { Part } from "./deepseek2.ts";

/** Elements that are read, decoded and written together, about. */
const STEP = 1 << 20;

/** The elements of a part in order, whole rows at a time. */
export async function* valuesOf(source: WeightSource, part: Part): AsyncGenerator<Float32Array> {
  const weight = source.weights.get(part.weight)!;
  const { from, to } = part.rows ?? { from: 0, to: weight.shape[0]! };
  const cols = rowLength(weight);
  if (part.isTransposed) {
    const values = await readFloats(source, part.weight, { from, to });
    yield transposed(values, { rows: to - from, cols });
    return;
  }
  // Whole blocks, so that no row of scales is read twice; and multiples of 32 for vectors too.
  const step = source.block.rows * Math.max(1, Math.floor(STEP / cols / source.block.rows));
  for (let row = from; row < to; row += step)
    yield await readFloats(source, part.weight, { from: row, to: Math.min(to, row + step) });
}

function transposed(values: Float32Array, { rows, cols }: { rows: number; cols: number }): Float32Array {
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++) out[col * rows + row] = values[row * cols + col]!;
  return out;
}

/** Rows of a weight in float32. */
export async function readFloats(
  source: WeightSource,
  name: string,
  { from, to }: RowRange,
): Promise<Float32Array> {
  const weight = source.weights.get(name)!;
  const cols = rowLength(weight);
  const bytes = new Uint8Array((to - from) * cols * floatSize(weight.dtype));
  const scales = await source.read(name, { from, to }, bytes);
  const decoded = decode(weight.dtype, bytes);
  if (scales === undefined) return decoded;
  const { block } = source;
  const perRow = Math.ceil(cols / block.cols);
  const firstBlock = Math.floor(from / block.rows);
  for (let row = from; row < to; row++) {
    const scaleRow = (Math.floor(row / block.rows) - firstBlock) * perRow;
    const start = (row - from) * cols;
    for (let b = 0; b < perRow; b++) {
      const end = start + Math.min(cols, (b + 1) * block.cols);
      const scale = scales[scaleRow + b]!;
      for (let i = start + b * block.cols; i < end; i++) decoded[i] = decoded[i]! * scale;
    }
  }
  return decoded;
}

function decode(dtype: FloatDtype, bytes: Uint8Array): Float32Array {
  if (dtype !== "F8_E4M3" && dtype !== "F8_E5M2") return decodeBlocks(dtype, bytes);
  const table = dtype === "F8_E4M3" ? E4M3_VALUES : E5M2_VALUES;
  const values = new Float32Array(bytes.length);
  for (let i = 0; i < values.length; i++) values[i] = table[bytes[i]!]!;
  return values;
}
