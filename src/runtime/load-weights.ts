/** Reads a rank's weights to where they were placed: straight into its heap, checked on the way. */
import { CheckpointError } from "../base/errors.ts";
import type { InferenceKernels } from "../kernels/inference.ts";
import { elementIndex } from "../logical/pieces.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { type FloatDtype, floatSize } from "../tensor/dtype.ts";
import { E5M2_VALUES } from "../tensor/float8.ts";
import { decodeBf16, decodeF16, encodeF16 } from "../tensor/float16.ts";
import type { Load } from "./weights.ts";

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

async function loadMatrix(load: Load, { source, kernels }: LoadOptions): Promise<void> {
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

/** Index of the first NaN or infinity, or -1. Whole words are looked at: a load is bound by the disk. */
function firstBad(bytes: Uint8Array, dtype: FloatDtype): number {
  const { buffer, byteOffset, byteLength } = bytes;
  if (dtype === "F32") {
    const words = new Uint32Array(buffer, byteOffset, byteLength / 4);
    for (let i = 0; i < words.length; i++) if ((words[i]! & 0x7f800000) === 0x7f800000) return i;
  } else if (dtype === "BF16" || dtype === "F16") {
    const mask = dtype === "BF16" ? 0x7f80 : 0x7c00;
    const words = new Uint16Array(buffer, byteOffset, byteLength / 2);
    for (let i = 0; i < words.length; i++) if ((words[i]! & mask) === mask) return i;
  } else {
    const limit = dtype === "F8_E4M3" ? 0x7f : 0x7c;
    for (let i = 0; i < byteLength; i++) if ((bytes[i]! & 0x7f) >= limit) return i;
  }
  return -1;
}

function notFinite(name: string, element: number, source: WeightSource): CheckpointError {
  const { shape } = source.weights.get(name)!;
  return new CheckpointError(
    "not-finite",
    `Cannot use "${name}" of "${source.label}": element [${elementIndex(shape, element).join(", ")}] is not finite, wanted a finite number`,
  );
}
