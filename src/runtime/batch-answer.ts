/**
 * An answer that is computed together with others, token by token as they come: what it says, how likely each token
 * was, and how it ended.
 */
import type { ChatMessage } from "../text/chat-template.ts";
import { gatherOutput, type Output, type OutputEvent } from "../text/output-events.ts";
import type { TraceState } from "../text/output-parser.ts";
import type { Batch } from "./batch.ts";
import type { FinishReason } from "./generate.ts";
import { type TokenLikelihood, tokenLikelihood } from "./likelihood.ts";
import { Sampler, type SamplerOptions } from "./sampler.ts";
import type { AnswerOptions, Asked, TextModel } from "./talk.ts";

/** Which tokens may come: grammars, forced calls. */
export interface TokenGuide {
  /** Bit i of word w: whether id 32 w + i may come next; undefined: all may. `logits`: what the model wants. */
  allowed(logits: Float32Array): Uint32Array | undefined;
  /** The token that has come. */
  accept(id: number): void;
}

export interface BatchAnswerOptions
  extends Pick<
    AnswerOptions,
    | "maxTokens"
    | "stop"
    | "reasoningFormat"
    | "variables"
    | "tools"
    | "callId"
    | "signal"
    | keyof SamplerOptions
  > {
  /** Tell the likelihood of each token, and of as many of the likeliest ones. */
  likelihoods?: number;
  /** Tell that of the prompt's tokens too. */
  promptLikelihoods?: boolean;
  /** Changes a copy of the logits before a token is drawn; what came so far, prompt included. */
  adjust?: (logits: Float32Array, tokens: readonly number[], numPrompt: number) => void;
  guide?: TokenGuide;
}

export interface AnswerListener {
  /** Told once, before the first token: the likelihoods of the prompt's tokens from the second on, if asked for. */
  onPromptDone?: (likelihoods: readonly TokenLikelihood[]) => void;
  /** Told each token as it comes; a listener that throws fails the answer in the end. */
  onStep?: (step: AnswerStep) => void;
}

export type BatchPrompt = readonly ChatMessage[] | string | Asked;

export interface AnswerStep {
  token: number;
  /** What it adds; nothing as long as it is held back. */
  events: OutputEvent[];
  likelihood: TokenLikelihood | undefined;
}

/** What an answer took. */
export interface AnswerEnd {
  finish: FinishReason;
  promptTokens: number;
  /** Of these, found in the cache. */
  cachedTokens: number;
  /** Of the prompt's tokens from the second on; with `promptLikelihoods`. */
  promptLikelihoods: TokenLikelihood[];
  /** Generated, the one that ends the answer included. */
  tokens: number;
  /** Of these, up to the marker that closes the trace and with it; 0 without a trace. */
  thinkingTokens: number;
  trace: TraceState;
  /** From asking until the prompt begins to be computed; until the first token; until the last one. */
  waitedSeconds: number;
  firstTokenSeconds: number;
  seconds: number;
  /** What was held back, and the end. */
  events: OutputEvent[];
}

/** The whole of an answer, and what it took. */
export type BatchAnswer = Output & Omit<AnswerEnd, "events">;

/**
 * Answers messages, goes on behind a text, or behind ids that are prepared.
 * Throws as Batch.run() does.
 */
export async function answerInBatch(
  text: TextModel,
  batch: Batch,
  prompt: BatchPrompt,
  { onStep, onPromptDone, ...options }: BatchAnswerOptions & AnswerListener = {},
): Promise<AnswerEnd> {
  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000;
  const { ids, reader } = await askedOf(text, prompt, options);
  const { maxTokens, signal, likelihoods, guide } = options;
  const sampler = new Sampler({ ...options, maskedIds: text.maskedIds });
  const deliveries = new Deliveries();
  const times = { waited: 0, first: 0 };
  const promptLikelihoods: TokenLikelihood[] = [];
  let cachedTokens = 0;
  let last: TokenLikelihood | undefined;
  const finish = await batch.run({
    prompt: ids,
    choose: (logits, position, history) => {
      let row = logits;
      if (options.adjust) {
        row = logits.slice();
        options.adjust(row, history, ids.length);
      }
      const token = sampler.sample(row, { position, history, allowed: guide?.allowed(row) });
      guide?.accept(token);
      last = likelihoods === undefined ? undefined : tokenLikelihood(logits, token, likelihoods);
      return token;
    },
    onStart: (cached) => {
      times.waited = elapsed();
      cachedTokens = cached;
    },
    onToken: (token) => {
      if (times.first === 0) {
        times.first = elapsed();
        deliveries.add(() => onPromptDone?.(promptLikelihoods));
      }
      const step = { token, events: reader.push(token), likelihood: last };
      if (onStep) deliveries.add(() => onStep(step));
      return !reader.isOver;
    },
    ...(options.promptLikelihoods
      ? {
          onPromptLogits: (logits, position) => {
            const next = ids[position + 1];
            if (next !== undefined) promptLikelihoods.push(tokenLikelihood(logits, next, likelihoods ?? 0));
          },
        }
      : {}),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(signal ? { signal } : {}),
  });
  if (times.first === 0) deliveries.add(() => onPromptDone?.(promptLikelihoods));
  deliveries.finish();
  const events = reader.finish(finish === "stop" ? "stop" : "length");
  const { tokens, thinkingTokens, trace } = reader;
  return {
    ...{ finish, promptTokens: ids.length, cachedTokens, promptLikelihoods, tokens, thinkingTokens, trace },
    ...{ waitedSeconds: times.waited, firstTokenSeconds: times.first, seconds: elapsed(), events },
  };
}

/**
 * What listeners are told, in order, when the next pass is under way: writing to clients takes time for which the
 * threads of the model need not wait.
 */
class Deliveries {
  #waiting: (() => void)[] = [];
  #isPlanned = false;
  #fault: { error: unknown } | undefined;

  add(delivery: () => void): void {
    this.#waiting.push(delivery);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setImmediate(() => this.#deliver());
  }

  /** Whatever is left. Throws what a listener has thrown. */
  finish(): void {
    this.#deliver();
    if (this.#fault) throw this.#fault.error;
  }

  #deliver(): void {
    this.#isPlanned = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      if (!this.#fault) for (const deliver of waiting) deliver();
    } catch (error) {
      this.#fault = { error };
    }
  }
}

/** The same, whole. */
export async function wholeAnswerInBatch(
  text: TextModel,
  batch: Batch,
  prompt: BatchPrompt,
  options: BatchAnswerOptions = {},
): Promise<BatchAnswer> {
  const all: OutputEvent[] = [];
  const onStep = ({ events }: AnswerStep) => void all.push(...events);
  const { events, ...end } = await answerInBatch(text, batch, prompt, { ...options, onStep });
  return { ...gatherOutput([...all, ...events]), ...end };
}

async function askedOf(text: TextModel, prompt: BatchPrompt, options: BatchAnswerOptions): Promise<Asked> {
  if (typeof prompt === "string") return text.beginning(prompt, options);
  return "ids" in prompt ? prompt : text.question(prompt, options);
}
