/** Writing a checkpoint as GGUF, some rows at a time: memory does not grow with the model. */
import { closeSync, openSync, writeSync } from "node:fs";
import { modelConfigOf } from "../../src/arch/model-config.ts";
import {
  openReference,
  rowLength,
  type WeightReference,
  type WeightSource,
} from "../../src/logical/weight-source.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import { floatSize } from "../../src/tensor/dtype.ts";
import { E4M3_VALUES, E5M2_VALUES } from "../../src/tensor/float8.ts";
import { decodeF16 } from "../../src/tensor/float16.ts";
import { aligned, byteLengthOf, encodeHeader, type TensorType } from "./container.ts";
import { metadataOf, type Part, tensorsOf } from "./deepseek2.ts";
import { encodeElements } from "./encode.ts";

/** Elements that are read, decoded and written together, about. */
const STEP = 1 << 20;

/** Writes the model into a new file. Returns its length. Throws RangeError for what the format cannot say. */
export async function writeGguf(
  path: string,
  { reference, type }: { reference: WeightReference; type: TensorType },
): Promise<number> {
  const source = await openReference(reference);
  try {
    const config = modelConfigOf(source.config);
    if ("problems" in config) throw new RangeError(config.problems.map(({ message }) => message).join("\n"));
    const tensors = tensorsOf(config, type);
    const fd = openSync(path, "wx");
    try {
      let position = 0;
      const write = (bytes: Uint8Array): void => {
        for (let done = 0; done < bytes.length; )
          done += writeSync(fd, bytes, done, bytes.length - done, position + done);
        position += bytes.length;
      };
      write(encodeHeader(metadataOf(config, type), tensors));
      for (const tensor of tensors) {
        const end = position + byteLengthOf(tensor);
        for (const part of tensor.parts)
          for await (const values of valuesOf(source, part)) write(encodeElements(tensor.type, values));
        if (position !== end) {
          throw new Error(
            `internal: "${tensor.name}" ended at byte ${position} instead of ${end}: its parts do not give its shape`,
          );
        }
        write(new Uint8Array(aligned(end) - end));
      }
      return position;
    } finally {
      closeSync(fd);
    }
  } finally {
    await source.close();
  }
}

/** The elements of a part in order, whole rows at a time. */
async function* valuesOf(source: WeightSource, part: Part): AsyncGenerator<Float32Array> {
  const weight = source.weights.get(part.weight);
  if (weight === undefined) throw new RangeError(`Cannot write "${part.weight}": it is missing`);
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

/** Rows of a weight in float32, block scales applied. */
export async function readFloats(
  source: WeightSource,
  name: string,
  { from, to }: { from: number; to: number },
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
      scaleRange(decoded, { from: start + b * block.cols, to: end }, scales[scaleRow + b]!);
    }
  }
  return decoded;
}

function scaleRange(values: Float32Array, { from, to }: { from: number; to: number }, scale: number): void {
  for (let i = from; i < to; i++) values[i] = values[i]! * scale;
}

function decode(dtype: FloatDtype, bytes: Uint8Array): Float32Array {
  if (dtype === "F32") return new Float32Array(bytes.buffer);
  if (dtype === "F8_E4M3" || dtype === "F8_E5M2") {
    const table = dtype === "F8_E4M3" ? E4M3_VALUES : E5M2_VALUES;
    const values = new Float32Array(bytes.length);
    for (let i = 0; i < values.length; i++) values[i] = table[bytes[i]!]!;
    return values;
  }
  const codes = new Uint16Array(bytes.buffer);
  if (dtype === "F16") return Float32Array.from(codes, decodeF16);
  const words = new Uint32Array(codes.length);
  for (let i = 0; i < words.length; i++) words[i] = codes[i]! << 16;
  return new Float32Array(words.buffer);
}
