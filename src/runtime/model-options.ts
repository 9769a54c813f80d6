/** What can be said about how a model runs, and what it tells while it loads. */
import { CACHE_DTYPES, type CacheDtype } from "./latent-cache.ts";
import { type ExpertMemory, MAX_RANKS, type MemoryNeed } from "./placement.ts";
import { WEIGHT_FORMS, type WeightForm } from "./weights.ts";

export interface ModelOptions {
  /** Threads, each with its share of every product: 1 to 256. Default: one per core. Results do not depend on it. */
  threads?: number;
  /**
   * Tokens of all sequences together that the cache can hold; its memory is taken as they come. Default: the
   * model's longest context, or what fits the memory that is free if that is at least 1,024.
   */
  context?: number;
  /**
   * Sequences that are computed at a time (batch.ts): the cache has room for as many of usual length. Default 1;
   * with `context`, that is what counts.
   */
  sequences?: number;
  /** The caller has much to do beside passes: a tiny model then leaves him a core. Default false. */
  sharesCores?: boolean;
  /** How cache rows are stored. Default: f32. */
  cache?: CacheDtype;
  /**
   * Tokens that are computed together at the most. Default 256; 512 where experts are read from disk. Attention has
   * a form for many tokens and one for few, so the last bits of a prompt's results depend on how it is cut.
   */
  chunk?: number;
  /** Load the MTP layer where there is one. Default: unless experts are read from disk. */
  mtp?: boolean;
  /**
   * Bytes for routed experts: they are read from disk as they are needed, and so many stay in memory. At least
   * one token's are kept. Default: all of them are loaded. Results do not depend on it.
   */
  expertMemory?: number;
  /** Keep hidden states of each layer in results. */
  traces?: boolean;
  kernels?: "auto" | "wasm" | "scalar";
  /**
   * "int8": weights are made INT8 while they are loaded, which is faster and inexact (perplexity() of two models
   * says by how much); the embedding, the router and keyValueUp stay as they are stored. Default: stored.
   */
  weights?: WeightForm;
  signal?: AbortSignal;
  onEvent?: (event: LoadEvent) => void;
}

export type LoadEvent =
  /** Before memory is taken; who throws now refuses the model. `context`: tokens that the cache has room for. */
  | {
      kind: "placed";
      need: MemoryNeed;
      cacheBytes: number;
      context: number;
      experts: ExpertMemory | undefined;
    }
  | { kind: "progress"; bytesDone: number; bytesTotal: number }
  | { kind: "finished"; bytes: number; seconds: number };

const KERNELS = ["auto", "wasm", "scalar"] as const;

/** Throws RangeError for options that no model has. */
export function requireOptions(options: ModelOptions): void {
  const { cache, weights, kernels, threads, context, chunk, sequences, expertMemory } = options;
  requireOneOf("cache", cache, CACHE_DTYPES);
  requireOneOf("weights", weights, WEIGHT_FORMS);
  requireOneOf("kernels", kernels, KERNELS);
  if (threads !== undefined && !(isCount(threads) && threads <= MAX_RANKS))
    throw new RangeError(`Cannot run with ${threads} threads, wanted 1 to ${MAX_RANKS}`);
  for (const [key, value] of Object.entries({ context, chunk, sequences })) {
    if (value !== undefined && !isCount(value))
      throw new RangeError(`Cannot load with ${key} ${value}, wanted a whole number above 0`);
  }
  if (expertMemory !== undefined && !(expertMemory >= 0))
    throw new RangeError(`Cannot load with expertMemory ${expertMemory}, wanted a number of bytes`);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

function requireOneOf(key: string, value: string | undefined, known: readonly string[]): void {
  if (value === undefined || known.includes(value)) return;
  throw new RangeError(`Cannot load with ${key} "${value}", wanted one of ${known.join(", ")}`);
}
