/** What every route has at hand, and the time that a request may take. */
import { setMaxListeners } from "node:events";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { ApiError } from "./api-error.ts";
import type { Models } from "./models.ts";
import type { ServerMetrics } from "./server-metrics.ts";

/** Lines of the log: events with plain data. Never keys, and prompts only when asked. */
export interface ServerLog {
  info(event: string, data?: Record<string, unknown>): void;
  error(event: string, data?: Record<string, unknown>): void;
}

export interface Serving {
  models: Models;
  metrics: ServerMetrics;
  log: ServerLog;
  /** Of answers that do not say. */
  reasoningFormat: ReasoningFormat;
  /** Seconds that a request may take. */
  timeoutSeconds: number;
  /** Tokens of an answer at the most, whatever is asked. */
  maxTokens: number | undefined;
  /** Prompts and answers go to the log too. */
  logsTexts: boolean;
}

/** Ends a request when its client goes away, or when its time is over. */
export class Deadline {
  readonly signal: AbortSignal;
  readonly #timeout = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #seconds: number;

  constructor(seconds: number, clients: readonly AbortSignal[]) {
    this.#seconds = seconds;
    this.#timer = setTimeout(() => this.#timeout.abort(), Math.min(seconds * 1000, 2 ** 31 - 1));
    this.#timer.unref();
    this.signal = AbortSignal.any([this.#timeout.signal, ...clients]);
    setMaxListeners(0, this.signal); // each answer of a request listens
  }

  /** The request is over. Until then the timer holds all that belongs to it. */
  end(): void {
    clearTimeout(this.#timer);
  }

  /** What some work gives. Rejects as check() does when the time is over before it ends; it goes on. */
  async until<T>(work: Promise<T>): Promise<T> {
    this.check();
    let giveUp = () => {};
    const over = new Promise<never>((_, reject) => {
      giveUp = () => reject(this.#error());
      this.signal.addEventListener("abort", giveUp, { once: true });
    });
    try {
      return await Promise.race([work, over]);
    } finally {
      this.signal.removeEventListener("abort", giveUp);
    }
  }

  /** Fires with the deadline's, or by itself: for work that is done together and fails together. */
  signalWith(other: AbortSignal): AbortSignal {
    const signal = AbortSignal.any([this.signal, other]);
    setMaxListeners(0, signal);
    return signal;
  }

  /** Throws ApiError 504 when the time is over, 499 when the client has gone. */
  check(): void {
    if (this.signal.aborted) throw this.#error();
  }

  #error(): ApiError {
    if (this.#timeout.signal.aborted)
      return new ApiError(504, `The answer took longer than ${this.#seconds} s`, { code: "timeout" });
    return new ApiError(499, "The client has gone away", { code: "aborted" });
  }
}

export function limitTokens(asked: number | undefined, limit: number | undefined): { maxTokens?: number } {
  if (limit === undefined) return asked === undefined ? {} : { maxTokens: asked };
  if (asked !== undefined && asked > limit)
    throw new ApiError(400, `"max_tokens" is ${asked}, wanted at most the ${limit} that this server allows`, {
      param: "max_tokens",
      code: "invalid_value",
    });
  return { maxTokens: asked ?? limit };
}

export function usageOf(
  ends: readonly { promptTokens: number; cachedTokens: number; tokens: number; thinkingTokens: number }[],
  numPrompts = 1,
): object {
  const sum = (read: (end: (typeof ends)[number]) => number) =>
    ends.reduce((total, end) => total + read(end), 0);
  // Choices of one prompt count it once.
  const perPrompt = ends.length / numPrompts;
  const promptTokens = sum(({ promptTokens }) => promptTokens) / perPrompt;
  const completionTokens = sum(({ tokens }) => tokens);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: Math.max(0, ...ends.map(({ cachedTokens }) => cachedTokens)) },
    completion_tokens_details: { reasoning_tokens: sum(({ thinkingTokens }) => thinkingTokens) },
  };
}

/** Of one answer, as llama.cpp's server tells it; milliseconds. */
export function timingsOf(end: {
  promptTokens: number;
  cachedTokens: number;
  tokens: number;
  waitedSeconds: number;
  firstTokenSeconds: number;
  seconds: number;
}): object {
  const { promptTokens, cachedTokens, tokens, waitedSeconds, firstTokenSeconds, seconds } = end;
  const ms = (value: number) => Math.round(value * 1e5) / 100;
  const promptSeconds = Math.max(0, firstTokenSeconds - waitedSeconds);
  const decoding = seconds - firstTokenSeconds;
  return {
    ...{ prompt_n: promptTokens - cachedTokens, prompt_ms: ms(promptSeconds), cache_n: cachedTokens },
    ...{ predicted_n: tokens, predicted_ms: ms(decoding), queue_ms: ms(waitedSeconds) },
    predicted_per_second:
      decoding > 0 && tokens > 1 ? Math.round((100 * (tokens - 1)) / decoding) / 100 : null,
  };
}
