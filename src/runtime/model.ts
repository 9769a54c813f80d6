/**
 * A model that runs: its ranks, its cache, and passes through it. What is above (generation, perplexity)
 * asks for passes over sequences; what a pass does is rank.ts.
 */
import { availableParallelism } from "node:os";
import { type ModelConfig, modelConfigOf } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import type { InferenceKernels } from "../kernels/inference.ts";
import { openReference, type WeightReference, type WeightSource } from "../logical/weight-source.ts";
import { checkWeights, throwProblems } from "./check-weights.ts";
import { createExchange, type ExchangeBuffers, type ExchangeSizes } from "./exchange.ts";
import {
  bytesPerToken,
  type CacheDtype,
  type CacheShape,
  PAGE_TOKENS,
  PagePool,
  pagesFor,
} from "./latent-cache.ts";
import type { Pass, Segment } from "./pass.ts";
import { chooseRanks, type MemoryNeed, requireMemory } from "./placement.ts";
import type { RankSetup } from "./rank-worker.ts";
import { Ranks } from "./ranks.ts";
import { enableRelaxedSimd } from "./relaxed-simd.ts";
import type { WeightForm } from "./weights.ts";

export interface ModelOptions {
  /** Threads, each with its share of every product. Default: one per core. Results do not depend on it. */
  threads?: number;
  /**
   * Tokens of all sequences together that the cache can hold; its memory is taken as they come. Default: the
   * model's longest context, or what fits the memory that is free if that is at least 1,024.
   */
  context?: number;
  /** How cache rows are stored. Default: f32. */
  cache?: CacheDtype;
  /** Tokens that are computed together at the most. Default 256. */
  chunk?: number;
  /** Load the MTP layer where there is one. Default true. */
  mtp?: boolean;
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
  | { kind: "placed"; need: MemoryNeed; cacheBytes: number }
  | { kind: "progress"; bytesDone: number; bytesTotal: number }
  | { kind: "finished"; bytes: number; seconds: number };

/** What a pass gave, copied out of shared memory. */
export interface PassResult {
  /** (rows asked for, vocab) */
  logits: Float32Array;
  /** After the final norm (of the MTP layer in its pass): (rows, hidden). */
  normed: Float32Array;
  /** With `traces`: after the embedding, each layer and the final norm: (numLayers + 2, rows, hidden). */
  traces: Float32Array | undefined;
}

const DEFAULT_CHUNK = 256;
/** A context that is smaller without having been asked for would surprise. */
const LEAST_CONTEXT = 1024;
/** Rows of logits that one pass gives. */
const LOGIT_BYTES = 64 << 20;

/**
 * Loads a model. Throws CheckpointError for a config that cannot be run, for tensors that are missing or
 * misshapen (all at once), for values that are not finite, and when memory will not do; Interrupted when the
 * signal fired.
 */
export async function loadModel(reference: WeightReference, options: ModelOptions = {}): Promise<Model> {
  const startedAt = performance.now();
  const source = await openReference(reference);
  const config = modelConfigOf(source.config);
  if ("problems" in config) {
    throwProblems(config.problems);
    throw new Error("internal: no problem after all");
  }
  const { problems, hasMtp } = checkWeights(config, source);
  throwProblems(problems);
  const mtp = hasMtp && options.mtp !== false;
  const { sizes } = config;
  // A token and its draft go through one pass.
  const rows = Math.max(mtp ? 2 : 1, Math.min(options.chunk ?? DEFAULT_CHUNK, 4096));
  const exchangeSizes = exchangeOf(config, { rows, traces: options.traces === true });
  const threads = options.threads ?? (totalElements(source) < TINY_ELEMENTS ? 1 : availableParallelism());
  const weights = options.weights ?? "stored";
  const kernels = options.kernels ?? "auto";
  const relaxed = weights === "int8" && kernels !== "scalar" && enableRelaxedSimd();
  const need = chooseRanks({ config, source, rows, mtp, weights }, exchangeSizes, threads);
  const cache: CacheShape = {
    dtype: options.cache ?? "f32",
    layers: sizes.numLayers + (mtp ? 1 : 0),
    latent: sizes.latent,
    ropeDim: sizes.ropeDim,
  };
  const available = availableMemory();
  const free = available - need.weightBytes - need.bufferBytes;
  const fitting = Math.max(LEAST_CONTEXT, Math.floor(free / bytesPerToken(cache)));
  const context = Math.min(options.context ?? Math.min(config.maxPositions, fitting), 2 ** 24);
  const cacheBytes = bytesPerToken(cache) * context;
  requireMemory(need, { cacheBytes, available, context });
  options.onEvent?.({ kind: "placed", need, cacheBytes });
  const exchange = createExchange(exchangeSizes);
  const setups = Array.from(
    { length: need.numRanks },
    (_, rank): RankSetup => ({
      reference,
      share: { rank, numRanks: need.numRanks },
      rows,
      mtp,
      cache,
      exchange,
      kernels,
      weights,
      relaxed,
    }),
  );
  const ranks = new Ranks(setups, exchange);
  try {
    await ranks.load({ bytesTotal: need.weightBytes, ...options });
  } catch (error) {
    await ranks.end();
    throw error;
  }
  const bytes = need.weightBytes;
  options.onEvent?.({ kind: "finished", bytes, seconds: (performance.now() - startedAt) / 1000 });
  return new Model({
    source,
    config,
    ranks,
    exchange,
    cache,
    context,
    rows,
    exchangeSizes,
    hasMtp: mtp,
    need,
    weights,
    dotProduct: kernels === "scalar" ? "scalar" : relaxed ? "relaxed" : "plain",
  });
}

/** Below this a token is computed in less time than threads take to meet. */
const TINY_ELEMENTS = 1 << 25;

function totalElements({ weights }: WeightSource): number {
  let sum = 0;
  for (const { shape } of weights.values()) sum += shape.reduce((product, dim) => product * dim, 1);
  return sum;
}

/** Memory that may be taken, as far as the system tells. */
function availableMemory(): number {
  const { availableMemory: available } = process as unknown as { availableMemory?: () => number };
  return available ? available.call(process) : Number.POSITIVE_INFINITY;
}

function exchangeOf(config: ModelConfig, { rows, traces }: { rows: number; traces: boolean }): ExchangeSizes {
  const { sizes } = config;
  return {
    rows,
    hidden: sizes.hidden,
    low: sizes.queryRank + sizes.latent + sizes.ropeDim,
    heads: sizes.numHeads * sizes.valueDim,
    middle: middleOf(config),
    logits: sizes.vocab,
    logitRows: Math.max(1, Math.min(rows, Math.floor(LOGIT_BYTES / (4 * sizes.vocab)))),
    traces: traces ? sizes.numLayers + 2 : 0,
  };
}

/** Width of everything between the halves of a layer's MLPs, for one token. */
function middleOf({ sizes, router }: ModelConfig): number {
  const experts = sizes.expertWidth * ((router?.numChosen ?? 0) + sizes.numSharedExperts);
  return Math.max(sizes.denseWidth, experts);
}

interface ModelParts {
  source: WeightSource;
  config: ModelConfig;
  ranks: Ranks;
  exchange: ExchangeBuffers;
  cache: CacheShape;
  context: number;
  rows: number;
  exchangeSizes: ExchangeSizes;
  hasMtp: boolean;
  need: MemoryNeed;
  weights: WeightForm;
  dotProduct: InferenceKernels["dotProduct"];
}

/** A sequence of tokens in the cache. */
export interface Sequence {
  /** What the cache holds, in order. */
  tokens: number[];
  pages: number[];
  /** Rows of the MTP layer's cache. */
  mtpLength: number;
}

export class Model {
  readonly config: ModelConfig;
  readonly source: WeightSource;
  readonly hasMtp: boolean;
  readonly need: MemoryNeed;
  readonly weights: WeightForm;
  /** How INT8 weights are multiplied; all give the same bits. */
  readonly dotProduct: InferenceKernels["dotProduct"];
  /** Longest sequence: by the model, and by the cache. */
  readonly context: number;
  /** Rows of a pass at the most, and rows of logits. */
  readonly maxRows: number;
  readonly maxLogitRows: number;
  readonly #ranks: Ranks;
  readonly #exchange: ExchangeBuffers;
  readonly #pool: PagePool;
  readonly #hasTraces: boolean;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: ModelParts) {
    this.config = parts.config;
    this.source = parts.source;
    this.hasMtp = parts.hasMtp;
    this.need = parts.need;
    this.weights = parts.weights;
    this.dotProduct = parts.dotProduct;
    this.context = parts.context;
    this.maxRows = parts.rows;
    this.maxLogitRows = parts.exchangeSizes.logitRows;
    this.#ranks = parts.ranks;
    this.#exchange = parts.exchange;
    this.#hasTraces = parts.exchangeSizes.traces > 0;
    this.#pool = new PagePool(parts.cache, {
      maxPages: pagesFor(parts.context),
      onSlab: (slab) => parts.ranks.send({ kind: "slab", slab }),
    });
  }

  newSequence(): Sequence {
    return { tokens: [], pages: [], mtpLength: 0 };
  }

  /** Gives a sequence's memory back. */
  release(sequence: Sequence): void {
    this.#pool.release(sequence.pages);
    sequence.pages = [];
    sequence.tokens = [];
    sequence.mtpLength = 0;
  }

  /** Forgets all but the first tokens. */
  truncate(sequence: Sequence, length: number): void {
    sequence.tokens.length = Math.min(sequence.tokens.length, length);
    sequence.mtpLength = Math.min(sequence.mtpLength, length);
    const pages = Math.ceil(length / PAGE_TOKENS);
    this.#pool.release(sequence.pages.splice(pages));
  }

  /** Room in the cache for `length` tokens. Throws CheckpointError "context" when there is none. */
  reserve(sequence: Sequence, length: number): void {
    const limit = Math.min(this.config.maxPositions, this.context);
    if (length > limit) {
      const message = `Cannot go on: the sequence would hold ${length} tokens, wanted at most ${limit}`;
      throw new CheckpointError("context", message, { note: "The context is full" });
    }
    while (sequence.pages.length * PAGE_TOKENS < length) {
      const page = this.#pool.take();
      if (page === undefined) {
        const message = `Cannot go on: all ${this.context} tokens of the cache are taken, wanted room for ${length}`;
        throw new CheckpointError("context", message, { note: "Other sequences hold them: release one" });
      }
      sequence.pages.push(page);
    }
  }

  /**
   * Appends tokens to sequences in one pass: at most maxRows in all, and at most maxLogitRows rows of logits
   * (counted over all appended tokens in order).
   */
  async append(
    parts: readonly { sequence: Sequence; tokens: readonly number[] }[],
    options: { logitRows?: readonly number[]; attention?: "absorbed" | "expanded" } = {},
  ): Promise<PassResult> {
    const segments: Segment[] = [];
    let row = 0;
    for (const { sequence, tokens } of parts) {
      const start = sequence.tokens.length;
      this.reserve(sequence, start + tokens.length);
      segments.push({ row, count: tokens.length, start, pages: sequence.pages });
      row += tokens.length;
    }
    const all = parts.flatMap(({ tokens }) => [...tokens]);
    const { logitRows = [], attention } = options;
    const result = await this.#run({ kind: "main", tokens: all, segments, logitRows, attention });
    for (const { sequence, tokens } of parts) sequence.tokens.push(...tokens);
    return result;
  }

  /**
   * Runs the MTP layer over rows of a sequence: `hidden` (count, hidden) after the final norm, and the token
   * that follows each. They are rows mtpLength … of its own cache.
   */
  async appendMtp(
    sequence: Sequence,
    { tokens, hidden }: { tokens: readonly number[]; hidden: Float32Array },
    logitRows: readonly number[],
  ): Promise<PassResult> {
    const start = sequence.mtpLength;
    this.reserve(sequence, start + tokens.length);
    const segment = { row: 0, count: tokens.length, start, pages: sequence.pages };
    const result = await this.#run({ kind: "mtp", tokens, segments: [segment], logitRows }, hidden);
    sequence.mtpLength = start + tokens.length;
    return result;
  }

  /** One pass at a time: whoever comes while another runs waits for its end. */
  async #run(pass: Pass, hidden?: Float32Array): Promise<PassResult> {
    const { vocab } = this.config.sizes;
    if (pass.tokens.length === 0 || pass.tokens.length > this.maxRows) {
      throw new RangeError(`Cannot run a pass of ${pass.tokens.length} tokens, wanted 1 to ${this.maxRows}`);
    }
    if (pass.logitRows.length > this.maxLogitRows) {
      throw new RangeError(
        `Cannot give ${pass.logitRows.length} rows of logits in one pass, wanted at most ${this.maxLogitRows}`,
      );
    }
    const strange = pass.tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= vocab);
    if (strange !== undefined) {
      throw new RangeError(`Cannot embed token ${strange}, wanted an id from 0 to ${vocab - 1}`);
    }
    const run = this.#turn.then(async () => {
      if (hidden) new Float32Array(this.#exchange.normed).set(hidden);
      await this.#ranks.run(pass);
      return this.#result(pass);
    });
    this.#turn = run.catch(() => {});
    return run;
  }

  #result(pass: Pass): PassResult {
    const { hidden, vocab, numLayers } = this.config.sizes;
    const count = pass.tokens.length;
    const { logits, normed, traces } = this.#exchange;
    const slots = this.#hasTraces ? (pass.kind === "main" ? numLayers + 2 : 2) : 0;
    const kept = new Float32Array(slots * count * hidden);
    for (let slot = 0; slot < slots; slot++) {
      const from = new Float32Array(traces, 4 * slot * this.maxRows * hidden, count * hidden);
      kept.set(from, slot * count * hidden);
    }
    return {
      logits: new Float32Array(logits, 0, pass.logitRows.length * vocab).slice(),
      normed: new Float32Array(normed, 0, count * hidden).slice(),
      traces: slots > 0 ? kept : undefined,
    };
  }

  /** Ends the ranks and frees their memory. */
  async dispose(): Promise<void> {
    await this.#ranks.end();
    await this.source.close();
  }
}
