/** One rank's thread: loads its share, then runs pass after pass until it is ended. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { modelConfigOf } from "../arch/model-config.ts";
import { createInference } from "../kernels/inference-probe.ts";
import { openReference, type WeightReference } from "../logical/weight-source.ts";
import { Abandoned, Exchange, type ExchangeBuffers } from "./exchange.ts";
import { type CacheShape, LatentCache } from "./latent-cache.ts";
import { loadWeights } from "./load-weights.ts";
import { readPass } from "./pass.ts";
import { placeRank } from "./placement.ts";
import { Rank } from "./rank.ts";
import type { Share, WeightForm } from "./weights.ts";

export interface RankSetup {
  reference: WeightReference;
  share: Share;
  rows: number;
  mtp: boolean;
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

async function load(): Promise<{ rank: Rank; cache: LatentCache; exchange: Exchange }> {
  const source = await openReference(setup.reference);
  try {
    const config = modelConfigOf(source.config);
    if ("problems" in config) throw new Error("internal: a config that was read before");
    const { weights, loads, state, scratch, heapBytes } = placeRank(
      { ...setup, config, source },
      setup.share,
    );
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
    const exchange = new Exchange(setup.exchange, setup.share.numRanks);
    return {
      rank: new Rank({ kernels, config, weights, state, cache, exchange, share: setup.share }),
      cache,
      exchange,
    };
  } finally {
    await source.close();
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
  const { rank, cache, exchange } = await load();
  send({ kind: "ready" });
  // Blocked between passes: a wake-up costs 5 µs, and messages about new memory are fetched by hand.
  for (;;) {
    exchange.awaitCommand();
    for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
      cache.addSlab((got.message as RankMessage).slab);
    }
    try {
      rank.run(readPass(exchange.pass));
    } catch (error) {
      exchange.fail();
      if (!(error instanceof Abandoned)) fail(error);
    }
    exchange.finish();
  }
} catch (error) {
  fail(error);
}
