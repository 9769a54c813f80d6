/**
 * A model that runs: its ranks, its cache, and passes through it. What is above (generation, perplexity)
 * asks for passes over sequences; what a pass does is rank.ts; load-model.ts makes it.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import type { InferenceKernels } from "../kernels/inference.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { DraftBalance } from "./draft-balance.ts";
import type { ExchangeBuffers, ExchangeSizes, PassPlace } from "./exchange.ts";
import { type ExpertUse, gatherExpertUse } from "./expert-use.ts";
import { type CacheShape, PAGE_TOKENS, PagePool, pagesFor } from "./latent-cache.ts";
import type { Pass, Segment } from "./pass.ts";
import type { ExpertMemory, MemoryNeed } from "./placement.ts";
import { type AttentionForm, type PageForms, PrefixCache } from "./prefix-cache.ts";
import type { Ranks } from "./ranks.ts";
import type { WeightForm } from "./weights.ts";

/** What a pass gave, copied out of shared memory. */
export interface PassResult {
  /** (rows asked for, vocab) */
  logits: Float32Array;
  /** After the final norm (of the MTP layer in its pass): (rows, hidden). */
  normed: Float32Array;
  /** With `traces`: after the embedding, each layer and the final norm: (numLayers + 2, rows, hidden). */
  traces: Float32Array | undefined;
}

/** What load-model.ts has made. */
export interface ModelParts {
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
  experts: ExpertMemory | undefined;
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

/** Tokens to append to a sequence. */
export interface AppendedTokens {
  sequence: Sequence;
  tokens: readonly number[];
  /** Form of attention; default: that of the pass. */
  form?: AttentionForm | undefined;
}

export class Model {
  readonly config: ModelConfig;
  readonly source: WeightSource;
  readonly hasMtp: boolean;
  readonly draftBalance: DraftBalance = new DraftBalance();
  readonly need: MemoryNeed;
  /** Where routed experts are read from disk. */
  readonly experts: ExpertMemory | undefined;
  readonly weights: WeightForm;
  /** How INT8 weights are multiplied; all give the same bits. */
  readonly dotProduct: InferenceKernels["dotProduct"];
  /** Longest sequence: by the model, and by the cache. */
  readonly context: number;
  /** Rows of a pass at the most, and rows of logits. */
  readonly maxRows: number;
  readonly maxLogitRows: number;
  readonly #ranks: Ranks;
  readonly #expertUse: SharedArrayBuffer;
  readonly #pool: PagePool;
  readonly #prefixes: PrefixCache;
  readonly #hasTraces: boolean;
  #turn: Promise<unknown> = Promise.resolve();
  /** Passes under way: their ends, and what sequences they run over. */
  readonly #underWay = new Map<Promise<void>, readonly Sequence[]>();
  /** Sequences that passes run over or wait for, and how many passes. */
  readonly #inUse = new Map<Sequence, number>();

