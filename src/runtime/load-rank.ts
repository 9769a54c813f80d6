/** One rank, wherever it runs: loads its share, then runs the passes that the exchange describes. */
import { modelConfigOf } from "../arch/model-config.ts";
import { createInference } from "../kernels/inference-probe.ts";
import { openReference, type WeightReference } from "../logical/weight-source.ts";
import { Abandoned, Exchange, type ExchangeBuffers } from "./exchange.ts";
import { ExpertStore } from "./expert-store.ts";
import { NUM_EXPERT_CELLS } from "./expert-use.ts";
import { type CacheShape, LatentCache } from "./latent-cache.ts";
import { loadWeights } from "./load-weights.ts";
import { withoutWeights } from "./mtp-copies.ts";
import { readPass } from "./pass.ts";
import { placeRank } from "./placement.ts";
import { Rank } from "./rank.ts";
import type { Share, WeightForm } from "./weights.ts";

export interface RankSetup {
  reference: WeightReference;
  share: Share;
  rows: number;
  mtp: boolean;
  /** See ModelShape. */
  expertSlots: number | undefined;
  /** Weights that are not loaded: they equal others. */
  copies: readonly string[];
  cache: CacheShape;
  exchange: ExchangeBuffers;
  kernels: "auto" | "wasm" | "scalar";
  weights: WeightForm;
  /** Whether INT8 weights are multiplied by relaxed SIMD. */
  relaxed: boolean;
}

/** To a rank. */
export type RankMessage = { kind: "slab"; slab: SharedArrayBuffer };

/** From a rank. */
export type RankAnswer = { kind: "loading"; bytes: number } | { kind: "ready" } | RankFailure;

export interface RankFailure {
  kind: "failed";
  name: string;
  message: string;
  code?: string;
  note?: string;
  stack?: string;
  /** Of a pass: its number. */
  command?: number;
}

/** Told at most this often, in bytes. */
const LOADING_STEP = 16 << 20;

export interface LoadedRank {
  rank: Rank;
  cache: LatentCache;
  exchange: Exchange;
  experts: ExpertStore | undefined;
}

/**
 * Opens the weights and loads the rank's share; `tell` hears of the bytes. Throws what opening and loading throw.
 */
export async function loadRank(setup: RankSetup, tell: (answer: RankAnswer) => void): Promise<LoadedRank> {
  const source = await openReference(setup.reference);
  let isKept = false;
  try {
    const config = modelConfigOf(source.config);
    if ("problems" in config) throw new Error("internal: a config that was read before");
    const shape = { ...setup, config, source: withoutWeights(source, setup.copies) };
    const { weights, loads, state, scratch, heapBytes, streamed, slots } = placeRank(shape, setup.share);
    const kernels = createInference(heapBytes, setup.kernels, setup);
    let unsent = 0;
    await loadWeights(loads, {
      source,
      kernels,
      scratch,
      onBytes: (bytes) => {
        unsent += bytes;
        if (unsent < LOADING_STEP) return;
        tell({ kind: "loading", bytes: unsent });
        unsent = 0;
      },
    });
    tell({ kind: "loading", bytes: unsent });
    const cache = new LatentCache(setup.cache);
    const { share } = setup;
    const exchange = new Exchange(setup.exchange, share.numRanks);
    let experts: ExpertStore | undefined;
    if (setup.expertSlots !== undefined) {
      const cells = exchange.expertUse.subarray(
        share.rank * NUM_EXPERT_CELLS,
        (share.rank + 1) * NUM_EXPERT_CELLS,
      );
      const numSlots = setup.expertSlots;
      // Time for each expert to be used about twice: enough to tell often from seldom, and soon forgotten.
      const halfLife = (2 * config.sizes.numExperts) / config.router!.numChosen;
      experts = new ExpertStore({ source, kernels, experts: streamed, slots, numSlots, halfLife, cells });
      await experts.prepare();
      isKept = true;
    }
    const rank = new Rank({ kernels, config, weights, state, cache, exchange, share, experts });
    return { rank, cache, exchange, experts };
  } finally {
    if (!isKept) await source.close();
  }
}

/** Runs the pass that the exchange is at; a failure is told of, and the other ranks are freed. */
export async function runPass(
  { rank, exchange, experts }: LoadedRank,
  tell: (answer: RankAnswer) => void,
): Promise<void> {
  try {
    await rank.run(readPass(exchange.place.description));
  } catch (error) {
    exchange.fail();
    if (!(error instanceof Abandoned)) tell({ ...failureOf(error), command: exchange.command });
    await experts?.settle();
  }
  exchange.finish();
}

/** Errors lose their class between threads: what they are made anew from. */
export function failureOf(error: unknown): RankFailure {
  const { name, message, code, note, stack } = error as Error & { code?: string; note?: string };
  return {
    kind: "failed",
    name,
    message,
    ...(code ? { code } : {}),
    ...(note ? { note } : {}),
    ...(stack ? { stack } : {}),
  };
}
