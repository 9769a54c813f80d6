/** Loading a model: what it takes is decided and checked first, then its ranks are started. */
import { availableParallelism } from "node:os";
import { EMBEDDING, HEAD } from "../arch/deepseek-modules.ts";
import { type ModelConfig, modelConfigOf } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import { checkpointReference } from "../logical/checkpoint-weights.ts";
import { openReference, type WeightReference, type WeightSource } from "../logical/weight-source.ts";
import { checkWeights, throwProblems } from "./check-weights.ts";
import { createExchange, type ExchangeSizes } from "./exchange.ts";
import { bytesPerToken, type CacheShape } from "./latent-cache.ts";
import type { RankSetup } from "./load-rank.ts";
import { Model } from "./model.ts";
import { type ModelOptions, requireOptions } from "./model-options.ts";
import { findMtpCopies, isCopy, withoutWeights } from "./mtp-copies.ts";
import {
  chooseRanks,
  chooseSlots,
  type ExpertMemory,
  MAX_RANKS,
  type MemoryNeed,
  type ModelShape,
} from "./placement.ts";
import { Ranks } from "./ranks.ts";
import { enableRelaxedSimd } from "./relaxed-simd.ts";
import { requireMemory } from "./require-memory.ts";
import type { WeightForm } from "./weights.ts";

const DEFAULT_CHUNK = 256;
/** Nearly every expert is read once for a chunk, however many tokens it has. */
const STREAMING_CHUNK = 512;
const MOST_ROWS = 4096;
/** A context that is smaller without having been asked for would surprise. */
const LEAST_CONTEXT = 1024;
/** Tokens that one of several sequences has room for. */
const USUAL_LENGTH = 4096;
/** Rows of logits that one pass gives. */
const LOGIT_BYTES = 64 << 20;

/**
 * Loads a model: a checkpoint by its folder or reference, or a child that is not built. Throws CheckpointError for a config that cannot be run, for tensors that are missing or
 * misshapen (all at once), for values that are not finite, and when memory will not do; Interrupted when the
 * signal fired; RangeError for threads that cannot be.
 */
