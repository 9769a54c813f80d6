/** How a model is shared out among ranks, and what memory that takes: known before anything is loaded. */
import { isMoeLayer, layerNames } from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { floatSize } from "../tensor/dtype.ts";
import { Arena } from "./arena.ts";
import { type ExchangeSizes, exchangeBytes } from "./exchange.ts";
import { slotLayout } from "./expert-reader.ts";
import { placeRunState, type RunState } from "./run-state.ts";
import { type Placement, placeWeights, type Share } from "./weights.ts";

/** What one WASM memory can hold, less a page for kernels that read beyond the end. */
const MAX_HEAP_BYTES = 2 ** 32 - 2 ** 16;
/** Slots are filled by blocks of a disk; a rank's part of each of three matrices may lie across two more. */
const SLOT_ALIGNMENT = 4096;
const SLOT_MARGIN = 3 * 2 * SLOT_ALIGNMENT;
/** More ranks than this are no use on any machine. */
const MAX_RANKS = 256;

export interface ModelShape {
  config: ModelConfig;
  source: Pick<WeightSource, "weights" | "block">;
  /** Rows of a pass at the most. */
  rows: number;
  mtp: boolean;
  /** Routed experts that are in memory at a time; all of them, loaded at once, when undefined. */
  expertSlots?: number | undefined;
}

export interface RankPlacement extends Placement {
  state: RunState;
  /** Where slots of experts begin, and how many bytes they take; 0 without. */
  slots: number;
  slotsBytes: number;
  heapBytes: number;
}

/** Where a rank's weights and buffers lie in its heap. The same on every thread. */
export function placeRank(
  { config, source, rows, mtp, expertSlots }: ModelShape,
  share: Share,
): RankPlacement {
  const arena = new Arena();
  const streamExperts = expertSlots !== undefined;
  const placement = placeWeights({ source, config, share, arena, mtp, streamExperts });
  const state = placeRunState(config, { arena, share, rows });
  const slotsBytes = (expertSlots ?? 0) * slotLayout(placement.streamed).slotBytes;
  const slots = slotsBytes > 0 ? arena.allocate(slotsBytes, SLOT_ALIGNMENT) : 0;
  const heapBytes = Math.ceil(arena.top / 65536) * 65536 + 65536;
  return { ...placement, state, slots, slotsBytes, heapBytes };
}

/** What --expert-memory comes to. */
export interface ExpertMemory {
  /** Routed experts of all layers, and how many of them are in memory at a time. */
  numExperts: number;
  numSlots: number;
  /** Experts that one token goes to: fewer slots than these are not made. */
  workingSet: number;
  /** Bytes of one expert in the source. */
  expertBytes: number;
}

/** As many experts as `bytes` hold, at least one token's, at most all. Undefined where a model has none. */
export function chooseSlots(
  { config, source, mtp }: Pick<ModelShape, "config" | "source" | "mtp">,
  bytes: number,
): ExpertMemory | undefined {
  const { sizes, router } = config;
  if (!router) return undefined;
  const numLayers = sizes.numLayers + (mtp ? sizes.numMtpLayers : 0);
  let [numMoeLayers, expertBytes] = [0, 0];
  for (let layer = 0; layer < numLayers; layer++) {
    if (!isMoeLayer(sizes, layer)) continue;
    numMoeLayers++;
    const names = layerNames(layer, { hasQueryRank: sizes.queryRank > 0 });
    for (let e = 0; e < sizes.numExperts; e++) {
      const { gate, up, down } = names.expert(e);
      expertBytes = Math.max(
        expertBytes,
        bytesOf(source, gate) + bytesOf(source, up) + bytesOf(source, down),
      );
    }
  }
  const numExperts = numMoeLayers * sizes.numExperts;
  const workingSet = numMoeLayers * router.numChosen;
  const numSlots = Math.min(numExperts, Math.max(workingSet, Math.floor(bytes / expertBytes)));
  return { numExperts, numSlots, workingSet, expertBytes };
}

