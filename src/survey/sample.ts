/** How much a measurement reads, for progress: known before it starts. */
import { cut } from "../logical/pieces.ts";
import { floatSize } from "../tensor/dtype.ts";
import type { Pair } from "./pair-up.ts";

/** Bytes of both weights; of a sample, to within the size of the last piece. */
export function bytesToRead({ shape, block, base, other }: Pair, sample: number | undefined): number {
  const whole = base.byteLength + other.byteLength;
  if (sample === undefined) return whole;
  const banded = base.scale !== undefined || other.scale !== undefined;
  const bytesPerElement = floatSize(base.dtype) + floatSize(other.dtype);
  const pieces = [...cut({ shape, block, banded, bytesPerElement })].length;
  return pieces <= sample ? whole : Math.round((whole * sample) / pieces);
}
