/**
 * One answer of a batch: what of it is computed, what comes next, and in which form.
 *
 * Rows of the prompt take the form of attention that generate() gives them, whatever runs of them are computed
 * together: the form depends on the place in the prompt alone. What was generated is computed in the absorbed form,
 * also when it has to be computed again. So an answer has the bits that it has alone.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { cheaperForm } from "./attention.ts";
import type { FinishReason } from "./generate.ts";
import { PAGE_TOKENS } from "./latent-cache.ts";
import type { Sequence } from "./model.ts";
import type { AttentionForm } from "./prefix-cache.ts";
import { ATTENDED_ROWS } from "./run-state.ts";

export interface BatchJob {
  /** At least one token. */
  prompt: readonly number[];
  /** Most tokens to generate; 0 only with `onPromptLogits`. Default: until the context is full. */
  maxTokens?: number;
  /** The next token from its logits; `position` counts from the start of the sequence. */
  choose: (logits: Float32Array, position: number, tokens: readonly number[]) => number;
  /** Told each token; false: no further one is wanted. */
  onToken: (token: number) => boolean;
  /** Told once, when the prompt begins to be computed: how many of its tokens were found in the cache. */
  onStart?: (cachedTokens: number) => void;
  /** Told the logits behind each token of the prompt, in order. Such a prompt is computed whole. */
  onPromptLogits?: (logits: Float32Array, position: number) => void;
  signal?: AbortSignal;
}

/** What decides the forms of a prompt's rows. */
export interface PromptCut {
  config: Pick<ModelConfig, "sizes">;
  /** Tokens that generate() computes together. */
  chunk: number;
}

export class BatchEntry {
  readonly job: BatchJob;
  readonly sequence: Sequence;
  /** Prompt and what came behind. */
  readonly tokens: number[];
  readonly numPrompt: number;
  readonly limit: number;
  readonly resolve: (reason: FinishReason) => void;
  readonly reject: (error: unknown) => void;
  readonly #cut: PromptCut;
  hasStarted = false;
  /** Rows of it are being computed: it may not be let go. */
  isInPass = false;
  /** Its signal is no longer listened to. */
  unwatch: () => void = () => {};
  /** Tokens of the prompt whose logits were told. */
  numTold = 0;

  constructor(
    job: BatchJob,
    options: { sequence: Sequence; limit: number; cut: PromptCut } & Pick<BatchEntry, "resolve" | "reject">,
  ) {
    this.job = job;
    this.sequence = options.sequence;
    this.tokens = [...job.prompt];
    this.numPrompt = job.prompt.length;
    this.limit = options.limit;
    this.#cut = options.cut;
    this.resolve = options.resolve;
    this.reject = options.reject;
  }

  get numGenerated(): number {
    return this.tokens.length - this.numPrompt;
  }

  /** Tokens that are to be computed before the next one can be chosen. */
  get pending(): number {
    return this.tokens.length - this.sequence.tokens.length;
  }

  /** Only its last token is to be computed. */
  get isDecoding(): boolean {
    return this.numGenerated > 0 && this.pending === 1;
  }

  /** Pages that it holds when what it has is computed, the next token included. */
  get wantedPages(): number {
    return Math.ceil((this.tokens.length + 1) / PAGE_TOKENS);
  }

  get wantsPromptLogits(): boolean {
    return this.job.onPromptLogits !== undefined && this.sequence.tokens.length < this.numPrompt;
  }

  /** The next tokens to compute, at most so many: all of one form. */
  piece(most: number): { tokens: readonly number[]; form: AttentionForm } {
    const from = this.sequence.tokens.length;
    const form = this.formAt(from);
    let to = from + 1;
    while (to < this.tokens.length && to < from + most && this.formAt(to) === form) to++;
    return { tokens: this.tokens.slice(from, to), form };
  }

  formAt(position: number): AttentionForm {
    if (position >= this.numPrompt) return "absorbed";
    const { chunk, config } = this.#cut;
    const chunkStart = position - (position % chunk);
    const start = position - ((position - chunkStart) % ATTENDED_ROWS);
    const end = Math.min(start + ATTENDED_ROWS, chunkStart + chunk, this.numPrompt);
    return cheaperForm(config, { count: end - start, start });
  }

  formOfPage(index: number): AttentionForm | undefined {
    const first = index * PAGE_TOKENS;
    const form = this.formAt(first);
    for (let row = 1; row < PAGE_TOKENS; row++) if (this.formAt(first + row) !== form) return undefined;
    return form;
  }
}