function bytesOf({ weights }: Pick<WeightSource, "weights">, name: string): number {
  const { shape, dtype } = weights.get(name)!;
  return shape.reduce((product, dim) => product * dim, 1) * floatSize(dtype);
}

/** Bytes that the weights take of all ranks' heaps, and all else that is in them. */
export interface MemoryNeed {
  numRanks: number;
  weightBytes: number;
  /** Slots of experts that are read on demand. */
  expertBytes: number;
  bufferBytes: number;
}

/** As many ranks as threads are wanted, or as it takes for each heap to stay below 4 GiB. */
export function chooseRanks(shape: ModelShape, sizes: ExchangeSizes, threads: number): MemoryNeed {
  let numRanks = Math.max(1, threads);
  while (numRanks <= MAX_RANKS) {
    let [heaps, weights, experts, largest] = [0, 0, 0, 0];
    for (let rank = 0; rank < numRanks; rank++) {
      const { heapBytes, slotsBytes, loads } = placeRank(shape, { rank, numRanks });
      heaps += heapBytes;
      experts += slotsBytes;
      largest = Math.max(largest, heapBytes);
      weights += loads.reduce((sum, { byteLength }) => sum + byteLength, 0);
    }
    if (largest <= MAX_HEAP_BYTES) {
      const bufferBytes = heaps - weights - experts + exchangeBytes(sizes);
      return { numRanks, weightBytes: weights, expertBytes: experts, bufferBytes };
    }
    numRanks = Math.max(numRanks + 1, Math.floor((numRanks * largest) / MAX_HEAP_BYTES));
  }
  throw new CheckpointError(
    "too-large",
    `Cannot load this model: shared among ${MAX_RANKS} ranks, one still takes more than 4 GiB`,
  );
}

export interface MemoryLimits {
  cacheBytes: number;
  available: number;
  context: number;
  /** What could be read on demand, or is. */
  routed?: ExpertMemory | undefined;
}

/** Throws CheckpointError when memory will not do, and says what would. */
export function requireMemory(need: MemoryNeed, limits: MemoryLimits): void {
  const { cacheBytes, available, context } = limits;
  const total = need.weightBytes + need.expertBytes + need.bufferBytes + cacheBytes;
  if (total <= available) return;
  const experts = need.expertBytes > 0 ? `experts ${formatBytes(need.expertBytes)}, ` : "";
  const parts = `weights ${formatBytes(need.weightBytes)}, ${experts}buffers ${formatBytes(need.bufferBytes)}, cache ${formatBytes(cacheBytes)} for ${context} tokens`;
  throw new CheckpointError(
    "not-enough-memory",
    `Cannot load the model: it takes ${formatBytes(total)} (${parts}), wanted at most the ${formatBytes(available)} that are free`,
    { note: whatFits(need, limits, available - total) },
  );
}

/** `rest`: bytes that are left, below 0. */
function whatFits(need: MemoryNeed, { cacheBytes, context, routed }: MemoryLimits, rest: number): string {
  const fits = Math.floor((context * (rest + cacheBytes)) / cacheBytes);
  if (fits >= 64) return `A context of ${fits} tokens would fit: --context ${fits}`;
  if (routed) {
    // Experts that are all in memory count among the weights.
    const inMemory = need.expertBytes > 0 ? need.expertBytes : routed.numExperts * routed.expertBytes;
    const slotBytes = routed.expertBytes + SLOT_MARGIN * need.numRanks;
    const numSlots = Math.floor((rest + inMemory) / slotBytes);
    if (numSlots >= routed.workingSet) {
      const size = sizeArgument(numSlots * routed.expertBytes);
      return `Routed experts can be read from disk as they are needed: --expert-memory ${size} would fit`;
    }
  }
  return "The weights alone do not fit: a machine with more memory is needed";
}

/** As people would write it, rounded down. */
function sizeArgument(bytes: number): string {
  return bytes >= 1e9 ? `${Math.floor(bytes / 1e6)}MB` : `${Math.floor(bytes / 1e3)}kB`;
}
