/** Reads a rank's weights to where they were placed: straight into its heap, checked on the way. */
import type { InferenceKernels } from "../kernels/inference.ts";
import { allEnded } from "../logical/read-ahead.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { type FloatDtype, floatSize } from "../tensor/dtype.ts";
import { decodeBf16, decodeF16 } from "../tensor/float16.ts";
import { type Int8Scratch, loadInt8 } from "./load-int8.ts";
import { loadMatrix, notFinite } from "./load-matrix.ts";
import type { Load } from "./weights.ts";

export interface LoadOptions {
  source: WeightSource;
  kernels: InferenceKernels;
  /** Where rows lie before they are INT8; undefined when there are none. */
  scratch?: Int8Scratch | undefined;
  /** Told how many bytes of the heap are loaded. */
  onBytes?: (bytes: number) => void;
}

/** Reads under way together: pages of a new heap come slowly, and more threads than one can wait for them. */
const READS_AT_ONCE = 4;

/** Throws CheckpointError, also for a value that is not finite; no read is under way then. */
export async function loadWeights(loads: readonly Load[], options: LoadOptions): Promise<void> {
  // INT8 goes through one scratch, and so one by one.
  const atOnce = options.scratch ? 1 : READS_AT_ONCE;
  let next = 0;
  const loader = async (): Promise<void> => {
    try {
      while (next < loads.length) await loadOne(loads[next++]!, options);
    } catch (error) {
      next = loads.length; // nobody begins another one
      throw error;
    }
  };
  await allEnded(Array.from({ length: atOnce }, loader));
}

async function loadOne(load: Load, options: LoadOptions): Promise<void> {
  if (load.as === "vector") await loadVector(load, options);
  else if (load.as === "int8") await loadInt8(load, options);
  else await loadMatrix(load, options);
  options.onBytes?.(load.heapBytes);
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
