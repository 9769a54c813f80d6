/** One rank's thread: loads its share, then runs pass after pass until it is ended. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
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
export type RankAnswer =
  | { kind: "loading"; bytes: number }
  | { kind: "ready" }
  | { kind: "failed"; name: string; message: string; code?: string; note?: string; stack?: string };

const port = parentPort!;
const setup = workerData as RankSetup;
const send = (answer: RankAnswer) => port.postMessage(answer);

/** Told at most this often, in bytes. */
const LOADING_STEP = 16 << 20;

interface Loaded {
  rank: Rank;
  cache: LatentCache;
  exchange: Exchange;
  experts: ExpertStore | undefined;
}

async function load(): Promise<Loaded> {
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
        send({ kind: "loading", bytes: unsent });
        unsent = 0;
      },
    });
    send({ kind: "loading", bytes: unsent });
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

function fail(error: unknown): void {
  const { name, message, code, note, stack } = error as Error & { code?: string; note?: string };
  send({
    kind: "failed",
    name,
    message,
    ...(code ? { code } : {}),
    ...(note ? { note } : {}),
    ...(stack ? { stack } : {}),
  });
}

try {
  const { rank, cache, exchange, experts } = await load();
  send({ kind: "ready" });
  // Blocked between passes: a wake-up costs 5 µs, and messages about new memory are fetched by hand.
  for (;;) {
    exchange.awaitCommand();
    for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
      cache.addSlab((got.message as RankMessage).slab);
    }
    try {
      await rank.run(readPass(exchange.pass));
    } catch (error) {
      exchange.fail();
      if (!(error instanceof Abandoned)) fail(error);
      await experts?.settle();
    }
    exchange.finish();
  }
} catch (error) {
  fail(error);
}
