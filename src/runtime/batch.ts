/**
 * Several answers at a time: one pass computes a token of each. Weights are then read once for all of them, which
 * makes a small model two to three times as fast, a large one half as fast again on few cores (docs/BENCHMARKS.md).
 *
 * Continuous batching: an answer that ends leaves its place to the next that waits, between two passes. Prompts are
 * computed piece by piece beside the answers (batch-pace.ts); what other prompts have begun with is not computed
 * again (prefix-cache.ts). Whoever is let in has room for his prompt; when the cache is full, the one that came last
 * gives his pages back and is computed again later. None of that changes a bit of an answer (batch-entry.ts).
 *
 * Many answers go in two passes that take turns: while one is computed, tokens of the other are chosen and sent.
 */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import { BatchEntry, type BatchJob } from "./batch-entry.ts";
import { BatchPace, shareRows } from "./batch-pace.ts";
import type { FinishReason } from "./generate.ts";
import { PAGE_TOKENS, pagesFor } from "./latent-cache.ts";
import type { AppendedTokens, Model } from "./model.ts";

export type { BatchJob } from "./batch-entry.ts";

export interface BatchOptions {
  /** Answers that are computed at a time. Default 32, or as many as one pass gives logits for. */
  slots?: number;
  /** What part of the cache is left to others, who are not in the batch. Default 0. */
  spare?: number;
}

const DEFAULT_SLOTS = 32;
/** Answers from which on a pass takes half of them. One pass of all would be no quicker a row (docs/LOG.md). */
const MANY = 33;

/** Rows of one answer in a pass. */
interface Piece {
  entry: BatchEntry;
  part: AppendedTokens;
}

export class Batch {
  readonly slots: number;
  readonly #model: Model;
  readonly #pace = new BatchPace();
  readonly #limit: number;
  /** Pages that the answers may hold together. */
  readonly #mostPages: number;
  #waiting: BatchEntry[] = [];
  /** In order of arrival. */
  #running: BatchEntry[] = [];
  #isRunning = false;
  readonly #underWay = new Set<Promise<void>>();
  /** When the last pass ended, in milliseconds. */
  #lastEnd = 0;

