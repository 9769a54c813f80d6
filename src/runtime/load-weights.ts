/** Reads a rank's weights to where they were placed: straight into its heap, checked on the way. */
import { CheckpointError } from "../base/errors.ts";
import type { InferenceKernels } from "../kernels/inference.ts";
import { elementIndex } from "../logical/pieces.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { type FloatDtype, floatSize } from "../tensor/dtype.ts";
import { E5M2_VALUES } from "../tensor/float8.ts";
import { decodeBf16, decodeF16, encodeF16 } from "../tensor/float16.ts";
import { dtypeInHeap, type Load } from "./weights.ts";

export interface LoadOptions {
  source: WeightSource;
  kernels: InferenceKernels;
  onBytes?: (bytes: number) => void;
}

/** Throws CheckpointError, also for a value that is not finite. */
export async function loadWeights(loads: readonly Load[], options: LoadOptions): Promise<void> {
  for (const load of loads) {
    if (load.as === "vector") await loadVector(load, options);
    else await loadMatrix(load, options);
    options.onBytes?.(load.byteLength);
  }
}

async function loadVector({ name, from, to, data, byteLength }: Load, options: LoadOptions): Promise<void> {
  const { source, kernels } = options;
  const { dtype } = source.weights.get(name)!;
  const bytes = new Uint8Array(byteLength);
  await source.read(name, { from, to }, bytes);
  const values = widenVector(bytes, dtype);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw notFinite(name, bad, source);
  kernels.floats.set(values, data / 4);
}

export function widenVector(bytes: Uint8Array, dtype: FloatDtype): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.byteLength / floatSize(dtype);
  return Float32Array.from({ length: count }, (_, i) => {
    if (dtype === "F32") return view.getFloat32(4 * i, true);
    if (dtype === "BF16") return decodeBf16(view.getUint16(2 * i, true));
    if (dtype === "F16") return decodeF16(view.getUint16(2 * i, true));
    throw new Error(`internal: a vector in ${dtype}`);
  });
}

/** As loadWeights(), one matrix. */
export async function loadMatrix(load: Load, { source, kernels }: LoadOptions): Promise<void> {
  const { name, from, to, data, byteLength, scales } = load;
  const stored = source.weights.get(name)!;
  const { dtype } = stored;
  const isWidened = dtypeInHeap(stored) !== dtype;
  const into = isWidened ? new Uint8Array(byteLength) : kernels.bytes.subarray(data, data + byteLength);
  const scaleValues = await source.read(name, { from, to }, into);
  if (isWidened) widenE5m2(into, { load, source, kernels, scales: scaleValues });
  else if (scaleValues) kernels.floats.set(scaleValues, scales / 4);
  const bad = firstBad(into, dtype);
  if (bad >= 0) throw notFinite(name, from * (byteLength / floatSize(dtype) / (to - from)) + bad, source);
}

/** E5M2 codes of some rows -> F16 in the heap, or with block scales float32, rounded once. */
function widenE5m2(
  codes: Uint8Array,
  { load, source, kernels, scales }: LoadOptions & { load: Load; scales: Float32Array | undefined },
): void {
  const { data, from, to } = load;
  const { buffer, byteOffset } = kernels.bytes;
  if (!scales) {
    const halves = new Uint16Array(buffer, byteOffset + data, codes.length);
    for (let i = 0; i < codes.length; i++) halves[i] = encodeF16(E5M2_VALUES[codes[i]!]!);
    return;
  }
  const floats = new Float32Array(buffer, byteOffset + data, codes.length);
  const { block } = source;
  const cols = codes.length / (to - from);
  const perRow = Math.ceil(cols / block.cols);
  const firstBlock = Math.floor(from / block.rows);
  for (let row = from; row < to; row++) {
    const scaleRow = (Math.floor(row / block.rows) - firstBlock) * perRow;
    for (let col = 0; col < cols; col++) {
      const at = (row - from) * cols + col;
      floats[at] = E5M2_VALUES[codes[at]!]! * scales[scaleRow + Math.floor(col / block.cols)]!;
    }
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
