/** A plan in a screenful: what is read, written and needed. */
import type { BuildPlan } from "./plan.ts";

export interface PlanSummary {
  digest: string;
  parents: {
    name: string;
    /** Where it lies, as people know it. */
    place: string;
    copied: number;
    merged: number;
    leftOut: number;
    readBytes: number;
    isBase: boolean;
  }[];
  tensors: { copied: number; merged: number; all: number };
  elements: number;
  shards: number;
  writeBytes: number;
  readBytes: number;
  /** Buffers of all workers. */
  memoryBytes: number;
  workers: number;
  /** Where children are built; absent: unknown. */
  freeBytes?: number;
  /** By what builds here have reached, or by a usual disk. */
  seconds: number;
  warnings: string[];
}

export interface SummaryOptions {
  workers: number;
  freeBytes?: number | undefined;
  bytesPerSecond: number;
  placeOf: (location: string) => string;
}

export function planSummary(plan: BuildPlan, options: SummaryOptions): PlanSummary {
  const { totals, accounts, base, shards, warnings, digest } = plan;
  const workers = Math.max(1, Math.min(options.workers, shards.length));
  const { freeBytes, bytesPerSecond, placeOf } = options;
  return {
    digest,
    parents: plan.parents.map(({ name, location }, index) => {
      const { copied, merged, leftOut } = accounts.find(({ parent }) => parent === name)!;
      const left = leftOut.reduce((sum, { tensors }) => sum + tensors.length, 0);
      const [readBytes, place] = [totals.readBytes[index]!, placeOf(location)];
      return { name, place, copied, merged, leftOut: left, readBytes, isBase: index === base };
    }),
    ...{ tensors: totals.tensors, elements: totals.elements, shards: shards.length },
    ...{ writeBytes: totals.writeBytes, readBytes: totals.readBytes.reduce((sum, bytes) => sum + bytes, 0) },
    ...{ memoryBytes: workers * totals.workerBytes, workers },
    ...(freeBytes === undefined ? {} : { freeBytes }),
    ...{ seconds: totals.writeBytes / bytesPerSecond, warnings },
  };
}
