/** How a model is shared out among ranks, and what memory that takes: known before anything is loaded. */
import { isMoeLayer, layerNames } from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { floatSize } from "../tensor/dtype.ts";
import { Arena } from "./arena.ts";
import { type ExchangeSizes, exchangeBytes } from "./exchange.ts";
import { slotLayout } from "./expert-reader.ts";
import { type Int8Scratch, placeInt8Scratch } from "./load-int8.ts";
import { type Placement, placeWeights } from "./place-weights.ts";
import { placeRunState, type RunState } from "./run-state.ts";
import type { Load, Share, WeightForm } from "./weights.ts";

/** What one WASM memory can hold, less a page for kernels that read beyond the end. */
const MAX_HEAP_BYTES = 2 ** 32 - 2 ** 16;
/** Slots are filled by blocks of a disk. */
const SLOT_ALIGNMENT = 4096;
/** What a thread takes beside its heap: the engine, and what it knows of each tensor of the source. As measured. */
const THREAD_BYTES = 20e6;
const TENSOR_BYTES = 1600;
/** More ranks than this are no use on any machine. */
export const MAX_RANKS = 256;

export interface ModelShape {
  config: ModelConfig;
  source: Pick<WeightSource, "weights" | "block">;
  /** Rows of a pass at the most. */
  rows: number;
  mtp: boolean;
  /** Routed experts that are in memory at a time; all of them, loaded at once, when undefined. */
  expertSlots?: number | undefined;
  weights: WeightForm;
}

export interface RankPlacement extends Placement {
  state: RunState;
  /** Where slots of experts begin, and how many bytes they take; 0 without. */
  slots: number;
  slotsBytes: number;
  scratch: Int8Scratch | undefined;
  heapBytes: number;
}

/** Where a rank's weights and buffers lie in its heap. The same on every thread. */
export function placeRank(
  { config, source, rows, mtp, expertSlots, weights }: ModelShape,
  share: Share,
): RankPlacement {
  const arena = new Arena();
  const streamExperts = expertSlots !== undefined;
  const placement = placeWeights({ source, config, share, arena, mtp, streamExperts, weights });
  const scratch = placeInt8Scratch(placement.loads, { source, arena });
  const state = placeRunState(config, { arena, share, rows });
  const slotsBytes = (expertSlots ?? 0) * slotLayout(placement.streamed).slotBytes;
  const slots = slotsBytes > 0 ? arena.allocate(slotsBytes, SLOT_ALIGNMENT) : 0;
  const heapBytes = Math.ceil(arena.top / 65536) * 65536 + 65536;
  return { ...placement, state, scratch, slots, slotsBytes, heapBytes };
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

/** Bytes that the weights take of all ranks' heaps, and all else that ranks take. */
export interface MemoryNeed {
  numRanks: number;
  weightBytes: number;
  /** Slots of experts that are read on demand. */
  expertBytes: number;
  /** Activations, and what each thread takes for itself. */
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
      let [own, weightBytes] = [0, 0];
      for (const load of loads) {
        own += load.heapBytes;
        weightBytes += bytesOfAllRanks(load, shape.source, numRanks);
      }
      const threadBytes = THREAD_BYTES + TENSOR_BYTES * shape.source.weights.size;
      const bufferBytes = numRanks * (heapBytes - own - slotsBytes + threadBytes) + exchangeBytes(sizes);
      return { numRanks, weightBytes, expertBytes: numRanks * slotsBytes, bufferBytes };
    }
    numRanks = Math.max(numRanks + 1, Math.floor((numRanks * heapBytes) / MAX_HEAP_BYTES));
  }
  throw new CheckpointError(
    "too-large",
    `Cannot load this model: shared among ${MAX_RANKS} ranks, one still takes more than 4 GiB`,
  );
}

/** In memory, of a tensor: once where its rows are shared out, else with every rank. */
function bytesOfAllRanks(
  { name, from, to, byteLength, heapBytes }: Load,
  source: Pick<WeightSource, "weights">,
  numRanks: number,
): number {
  const isWhole = to - from === source.weights.get(name)!.shape[0];
  if (isWhole) return heapBytes * numRanks;
  return Math.round((bytesOf(source, name) * heapBytes) / byteLength);
}
