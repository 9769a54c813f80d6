/** Whether there is memory for a model, asked before anything is loaded, and what would fit where there is not. */
import { CheckpointError } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import type { ExpertMemory, MemoryNeed } from "./placement.ts";

export interface MemoryLimits {
  cacheBytes: number;
  available: number;
  context: number;
  /** What could be read on demand, and what memory the model takes with the least of it. */
  routed?: { experts: ExpertMemory; need: () => MemoryNeed } | undefined;
}

/** Throws CheckpointError when memory will not do, and says what would. */
export function requireMemory(need: MemoryNeed, limits: MemoryLimits): void {
  const { cacheBytes, available, context } = limits;
  const total = totalOf(need) + cacheBytes;
  if (total <= available) return;
  const experts = need.expertBytes > 0 ? `experts ${formatBytes(need.expertBytes)}, ` : "";
  const parts = `weights ${formatBytes(need.weightBytes)}, ${experts}buffers ${formatBytes(need.bufferBytes)}, cache ${formatBytes(cacheBytes)} for ${context} tokens`;
  throw new CheckpointError(
    "not-enough-memory",
    `Cannot load the model: it takes ${formatBytes(total)} (${parts}), wanted at most the ${formatBytes(available)} that are free`,
    { note: whatFits(need, limits) },
  );
}

function totalOf({ weightBytes, expertBytes, bufferBytes }: MemoryNeed): number {
  return weightBytes + expertBytes + bufferBytes;
}

function whatFits(need: MemoryNeed, { available, cacheBytes, context, routed }: MemoryLimits): string {
  const fits = Math.floor((context * (available - totalOf(need))) / cacheBytes);
  if (fits >= 64) return `A context of ${fits} tokens would fit: --context ${fits}`;
  if (!routed) return "The weights alone do not fit: a machine with more memory is needed";
  const least = routed.need();
  const { workingSet, numExperts, expertBytes } = routed.experts;
  const rest = available - totalOf(least) - cacheBytes;
  if (rest < 0) {
    const total = formatBytes(available - rest);
    return `With routed experts on disk (--expert-memory) it would still take ${total}: a machine with more memory is needed`;
  }
  const slots = workingSet + Math.floor((rest * workingSet) / least.expertBytes);
  const size = sizeArgument(Math.min(slots, numExperts) * expertBytes);
  return `Routed experts can be read from disk as they are needed: --expert-memory ${size} would fit`;
}

/** As people would write it, rounded down. */
function sizeArgument(bytes: number): string {
  return bytes >= 1e9 ? `${Math.floor(bytes / 1e6)}MB` : `${Math.floor(bytes / 1e3)}kB`;
}
