/** One pair of a comparison, measured in whatever thread. */
import type { Kernels } from "../kernels/kernels.ts";
import type { Heap } from "../logical/heap.ts";
import { type Distance, identical, type MeasureOptions, measureTensor } from "../logical/measure.ts";
import type { Operand } from "../logical/operand.ts";
import type { Pair } from "./pair-up.ts";
import type { Shards } from "./shards.ts";

export interface PairResult {
  index: number;
  sums: Distance;
  identical: boolean;
}

export interface PairEnvironment {
  kernels: Kernels;
  heap: Heap;
  shards: Shards;
  /** See CompareOptions. */
  sample: number | undefined;
  /** Called between pieces; throws to stop. */
  checkpoint: () => void;
  onBytes: (bytes: number) => void;
}

const SAMPLE_BYTES = 1 << 20;

/** Reads both sides of a pair and measures them, with one heap for all pairs. */
export async function measurePair(
  pair: Pair,
  environment: PairEnvironment,
): Promise<Omit<PairResult, "index">> {
  const { shards, sample } = environment;
  const [base, other] = [await shards.operand(pair, 0), await shards.operand(pair, 1)];
  const options: MeasureOptions = sample === undefined ? {} : { sample };
  const sums = await measureTensor(base, other, environment, options);
  // Equal bytes give a difference of 0, so that bytes are only looked at where it is; they are cached then.
  return { sums, identical: sums.difference === 0 && (await sameBytes(base, other, environment)) };
}

/** Of a sample, bytes are compared at as many places as values are. */
async function sameBytes(base: Operand, other: Operand, environment: PairEnvironment): Promise<boolean> {
  const { sample } = environment;
  if (sample === undefined || base.byteLength <= sample * SAMPLE_BYTES)
    return identical([base, other], environment);
  if (base.dtype !== other.dtype) return false;
  const step = Math.floor(base.byteLength / sample);
  for (let place = 0; place < sample; place++) {
    const at = place * step + Math.floor((step - SAMPLE_BYTES) / 2);
    const parts = [base, other].map((operand) => {
      const { scale, ...weight } = operand;
      const part = { ...weight, offset: weight.offset + at, byteLength: SAMPLE_BYTES };
      return place === 0 && scale ? { ...part, scale } : part;
    });
    if (!(await identical(parts, environment))) return false;
  }
  return true;
}
