/** How a model is shared out among ranks, and what memory that takes: known before anything is loaded. */
import type { ModelConfig } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { Arena } from "./arena.ts";
import { type ExchangeSizes, exchangeBytes } from "./exchange.ts";
import { type Int8Scratch, placeInt8Scratch } from "./load-weights.ts";
import { placeRunState, type RunState } from "./run-state.ts";
import { type Placement, placeWeights, type Share, type WeightForm } from "./weights.ts";

/** What one WASM memory can hold, less a page for kernels that read beyond the end. */
const MAX_HEAP_BYTES = 2 ** 32 - 2 ** 16;
/** More ranks than this are no use on any machine. */
const MAX_RANKS = 256;

export interface ModelShape {
  config: ModelConfig;
  source: Pick<WeightSource, "weights" | "block">;
  /** Rows of a pass at the most. */
  rows: number;
  mtp: boolean;
  weights: WeightForm;
}

export interface RankPlacement extends Placement {
  state: RunState;
  scratch: Int8Scratch | undefined;
  heapBytes: number;
}

/** Where a rank's weights and buffers lie in its heap. The same on every thread. */
export function placeRank({ config, source, rows, mtp, weights }: ModelShape, share: Share): RankPlacement {
  const arena = new Arena();
  const placement = placeWeights({ source, config, share, arena, mtp, weights });
  const scratch = placeInt8Scratch(placement.loads, { source, arena });
  const state = placeRunState(config, { arena, share, rows });
  return { ...placement, state, scratch, heapBytes: Math.ceil(arena.top / 65536) * 65536 + 65536 };
}

/** Bytes that the weights take of all ranks' heaps, and all else that is in them. */
export interface MemoryNeed {
  numRanks: number;
  weightBytes: number;
  bufferBytes: number;
}

/** As many ranks as threads are wanted, or as it takes for each heap to stay below 4 GiB. */
export function chooseRanks(shape: ModelShape, sizes: ExchangeSizes, threads: number): MemoryNeed {
  for (let numRanks = Math.max(1, threads); numRanks <= MAX_RANKS; numRanks++) {
    let [heaps, weights, largest] = [0, 0, 0];
    for (let rank = 0; rank < numRanks; rank++) {
      const { heapBytes, loads } = placeRank(shape, { rank, numRanks });
      heaps += heapBytes;
      largest = Math.max(largest, heapBytes);
      weights += loads.reduce((sum, load) => sum + load.heapBytes, 0);
    }
    if (largest > MAX_HEAP_BYTES) continue;
    return { numRanks, weightBytes: weights, bufferBytes: heaps - weights + exchangeBytes(sizes) };
  }
  throw new CheckpointError(
    "too-large",
    `Cannot load this model: shared among ${MAX_RANKS} ranks, one still takes more than 4 GiB`,
  );
}

/** Throws CheckpointError when memory will not do, and says what would. */
export function requireMemory(
  need: MemoryNeed,
  { cacheBytes, available, context }: { cacheBytes: number; available: number; context: number },
): void {
  const total = need.weightBytes + need.bufferBytes + cacheBytes;
  if (total <= available) return;
  const parts = `weights ${formatBytes(need.weightBytes)}, buffers ${formatBytes(need.bufferBytes)}, cache ${formatBytes(cacheBytes)} for ${context} tokens`;
  const rest = available - need.weightBytes - need.bufferBytes;
  const fits = Math.floor((context * rest) / cacheBytes);
  const note =
    fits >= 64
      ? `A context of ${fits} tokens would fit: --context ${fits}`
      : "The weights alone do not fit: a machine with more memory is needed";
  throw new CheckpointError(
    "not-enough-memory",
    `Cannot load the model: it takes ${formatBytes(total)} (${parts}), wanted at most the ${formatBytes(available)} that are free`,
    { note },
  );
}
