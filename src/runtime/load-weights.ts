/** Reads a rank's weights to where they were placed: straight into its heap, checked on the way. */
import { CheckpointError } from "../base/errors.ts";
import { type InferenceKernels, int8Bytes, type Weight } from "../kernels/inference.ts";
import { elementIndex } from "../logical/pieces.ts";
import { rowLength, type StoredWeight, type WeightSource } from "../logical/weight-source.ts";
import { type FloatDtype, floatSize } from "../tensor/dtype.ts";
import { E5M2_VALUES } from "../tensor/float8.ts";
import { decodeBf16, decodeF16, encodeF16 } from "../tensor/float16.ts";
import type { Arena } from "./arena.ts";
import { type Load, OVERREAD } from "./weights.ts";

export interface LoadOptions {
  source: WeightSource;
  kernels: InferenceKernels;
  /** Where rows lie before they are INT8; undefined when there are none. */
  scratch?: Int8Scratch | undefined;
  /** Told how many bytes of the heap are loaded. */
  onBytes?: (bytes: number) => void;
}

/** Throws CheckpointError, also for a value that is not finite. */
export async function loadWeights(loads: readonly Load[], options: LoadOptions): Promise<void> {
  for (const load of loads) {
    if (load.as === "vector") await loadVector(load, options);
    else if (load.as === "int8") await loadInt8(load, options);
    else await loadMatrix(load, options);
    options.onBytes?.(load.heapBytes);
  }
}

/** Where stored rows go. */
type StoredLoad = Pick<Load, "name" | "from" | "to" | "data" | "byteLength" | "scales">;

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

async function loadMatrix(load: StoredLoad, { source, kernels }: LoadOptions): Promise<void> {
  const { name, from, to, data, byteLength, scales } = load;
  const { dtype } = source.weights.get(name)!;
  const into =
    dtype === "F8_E5M2" ? new Uint8Array(byteLength) : kernels.bytes.subarray(data, data + byteLength);
  const scaleValues = await source.read(name, { from, to }, into);
  if (scaleValues) kernels.floats.set(scaleValues, scales / 4);
  if (dtype === "F8_E5M2") {
    const halves = new Uint16Array(kernels.bytes.buffer, kernels.bytes.byteOffset + data, byteLength);
    for (let i = 0; i < byteLength; i++) halves[i] = encodeF16(E5M2_VALUES[into[i]!]!);
  }
  const bad = firstBad(into, dtype);
  if (bad >= 0) throw notFinite(name, from * (byteLength / floatSize(dtype) / (to - from)) + bad, source);
}

/** Some rows after the others: as they are stored, four of them as float32, INT8. */
async function loadInt8(load: Load, options: LoadOptions): Promise<void> {
  const { source, kernels, scratch } = options;
  if (scratch === undefined) throw new Error("internal: no scratch for INT8");
  const stored = source.weights.get(load.name)!;
  const cols = rowLength(stored);
  const step = rowsAtOnce(load, stored);
  for (let from = load.from; from < load.to; from += step) {
    const to = Math.min(from + step, load.to);
    const byteLength = (to - from) * cols * floatSize(stored.dtype);
    const scales = stored.hasScale ? scratch.scales : 0;
    await loadMatrix({ name: load.name, from, to, data: scratch.stored, byteLength, scales }, options);
    const { rows: blockRows, cols: blockCols } = source.block;
    const weight: Weight = {
      dtype: stored.dtype === "F8_E5M2" ? "F16" : stored.dtype,
      ...{ data: scratch.stored, rows: to - from, cols, scales, blockRows, blockCols, firstRow: from },
    };
    for (let row = 0; row < to - from; row += 4) {
      const count = Math.min(4, to - from - row);
      kernels.dequantise(weight, { from: row, count }, scratch.floats);
      const out = load.data + int8Bytes(from - load.from + row, cols);
      kernels.quantise({ data: scratch.floats, count, stride: cols }, cols, out);
    }
  }
}

/** Places in the heap for rows that become INT8. */
export interface Int8Scratch {
  stored: number;
  scales: number;
  /** Four rows of float32. */
  floats: number;
}

/** Stored bytes that are converted together, unless 128 rows are more. */
const STEP_BYTES = 4 << 20;
/** A recipe's rows are assembled by bands of this height: a part of one would be assembled twice. */
const BAND_ROWS = 128;

/** A multiple of four, so that each step begins a four of rows. */
function rowsAtOnce({ from, to }: Load, stored: StoredWeight): number {
  const bands = Math.floor(STEP_BYTES / (rowLength(stored) * floatSize(stored.dtype) * BAND_ROWS));
  return Math.min(Math.max(1, bands) * BAND_ROWS, Math.ceil((to - from) / 4) * 4);
}

/** Room for the largest step of these loads; undefined when none of them becomes INT8. */
export function placeInt8Scratch(
  loads: readonly Load[],
  { source, arena }: { source: Pick<WeightSource, "weights" | "block">; arena: Arena },
): Int8Scratch | undefined {
  let [storedBytes, scales, widest] = [0, 0, 0];
  for (const load of loads) {
    if (load.as !== "int8") continue;
    const stored = source.weights.get(load.name)!;
    const [rows, cols] = [rowsAtOnce(load, stored), rowLength(stored)];
    const size = stored.dtype === "F8_E5M2" ? 2 : floatSize(stored.dtype);
    storedBytes = Math.max(storedBytes, rows * cols * size);
    const { rows: blockRows, cols: blockCols } = source.block;
    scales = Math.max(scales, (Math.ceil(rows / blockRows) + 1) * Math.ceil(cols / blockCols));
    widest = Math.max(widest, cols);
  }
  if (widest === 0) return undefined;
  const stored = arena.allocate(storedBytes + OVERREAD);
  return { stored, scales: arena.floats(scales), floats: arena.floats(4 * widest) };
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

function notFinite(name: string, element: number, source: WeightSource): CheckpointError {
  const { shape } = source.weights.get(name)!;
  return new CheckpointError(
    "not-finite",
    `Cannot use "${name}" of "${source.label}": element [${elementIndex(shape, element).join(", ")}] is not finite, wanted a finite number`,
  );
}