  constructor(parts: ModelParts) {
    this.config = parts.config;
    this.source = parts.source;
    this.hasMtp = parts.hasMtp;
    this.need = parts.need;
    this.experts = parts.experts;
    this.weights = parts.weights;
    this.dotProduct = parts.dotProduct;
    this.context = parts.context;
    this.maxRows = parts.rows;
    this.maxLogitRows = parts.exchangeSizes.logitRows;
    this.#ranks = parts.ranks;
    this.#expertUse = parts.exchange.expertUse;
    this.#hasTraces = parts.exchangeSizes.traces > 0;
    this.#pool = new PagePool(parts.cache, {
      maxPages: pagesFor(parts.context),
      onSlab: (slab) => parts.ranks.send({ kind: "slab", slab }),
    });
    this.#prefixes = new PrefixCache(this.#pool);
  }

  /** Pages of the cache: all, those that are free, and those kept for prompts that begin alike. */
  get pages(): { total: number; free: number; kept: number } {
    const total = pagesFor(this.context);
    return { total, free: this.#pool.freePages, kept: this.#prefixes.size };
  }

  /** Passes that may be under way: more wait for their turn. */
  get mostPasses(): number {
    return this.#ranks.mostPasses;
  }

  newSequence(): Sequence {
    return { tokens: [], pages: [], mtpLength: 0 };
  }

  /**
   * Fills an empty sequence with what is kept of the beginning of `tokens`, whole pages and not the last token;
   * returns how many tokens it holds now. It may be appended to, and not be cut.
   */
  reuse(sequence: Sequence, tokens: readonly number[], forms: PageForms): number {
    if (sequence.pages.length > 0)
      throw new RangeError("Cannot reuse pages: the sequence holds some already");
    const most = Math.floor((tokens.length - 1) / PAGE_TOKENS);
    sequence.pages = this.#prefixes.take(tokens, { forms, most });
    sequence.tokens = tokens.slice(0, sequence.pages.length * PAGE_TOKENS);
    return sequence.tokens.length;
  }

  /** Keeps the whole pages of a sequence for others that begin alike, as long as pages last. */
  keep(sequence: Sequence, forms: PageForms): void {
    this.#prefixes.add(sequence.tokens, { pages: sequence.pages, forms });
  }

  /** Gives a sequence's memory back. Throws while a pass over it is not over. */
  release(sequence: Sequence): void {
    this.#requireIdle(sequence);
    this.#pool.release(sequence.pages);
    sequence.pages = [];
    sequence.tokens = [];
    sequence.mtpLength = 0;
  }

  /** Forgets all but the first tokens. Throws while a pass over the sequence is not over. */
  truncate(sequence: Sequence, length: number): void {
    this.#requireIdle(sequence);
    const cut = sequence.pages[Math.floor(length / PAGE_TOKENS)];
    if (length % PAGE_TOKENS > 0 && cut !== undefined && this.#pool.holders(cut) > 1)
      throw new Error("internal: a page that is shared would be written to");
    sequence.tokens.length = Math.min(sequence.tokens.length, length);
    sequence.mtpLength = Math.min(sequence.mtpLength, length);
    const pages = Math.ceil(length / PAGE_TOKENS);
    this.#pool.release(sequence.pages.splice(pages));
  }

  /** The pass writes to the sequence's pages: nobody else may have them before its end. */
  #requireIdle(sequence: Sequence): void {
    if (!this.#inUse.has(sequence)) return;
    throw new Error("Cannot cut a sequence: a pass over it is under way, wanted its end first");
  }

  /** Room in the cache for `length` tokens. Throws CheckpointError "context" when there is none. */
  #reserve(sequence: Sequence, length: number): void {
    const limit = Math.min(this.config.maxPositions, this.context);
    if (length > limit) {
      const message = `Cannot go on: the sequence would hold ${length} tokens, wanted at most ${limit}`;
      throw new CheckpointError("context", message, { note: "The context is full" });
    }
    while (sequence.pages.length * PAGE_TOKENS < length) {
      const page = this.#pool.take() ?? (this.#prefixes.evict() ? this.#pool.take() : undefined);
      if (page === undefined) {
        const message = `Cannot go on: all ${this.context} tokens of the cache are taken, wanted room for ${length}`;
        throw new CheckpointError("context", message, { note: "Other sequences hold them: release one" });
      }
      sequence.pages.push(page);
    }
  }

  /**
   * Appends tokens to sequences in one pass: at most maxRows in all, and at most maxLogitRows rows of logits
   * (counted over all appended tokens in order). Throws RangeError for what no pass can be, CheckpointError
   * "context" where there is no room and "not-finite" for what overflows; the sequences are then as before.
   */
  append(
    parts: readonly AppendedTokens[],
    { logitRows = [], attention }: { logitRows?: readonly number[]; attention?: Pass["attention"] } = {},
  ): Promise<PassResult> {
    const sequences = parts.map(({ sequence }) => sequence);
    return this.#inTurn(sequences, async () => {
      if (new Set(sequences).size < sequences.length) {
        throw new RangeError("Cannot append to a sequence twice in one pass, wanted each once");
      }
      const segments: Segment[] = [];
      let row = 0;
      for (const { sequence, tokens, form } of parts) {
        const start = sequence.tokens.length;
        this.#reserve(sequence, start + tokens.length);
        segments.push({ row, count: tokens.length, start, pages: sequence.pages, form });
        row += tokens.length;
      }
      const all = parts.flatMap(({ tokens }) => [...tokens]);
      const result = await this.#run({ kind: "main", tokens: all, segments, logitRows, attention });
      for (const { sequence, tokens } of parts) sequence.tokens.push(...tokens);
      return result;
    });
  }

  /**
   * Runs the MTP layer over rows of a sequence: `hidden` (count, hidden) after the final norm, and the token
   * that follows each. They are rows mtpLength … of its own cache. Throws as append() does.
   */
  appendMtp(
    sequence: Sequence,
    { tokens, hidden }: { tokens: readonly number[]; hidden: Float32Array },
    logitRows: readonly number[],
  ): Promise<PassResult> {
    return this.#inTurn([sequence], async () => {
      const start = sequence.mtpLength;
      this.#reserve(sequence, start + tokens.length);
      const segment = { row: 0, count: tokens.length, start, pages: sequence.pages };
      const result = await this.#run({ kind: "mtp", tokens, segments: [segment], logitRows }, hidden);
      sequence.mtpLength = start + tokens.length;
      return result;
    });
  }

  /**
   * In the order in which they are asked for: whoever comes while others run finds what they have left. Passes over
   * other sequences than those under way need not wait for their end, as far as the ranks take more than one.
   */
  #inTurn<T>(sequences: readonly Sequence[], action: () => Promise<T>): Promise<T> {
    for (const sequence of sequences) this.#inUse.set(sequence, (this.#inUse.get(sequence) ?? 0) + 1);
    const begun = this.#turn.then(async () => {
      while (!this.#mayBegin(sequences)) await Promise.race(this.#underWay.keys());
      const result = action();
      const end = result.then(noValue, noValue);
      this.#underWay.set(end, sequences);
      void end.then(() => this.#underWay.delete(end));
      return { result }; // not awaited: the next one may begin
    });
    this.#turn = begun.then(noValue);
    return begun
      .then(({ result }) => result)
      .finally(() => {
        for (const sequence of sequences) {
          const left = this.#inUse.get(sequence)! - 1;
          if (left > 0) this.#inUse.set(sequence, left);
          else this.#inUse.delete(sequence);
        }
      });
  }

  #mayBegin(sequences: readonly Sequence[]): boolean {
    if (this.#underWay.size >= this.#ranks.mostPasses) return false;
    for (const busy of this.#underWay.values())
      if (sequences.some((sequence) => busy.includes(sequence))) return false;
    return true;
  }

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
    const nowhere = pass.logitRows.find(
      (row) => !Number.isInteger(row) || row < 0 || row >= pass.tokens.length,
    );
    if (nowhere !== undefined) {
      const rows = `0 to ${pass.tokens.length - 1}`;
      throw new RangeError(`Cannot give the logits of row ${nowhere} of the pass, wanted rows from ${rows}`);
    }
    const strange = pass.tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= vocab);
    if (strange !== undefined) {
      throw new RangeError(`Cannot embed token ${strange}, wanted an id from 0 to ${vocab - 1}`);
    }
    return this.#result(pass, await this.#ranks.run(pass, hidden));
  }

  #result(pass: Pass, { logits, normed, traces }: PassPlace): PassResult {
    const { hidden, vocab, numLayers } = this.config.sizes;
    const count = pass.tokens.length;
    const slots = this.#hasTraces ? (pass.kind === "main" ? numLayers + 2 : 2) : 0;
    const kept = new Float32Array(slots * count * hidden);
    for (let slot = 0; slot < slots; slot++) {
      const from = slot * this.maxRows * hidden;
      kept.set(traces.subarray(from, from + count * hidden), slot * count * hidden);
    }
    return {
      logits: ownCopy(logits, pass.logitRows.length * vocab),
      normed: ownCopy(normed, count * hidden),
      traces: slots > 0 ? kept : undefined,
    };
  }

  /** What the cache of experts has done since the model was loaded; undefined where all are in memory. */
  expertUse(): ExpertUse | undefined {
    return this.experts && gatherExpertUse(new Float64Array(this.#expertUse));
  }

  /** Ends the ranks and frees their memory. A pass that is under way fails. */
  async dispose(): Promise<void> {
    await this.#ranks.end();
    await this.source.close();
  }
}

function noValue(): void {}

/** Of memory that is shared. */
function ownCopy(values: Float32Array, length: number): Float32Array {
  return new Float32Array(values.subarray(0, length));
}