export async function loadModel(model: WeightReference | string, options: ModelOptions = {}): Promise<Model> {
  const reference = typeof model === "string" ? checkpointReference(model) : model;
  requireOptions(options);
  const startedAt = performance.now();
  const source = await openReference(reference);
  try {
    const loaded = await loadFrom(source, reference, options);
    const seconds = (performance.now() - startedAt) / 1000;
    options.onEvent?.({ kind: "finished", bytes: loaded.need.weightBytes, seconds });
    return loaded;
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function loadFrom(
  source: WeightSource,
  reference: WeightReference,
  options: ModelOptions,
): Promise<Model> {
  const design = await designOf(source, options);
  const { shape, need, cache, context, experts, exchangeSizes, copies, weights } = design;
  const { config, rows, mtp, expertSlots } = shape;
  options.onEvent?.({ kind: "placed", need, cacheBytes: bytesPerToken(cache) * context, context, experts });
  const kernels = options.kernels ?? "auto";
  const relaxed = weights === "int8" && kernels !== "scalar" && enableRelaxedSimd();
  const exchange = createExchange(exchangeSizes, need.numRanks);
  const common = { reference, rows, mtp, expertSlots, copies, cache, exchange, kernels, weights, relaxed };
  const { numRanks } = need;
  const setups = Array.from(
    { length: numRanks },
    (_, rank): RankSetup => ({ ...common, share: { rank, numRanks } }),
  );
  const ranks = new Ranks(setups);
  try {
    await ranks.load({ bytesTotal: need.weightBytes, ...options });
  } catch (error) {
    await ranks.end();
    throw error;
  }
  const dotProduct = kernels === "scalar" ? "scalar" : relaxed ? "relaxed" : "plain";
  return new Model({
    ...{ source, config, ranks, exchange, cache, context, rows, exchangeSizes, need, experts, weights },
    ...{ hasMtp: mtp, dotProduct },
  });
}

/** All that is decided before anything is loaded. */
interface Design {
  shape: ModelShape;
  weights: WeightForm;
  /** Names of weights that are not loaded: they equal others. */
  copies: readonly string[];
  exchangeSizes: ExchangeSizes;
  need: MemoryNeed;
  cache: CacheShape;
  context: number;
  /** Where routed experts are read from disk. */
  experts: ExpertMemory | undefined;
}

/** Throws CheckpointError for a model that cannot be run, or not here. */
async function designOf(source: WeightSource, options: ModelOptions): Promise<Design> {
  const config = modelConfigOf(source.config);
  if ("problems" in config) {
    throwProblems(config.problems);
    throw new Error("internal: no problem after all");
  }
  const { problems, hasMtp } = checkWeights(config, source);
  throwProblems(problems);
  await requireOneHead(source, config, options);
  const { expertMemory, weights = "stored", sequences = 1 } = options;
  const streams = expertMemory !== undefined;
  const mtp = hasMtp && (options.mtp ?? !streams);
  const chunk = Math.min(options.chunk ?? (streams ? STREAMING_CHUNK : DEFAULT_CHUNK), MOST_ROWS);
  const rows = Math.max(mtp ? 2 : 1, chunk); // a token and its draft go through one pass
  const routed = chooseSlots({ config, source, mtp }, expertMemory ?? 0);
  const experts = streams ? routed : undefined;
  const exchangeSizes = exchangeOf(config, { rows, traces: options.traces === true });
  const threads = options.threads ?? usualThreads(totalElements(source), { ...options, sequences });
  const copies = mtp ? await findMtpCopies(source, config, options) : [];
  const unique = withoutWeights(source, copies);
  const shape = { config, source: unique, rows, mtp, expertSlots: experts?.numSlots, weights };
  const need = chooseRanks(shape, exchangeSizes, threads);
  const cache: CacheShape = {
    dtype: options.cache ?? "f32",
    layers: config.sizes.numLayers + (mtp ? 1 : 0),
    latent: config.sizes.latent,
    ropeDim: config.sizes.ropeDim,
  };
  const available = availableMemory();
  const free = available - need.weightBytes - need.expertBytes - need.bufferBytes;
  const fitting = Math.max(LEAST_CONTEXT, Math.floor(free / bytesPerToken(cache)));
  const usual = Math.max(config.maxPositions, sequences * Math.min(config.maxPositions, USUAL_LENGTH));
  const context = Math.min(options.context ?? Math.min(usual, fitting), 2 ** 24);
  requireMemory(need, {
    ...{ cacheBytes: bytesPerToken(cache) * context, available, context },
    routed: routed && {
      experts: routed,
      need: () =>
        chooseRanks({ ...shape, mtp: false, expertSlots: routed.workingSet }, exchangeSizes, threads),
    },
  });
  return { shape, weights, copies, exchangeSizes, need, cache, context, experts };
}

/** A head that is tied to the embedding and is there as well must be the embedding: which of them is meant else? */
async function requireOneHead(
  source: WeightSource,
  { sizes }: ModelConfig,
  { signal }: ModelOptions,
): Promise<void> {
  if (!sizes.isTied || !source.weights.has(HEAD)) return;
  if (await isCopy(source, HEAD, EMBEDDING, signal)) return;
  const what = `"tie_word_embeddings" is true, and "${HEAD}" differs from "${EMBEDDING}"`;
  throw new CheckpointError("contradiction", `Cannot run "${source.label}": ${what}, wanted equal ones`);
}

/** Below this a pass is computed in less time than threads take to meet. */
const TINY_ELEMENTS = 1 << 25;

function usualThreads(
  elements: number,
  { sequences, sharesCores }: { sequences: number; sharesCores?: boolean },
): number {
  if (elements * sequences < TINY_ELEMENTS) return 1;
  const cores = Math.min(availableParallelism(), MAX_RANKS);
  // Threads that are kept from their core keep all others waiting, hundreds of times a second.
  return sharesCores && elements < TINY_ELEMENTS ? Math.max(1, cores - 1) : cores;
}

function totalElements({ weights }: WeightSource): number {
  let sum = 0;
  for (const { shape } of weights.values()) sum += shape.reduce((product, dim) => product * dim, 1);
  return sum;
}

/** Memory that may be taken, as far as the system tells. */
function availableMemory(): number {
  const system = (globalThis as { process?: { availableMemory?: () => number } }).process;
  return system?.availableMemory?.() ?? Number.POSITIVE_INFINITY;
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