  /** Of a model whose cache nobody else uses meanwhile, but for what is spared: it is shared out here. */
  constructor(model: Model, { slots = DEFAULT_SLOTS, spare = 0 }: BatchOptions = {}) {
    this.#model = model;
    this.slots = Math.max(1, Math.min(slots, model.maxLogitRows, model.maxRows));
    this.#limit = Math.min(model.context, model.config.maxPositions);
    // One answer of any length always has room.
    const longest = Math.ceil(this.#limit / PAGE_TOKENS);
    this.#mostPages = Math.max(longest, Math.floor((1 - spare) * pagesFor(model.context)));
  }

  /** Most tokens of a prompt, and of a prompt with its answer. */
  get limit(): number {
    return this.#limit;
  }

  get numRunning(): number {
    return this.#running.length;
  }

  get numWaiting(): number {
    return this.#waiting.length;
  }

  /**
   * Generates behind a prompt; resolves when the answer is over. Throws CheckpointError "context" for a prompt
   * that is longer than the context, Interrupted when the signal fired before the first token.
   */
  run(job: BatchJob): Promise<FinishReason> {
    const { prompt, maxTokens, signal } = job;
    const least = job.onPromptLogits ? 0 : 1;
    if (prompt.length === 0) throw new RangeError("Cannot generate behind an empty prompt, wanted a token");
    if (maxTokens !== undefined && !(maxTokens >= least))
      throw new RangeError(`Cannot generate ${maxTokens} tokens, wanted ${least} or more`);
    if (prompt.length > this.#limit) {
      const message = `Cannot use the prompt: it has ${prompt.length} tokens, wanted at most the ${this.#limit} of the context`;
      return Promise.reject(new CheckpointError("context", message));
    }
    if (signal?.aborted) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      const cut = { config: this.#model.config, chunk: this.#model.maxRows };
      const sequence = this.#model.newSequence();
      const entry = new BatchEntry(job, { sequence, limit: this.#limit, cut, resolve, reject });
      this.#waiting.push(entry);
      this.#watch(entry);
      if (!this.#isRunning) void this.#run();
    });
  }

  /** Whoever waits and is stopped has his answer at once; who runs, after the pass. */
  #watch(entry: BatchEntry): void {
    const { signal } = entry.job;
    if (!signal) return;
    const stop = () => {
      const at = this.#waiting.indexOf(entry);
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      this.#stop(entry);
    };
    signal.addEventListener("abort", stop, { once: true });
    // The signal may live for long, and would hold the answer.
    entry.unwatch = () => signal.removeEventListener("abort", stop);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      await Promise.resolve(); // whoever asks for several in one go has them begin together
      for (;;) {
        while (this.#beginPass());
        if (this.#underWay.size > 0) await Promise.race(this.#underWay);
        else if (this.#waiting.length + this.#running.length > 0)
          throw new Error("internal: a pass of no rows");
        else return;
      }
    } catch (error) {
      await Promise.all(this.#underWay); // over what they run nobody may be let go
      this.#failAll(error);
    } finally {
      this.#isRunning = false; // at once: who asks now must find that nothing runs
    }
  }

  /** Begins a pass if there is something to compute that need not wait; false: there is not. */
  #beginPass(): boolean {
    for (const entry of this.#running.filter(({ job, isInPass }) => !isInPass && job.signal?.aborted))
      this.#stop(entry);
    this.#admit();
    const isAlone = this.#underWay.size === 0;
    const isMany = this.#running.length >= MANY;
    if (!isAlone && (!isMany || this.#underWay.size >= this.#model.mostPasses || !this.#hasRoom))
      return false;
    this.#makeRoom();
    const most = isMany ? Math.ceil(this.#running.length / this.#model.mostPasses) : this.slots;
    const idle = this.#running.filter(({ isInPass }) => !isInPass);
    const chosen = idle.slice(0, most);
    const pieces = this.#pieces(chosen);
    if (pieces.length === 0) return chosen.some((entry) => !this.#running.includes(entry)); // its caller failed
    for (const { entry } of pieces) entry.isInPass = true;
    const pass = this.#pass(pieces).finally(() => this.#underWay.delete(pass));
    this.#underWay.add(pass);
    return true;
  }

  /** A fault of the batch itself: nobody may wait for ever. */
  #failAll(error: unknown): void {
    for (const entry of [...this.#running, ...this.#waiting.splice(0)]) this.#fail(entry, error);
  }

  #stop(entry: BatchEntry): void {
    if (entry.numGenerated > 0) this.#end(entry, "aborted");
    else this.#fail(entry, stopped());
  }

  /** Lets in whom there is room for, in order. */
  #admit(): void {
    while (this.#waiting.length > 0 && this.#running.length < this.slots) {
      const next = this.#waiting[0]!;
      // A page more for each that runs, or the newcomer would soon be sent away again.
      const growth = this.#running.length;
      if (growth > 0 && this.#heldPages() + growth + next.wantedPages > this.#mostPages) return;
      this.#running.push(this.#waiting.shift()!);
    }
  }

  /** Pages of the answers that run, when what they have is computed; shared ones once. */
  #heldPages(): number {
    const held = new Set(this.#running.flatMap(({ sequence }) => sequence.pages));
    return this.#running.reduce(
      (sum, { wantedPages, sequence }) => sum + Math.max(0, wantedPages - sequence.pages.length),
      held.size,
    );
  }

  /** The rows of the next pass: one of each answer, and what prompts get beside them. */
  #pieces(entries: readonly BatchEntry[]): Piece[] {
    const decoding = entries.filter(({ isDecoding }) => isDecoding);
    const prompts = entries.filter((entry) => !entry.isDecoding && this.#begin(entry));
    const { maxRows, maxLogitRows } = this.#model;
    let logitRows = maxLogitRows - entries.length;
    const wanted = prompts.map((entry) => {
      if (!entry.wantsPromptLogits) return entry.pending;
      const rows = Math.min(entry.pending, logitRows + 1);
      logitRows -= rows - 1;
      return rows;
    });
    const rows = this.#pace.promptRows(maxRows - decoding.length, decoding.length);
    const given = shareRows(wanted, rows);
    const counts = new Map(prompts.map((entry, i) => [entry, given[i]!]));
    return entries.flatMap((entry) => {
      if (!entry.isDecoding && !counts.has(entry)) return []; // it failed
      const count = entry.isDecoding ? 1 : counts.get(entry)!;
      if (count === 0) return [];
      return [{ entry, part: { sequence: entry.sequence, ...entry.piece(count) } }];
    });
  }

  get #hasRoom(): boolean {
    return this.#running.length <= 1 || this.#heldPages() <= this.#mostPages;
  }

  /**
   * While the answers would hold more than there is, the last one leaves; it comes back as the first to wait. Only
   * between passes: what is computed keeps its pages.
   */
  #makeRoom(): void {
    while (!this.#hasRoom) {
      const last = this.#running.pop()!;
      this.#model.release(last.sequence);
      this.#waiting.unshift(last);
    }
  }

  /** Before the first row of it is computed: others may have computed its beginning just now. False: it failed. */
  #begin(entry: BatchEntry): boolean {
    const { sequence, job, numPrompt } = entry;
    if (sequence.tokens.length > 0) return true;
    const prompt = entry.tokens.slice(0, numPrompt);
    const cached = job.onPromptLogits
      ? 0
      : this.#model.reuse(sequence, prompt, (index) => entry.formOfPage(index));
    if (entry.hasStarted) return true;
    entry.hasStarted = true;
    try {
      job.onStart?.(cached);
      return true;
    } catch (error) {
      this.#fail(entry, error);
      return false;
    }
  }

  async #pass(pieces: readonly Piece[]): Promise<void> {
    let row = 0;
    const logitRows: number[] = [];
    const counts = pieces.map(({ entry, part }) => {
      row += part.tokens.length;
      const isLast = entry.pending === part.tokens.length;
      const count = entry.wantsPromptLogits ? part.tokens.length : isLast ? 1 : 0;
      for (let at = row - count; at < row; at++) logitRows.push(at);
      return count;
    });
    const startedAt = performance.now();
    let logits: Float32Array;
    try {
      ({ logits } = await this.#model.append(
        pieces.map(({ part }) => part),
        { logitRows },
      ));
    } catch (error) {
      // One answer that overflows fails the pass of all: each is tried by itself.
      if (pieces.length > 1) {
        for (const piece of pieces) await this.#pass([piece]);
        return;
      }
      const { entry } = pieces[0]!;
      entry.isInPass = false;
      this.#fail(entry, error);
      return;
    }
    const now = performance.now();
    this.#pace.add(row, (now - Math.max(startedAt, this.#lastEnd)) / 1000);
    this.#lastEnd = now;
    const { vocab } = this.#model.config.sizes;
    let at = 0;
    for (const [i, { entry, part }] of pieces.entries()) {
      const rows = Array.from({ length: counts[i]! }, () => logits.subarray(at * vocab, ++at * vocab));
      entry.isInPass = false;
      this.#receive(entry, part.tokens.length, rows);
    }
  }

  /** What a pass gave for an answer: logits of its rows, of the last one, or none yet. */
  #receive(entry: BatchEntry, numComputed: number, rows: readonly Float32Array[]): void {
    const to = entry.sequence.tokens.length;
    const from = to - numComputed;
    if (from < entry.numPrompt && to >= entry.numPrompt)
      this.#model.keep(entry.sequence, (index) => entry.formOfPage(index));
    try {
      if (from < entry.numPrompt)
        for (const [i, row] of rows.entries()) {
          // Who had to leave is computed again, and told once.
          if (from + i < entry.numTold || from + i >= entry.numPrompt) continue;
          entry.numTold++;
          entry.job.onPromptLogits?.(row, from + i);
        }
    } catch (error) {
      this.#fail(entry, error);
      return;
    }
    if (entry.pending === 0) this.#take(entry, rows.at(-1)!);
  }

  /** Chooses the next token; the answer goes on or is over. */
  #take(entry: BatchEntry, logits: Float32Array): void {
    const { job, tokens, limit } = entry;
    const most = job.maxTokens ?? limit;
    let reason: FinishReason | undefined;
    try {
      if (most === 0) reason = "length";
      else if (tokens.length >= limit) reason = "context";
      else {
        const token = job.choose(logits, tokens.length, tokens);
        tokens.push(token);
        if (!job.onToken(token)) reason = "stop";
        else if (entry.numGenerated >= most) reason = "length";
        else if (tokens.length >= limit) reason = "context";
      }
    } catch (error) {
      this.#fail(entry, error);
      return;
    }
    if (reason !== undefined) this.#end(entry, reason);
  }

  #end(entry: BatchEntry, reason: FinishReason): void {
    this.#leave(entry);
    entry.resolve(reason);
  }

  #fail(entry: BatchEntry, error: unknown): void {
    this.#leave(entry);
    entry.reject(error);
  }

  #leave(entry: BatchEntry): void {
    entry.unwatch();
    this.#running = this.#running.filter((other) => other !== entry);
    this.#model.release(entry.sequence);
  }
}

function stopped(): Interrupted {
  return new Interrupted("The generation was stopped");
}
