/**
 * Several answers at a time: one pass computes a token of each. Weights are then read once for all of them, which
 * makes a small model two to three times as fast, a large one half as fast again on few cores (docs/BENCHMARKS.md).
 *
 * Continuous batching: an answer that ends leaves its place to the next that waits, between two passes. Prompts
 * are computed in passes of their own, cut as generate() cuts them, so that an answer has the very bits that it has
 * alone. Whoever is let in has room in the cache for the longest answer he may get: nobody is thrown out later.
 */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import type { FinishReason } from "./generate.ts";
import { PAGE_TOKENS, pagesFor } from "./latent-cache.ts";
import type { Model, Sequence } from "./model.ts";

export interface BatchJob {
  /** At least one token. */
  prompt: readonly number[];
  /** Most tokens to generate, 1 or more. Default: until the context is full. */
  maxTokens?: number;
  /** The next token from its logits; `position` counts from the start of the sequence. */
  choose: (logits: Float32Array, position: number, tokens: readonly number[]) => number;
  /** Told each token; false: no further one is wanted. */
  onToken: (token: number) => boolean;
  signal?: AbortSignal;
}

export interface BatchOptions {
  /** Answers that are computed at a time. Default 32, or as many as one pass gives logits for. */
  slots?: number;
  /** What part of the cache is left to others, who are not in the batch. Default 0. */
  spare?: number;
}

interface Running {
  job: BatchJob;
  sequence: Sequence;
  /** Prompt and what came behind. */
  tokens: number[];
  numGenerated: number;
  limit: number;
  pages: number;
  resolve: (reason: FinishReason) => void;
  reject: (error: unknown) => void;
}

const DEFAULT_SLOTS = 32;

export class Batch {
  readonly slots: number;
  readonly #model: Model;
  readonly #waiting: Running[] = [];
  #running: Running[] = [];
  #freePages: number;
  #pump: Promise<void> | undefined;

  /** Of a model whose cache nobody else uses meanwhile, but for what is spared: it is shared out here. */
  constructor(model: Model, { slots = DEFAULT_SLOTS, spare = 0 }: BatchOptions = {}) {
    this.#model = model;
    this.slots = Math.max(1, Math.min(slots, model.maxLogitRows, model.maxRows));
    const longest = Math.ceil(Math.min(model.context, model.config.maxPositions) / PAGE_TOKENS);
    // One answer of any length always has room.
    this.#freePages = Math.max(longest, Math.floor((1 - spare) * pagesFor(model.context)));
  }

