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
import { type Load, type Placement, placeWeights, type Share } from "./weights.ts";

/** What one WASM memory can hold, less a page for kernels that read beyond the end. */
const MAX_HEAP_BYTES = 2 ** 32 - 2 ** 16;
/** Slots are filled by blocks of a disk. */
const SLOT_ALIGNMENT = 4096;
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

/**
 * As many ranks as threads are wanted, or as it takes for each heap to stay below 4 GiB. Looks at the last one
 * only: none has more rows of anything, and placing a real checkpoint takes half a second a rank.
 */
export function chooseRanks(shape: ModelShape, sizes: ExchangeSizes, threads: number): MemoryNeed {
  for (let numRanks = Math.max(1, threads); numRanks <= MAX_RANKS; ) {
    const last = placeRank(shape, { rank: numRanks - 1, numRanks });
    const { heapBytes, slotsBytes, loads } = last;
    if (heapBytes <= MAX_HEAP_BYTES) {
      const own = loads.reduce((sum, { byteLength }) => sum + byteLength, 0);
      const buffers = numRanks * (heapBytes - own - slotsBytes) + exchangeBytes(sizes);
      const weightBytes = loads.reduce((sum, load) => sum + bytesOfAllRanks(load, shape.source, numRanks), 0);
      return { numRanks, weightBytes, expertBytes: numRanks * slotsBytes, bufferBytes: buffers };
    }
    numRanks = Math.max(numRanks + 1, Math.floor((numRanks * heapBytes) / MAX_HEAP_BYTES));
  }
  throw new CheckpointError(
    "too-large",
    `Cannot load this model: shared among ${MAX_RANKS} ranks, one still takes more than 4 GiB`,
  );
}

/** Of a tensor: once where its rows are shared out, else with every rank. */
function bytesOfAllRanks(
  { name, from, to, byteLength }: Load,
  source: Pick<WeightSource, "weights">,
  numRanks: number,
): number {
  const isWhole = to - from === source.weights.get(name)!.shape[0];
  return isWhole ? byteLength * numRanks : bytesOf(source, name);
}

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
