/** Reads rows of a matrix to their place in a heap, as they are stored, and looks for numbers that are not finite. */
import { CheckpointError } from "../base/errors.ts";
import type { InferenceKernels } from "../kernels/inference.ts";
import { elementIndex } from "../logical/pieces.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { type FloatDtype, floatSize } from "../tensor/dtype.ts";
import { E5M2_VALUES } from "../tensor/float8.ts";
import type { Load } from "./weights.ts";

/** Where stored rows go. */
export type StoredLoad = Pick<Load, "name" | "from" | "to" | "data" | "byteLength" | "scales">;

/** Throws CheckpointError, also for a value that is not finite. */
export async function loadMatrix(
  load: StoredLoad,
  { source, kernels }: { source: WeightSource; kernels: InferenceKernels },
): Promise<void> {
  const { name, from, to, data, byteLength, scales } = load;
  const { dtype } = source.weights.get(name)!;
  const into =
    dtype === "F8_E5M2" ? new Uint8Array(byteLength) : kernels.bytes.subarray(data, data + byteLength);
  const scaleValues = await source.read(name, { from, to }, into);
  if (dtype === "F8_E5M2") {
    dequantiseE5m2({ codes: into, scales: scaleValues, load, source }, kernels.floats.subarray(data / 4));
  } else if (scaleValues) kernels.floats.set(scaleValues, scales / 4);
  const bad = firstBad(into, dtype);
  if (bad >= 0) throw notFinite(name, from * (byteLength / floatSize(dtype) / (to - from)) + bad, source);
}

/** Rows of E5M2 codes times the scales of their blocks. */
function dequantiseE5m2(
  {
    codes,
    scales,
    load,
    source,
  }: { codes: Uint8Array; scales: Float32Array | undefined; load: StoredLoad; source: WeightSource },
  out: Float32Array,
): void {
  const { rows: blockRows, cols: blockCols } = source.block;
  const cols = codes.length / (load.to - load.from);
  const perRow = Math.ceil(cols / blockCols);
  const firstBlock = Math.floor(load.from / blockRows);
  for (let i = 0; i < codes.length; i++) {
    const row = load.from + Math.floor(i / cols);
    const block = (Math.floor(row / blockRows) - firstBlock) * perRow + Math.floor((i % cols) / blockCols);
    out[i] = E5M2_VALUES[codes[i]!]! * (scales?.[block] ?? 1);
  }
}

/** Index of the first NaN or infinity, or -1. By words of 32 bits: a byte at a time would halve a load's speed. */
export function firstBad(bytes: Uint8Array, dtype: FloatDtype): number {
  const size = floatSize(dtype);
  const count = bytes.byteLength / size;
  const start = Math.floor(firstBadWord(bytes, dtype) * (4 / size));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = start; i < count; i++) if (isBad(view, i, dtype)) return i;
  return -1;
}

/** Index of the first word that holds a bad number; where no word does, of the one behind the last whole word. */
function firstBadWord({ buffer, byteOffset, byteLength }: Uint8Array, dtype: FloatDtype): number {
  if (byteOffset % 4 !== 0) return 0;
  const words = new Int32Array(buffer, byteOffset, byteLength >> 2);
  const { length } = words;
  let i = 0;
  if (dtype === "F32") {
    while (i < length && (words[i]! & 0x7f800000) !== 0x7f800000) i++;
  } else if (dtype === "F8_E4M3") {
    // A byte of 0x7f is the only one (without its sign) that carries into its top bit.
    while (i < length && (((words[i]! & 0x7f7f7f7f) + 0x01010101) & 0x80808080) === 0) i++;
  } else {
    const low = dtype === "BF16" ? 0x7f80 : dtype === "F16" ? 0x7c00 : 0;
    if (low === 0) return 0;
    const high = low << 16;
    while (i < length && (words[i]! & low) !== low && (words[i]! & high) !== high) i++;
  }
  return i;
}

function isBad(view: DataView, index: number, dtype: FloatDtype): boolean {
  if (dtype === "F32") return (view.getUint32(4 * index, true) & 0x7f800000) === 0x7f800000;
  if (dtype === "BF16") return (view.getUint16(2 * index, true) & 0x7f80) === 0x7f80;
  if (dtype === "F16") return (view.getUint16(2 * index, true) & 0x7c00) === 0x7c00;
  return (view.getUint8(index) & 0x7f) >= (dtype === "F8_E4M3" ? 0x7f : 0x7c);
}

export function notFinite(name: string, element: number, source: WeightSource): CheckpointError {
  const { shape } = source.weights.get(name)!;
  return new CheckpointError(
    "not-finite",
    `Cannot use "${name}" of "${source.label}": element [${elementIndex(shape, element).join(", ")}] is not finite, wanted a finite number`,
  );
}