  /**
   * Generates behind a prompt; resolves when the answer is over. Throws CheckpointError "context" for a prompt
   * that is longer than the context, Interrupted when the signal fired before the first token.
   */
  run(job: BatchJob): Promise<FinishReason> {
    const { prompt, maxTokens } = job;
    const limit = Math.min(this.#model.context, this.#model.config.maxPositions);
    if (prompt.length === 0) throw new RangeError("Cannot generate behind an empty prompt, wanted a token");
    if (maxTokens !== undefined && !(maxTokens >= 1))
      throw new RangeError(`Cannot generate ${maxTokens} tokens, wanted 1 or more`);
    if (prompt.length > limit) {
      const message = `Cannot use the prompt: it has ${prompt.length} tokens, wanted at most the ${limit} of the context`;
      return Promise.reject(new CheckpointError("context", message));
    }
    const most = Math.min(limit, prompt.length + (maxTokens ?? limit));
    return new Promise((resolve, reject) => {
      const sequence = this.#model.newSequence();
      const tokens = [...prompt];
      const pages = Math.ceil(most / PAGE_TOKENS);
      this.#waiting.push({ job, sequence, tokens, numGenerated: 0, limit, pages, resolve, reject });
      this.#pump ??= this.#run().finally(() => {
        this.#pump = undefined;
      });
    });
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // whoever asks for several in one go has them begin together
    while (this.#waiting.length + this.#running.length > 0) {
      await this.#admit();
      await this.#step();
    }
  }

  /** Lets in whom there is room for, in order, and computes their prompts. */
  async #admit(): Promise<void> {
    const admitted: Running[] = [];
    while (this.#waiting.length > 0 && this.#running.length + admitted.length < this.slots) {
      const next = this.#waiting[0]!;
      if (next.job.signal?.aborted) {
        this.#waiting.shift();
        next.reject(new Interrupted("The generation was stopped"));
        continue;
      }
      if (next.pages > this.#freePages) break;
      this.#freePages -= next.pages;
      admitted.push(this.#waiting.shift()!);
    }
    while (admitted.length > 0) await this.#prefill(this.#together(admitted));
  }

  /** Takes prompts off the list that fit one pass; one that fits none alone is alone. */
  #together(admitted: Running[]): Running[] {
    const { maxRows } = this.#model;
    let rows = 0;
    let count = 0;
    while (count < admitted.length && rows + admitted[count]!.tokens.length <= maxRows)
      rows += admitted[count++]!.tokens.length;
    return admitted.splice(0, Math.max(1, count));
  }

  async #prefill(some: readonly Running[]): Promise<void> {
    const { maxRows } = this.#model;
    try {
      const [first] = some;
      let from = 0;
      if (some.length === 1) {
        for (; from + maxRows < first!.tokens.length; from += maxRows) {
          if (first!.job.signal?.aborted) throw new Interrupted("The generation was stopped");
          const tokens = first!.tokens.slice(from, from + maxRows);
          await this.#model.append([{ sequence: first!.sequence, tokens }]);
        }
      }
      await this.#pass(
        some,
        some.map(({ sequence, tokens }) => ({ sequence, tokens: tokens.slice(from) })),
      );
    } catch (error) {
      // As in a step: one prompt that cannot be computed must not fail the others.
      if (some.length === 1) this.#fail(some[0]!, error);
      else for (const one of some) await this.#prefill([one]);
    }
  }

  /** A token for each that runs. */
  async #step(): Promise<void> {
    const some = this.#running;
    if (some.length === 0) return;
    this.#running = [];
    try {
      await this.#pass(
        some,
        some.map(({ sequence, tokens }) => ({ sequence, tokens: tokens.slice(-1) })),
      );
    } catch (error) {
      // One answer that overflows fails the pass of all: each is tried by itself.
      if (some.length === 1) this.#fail(some[0]!, error);
      else for (const one of some) await this.#alone(one);
    }
  }

  async #alone(one: Running): Promise<void> {
    try {
      await this.#pass([one], [{ sequence: one.sequence, tokens: one.tokens.slice(-1) }]);
    } catch (error) {
      this.#fail(one, error);
    }
  }

  async #pass(
    some: readonly Running[],
    parts: readonly { sequence: Sequence; tokens: readonly number[] }[],
  ): Promise<void> {
    let row = -1;
    const logitRows = parts.map(({ tokens }) => {
      row += tokens.length;
      return row;
    });
    const { logits } = await this.#model.append(parts, { logitRows });
    const { vocab } = this.#model.config.sizes;
    for (const [i, one] of some.entries()) this.#take(one, logits.subarray(i * vocab, (i + 1) * vocab));
  }

  /** Chooses the next token; the answer goes on or is over. */
  #take(one: Running, logits: Float32Array): void {
    const { job, tokens, limit } = one;
    let reason: FinishReason | undefined;
    try {
      const token = job.choose(logits, tokens.length, tokens);
      tokens.push(token);
      one.numGenerated++;
      const most = job.maxTokens ?? limit;
      if (!job.onToken(token)) reason = "stop";
      else if (one.numGenerated >= most) reason = "length";
      else if (tokens.length >= limit) reason = "context";
      else if (job.signal?.aborted) reason = "aborted";
    } catch (error) {
      this.#fail(one, error);
      return;
    }
    if (reason === undefined) {
      this.#running.push(one);
      return;
    }
    this.#leave(one);
    one.resolve(reason);
  }

  #fail(one: Running, error: unknown): void {
    this.#leave(one);
    one.reject(error);
  }

  #leave(one: Running): void {
    this.#model.release(one.sequence);
    this.#freePages += one.pages;
  }
}
