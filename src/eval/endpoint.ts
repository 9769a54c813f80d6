/**
 * A server that speaks OpenAI's protocol as the target of an evaluation: vLLM, SGLang, llama.cpp, DeepSeek's own
 * and others. Answers are streamed, so that a slow model is told from a dead one by its bytes.
 */

import { AnswerReader } from "./endpoint-answer.ts";
import { Asker } from "./endpoint-asker.ts";
import { textOf } from "./endpoint-body.ts";
import { EndpointFault } from "./endpoint-fault.ts";
import { HttpClient, type HttpResponse } from "./endpoint-http.ts";
import { EchoScorer } from "./endpoint-likelihoods.ts";
import { SseParser } from "./sse.ts";
import type {
  Answer,
  AnswerRequest,
  Likelihood,
  LikelihoodRequest,
  Target,
  TargetIdentity,
} from "./target.ts";

export interface EndpointOptions {
  /** With or without /v1. */
  url: string;
  /** Short, for tables and folder names. */
  name: string;
  /** Default: the only one that the server has. */
  model?: string;
  apiKey?: string;
  /** Questions at a time. Default 8. */
  concurrency?: number;
  /** From asking to the first byte of an answer. Default 600,000. */
  timeoutMs?: number;
  /** From one byte to the next. Default 120,000. */
  idleMs?: number;
  /** Of a whole answer. Default 3600. */
  maxSeconds?: number;
  /** Tries behind the first. Default 6. */
  retries?: number;
  /** Of the first pause; each next one is twice as long. Default 1000. */
  retryDelayMs?: number;
  /**
   * What requests say besides, or otherwise: { chat_template_kwargs: { thinking: true } }. null takes a key away, as
   * { temperature: null, max_tokens: null, max_completion_tokens: 8192 } for servers that do not know it.
   */
  extraBody?: Readonly<Record<string, unknown>>;
  signal?: AbortSignal;
}

/**
 * Opens a server as a target. Asks it for its models where none is named, else nothing yet. Throws
 * EvaluationError, "bad-url", "bad-key" and "no-model" among others, and Interrupted.
 */
export async function openEndpoint(options: EndpointOptions): Promise<Target> {
  const { url, name, apiKey, concurrency = 8 } = options;
  const { timeoutMs = 600_000, idleMs = 120_000, maxSeconds = 3600 } = options;
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new RangeError(`Cannot ask ${concurrency} questions at a time, wanted a whole number from 1 on`);
  const http = new HttpClient({ url, name, apiKey, concurrency, timeoutMs, idleMs, maxSeconds });
  const { retries = 6, retryDelayMs = 1000 } = options;
  const asker = new Asker(http, { retries, delayMs: retryDelayMs });
  try {
    const model = options.model ?? (await asker.onlyModel(options.signal));
    const { extraBody = {} } = options;
    return new Endpoint(asker, { name, concurrency, model, extraBody });
  } catch (error) {
    http.close();
    throw error;
  }
}

class Endpoint implements Target {
  readonly name: string;
  readonly concurrency: number;
  readonly identity: TargetIdentity;
  readonly #asker: Asker;
  readonly #model: string;
  readonly #scorer: EchoScorer;
  readonly #extraBody: Readonly<Record<string, unknown>>;
  /** The server knows stream_options. */
  #knowsStreamOptions = true;

  constructor(
    asker: Asker,
    {
      name,
      concurrency,
      model,
      extraBody,
    }: { name: string; concurrency: number; model: string; extraBody: Readonly<Record<string, unknown>> },
  ) {
    this.#asker = asker;
    this.name = name;
    this.concurrency = concurrency;
    this.#model = model;
    const extra = Object.keys(extraBody).length > 0 ? { extraBody } : {};
    this.identity = { kind: "endpoint", url: asker.http.url.shown, model, ...extra };
    this.#extraBody = extraBody;
    this.#scorer = new EchoScorer(asker.http, model);
  }

  async answer(request: AnswerRequest, signal?: AbortSignal): Promise<Answer> {
    const once = async () => {
      const startedAt = performance.now();
      const reader = await this.#answerOnce(request, signal);
      return { ...reader.end(), seconds: (reader.lastAt - startedAt) / 1000 };
    };
    const { value, attempts } = await this.#asker.ask(`ask ${this.#quoted} at`, once, signal);
    return { ...value, attempts };
  }

  async likelihoods(request: LikelihoodRequest, signal?: AbortSignal): Promise<Likelihood[]> {
    const found: Likelihood[] = [];
    const what = `ask ${this.#quoted} for likelihoods at`;
    for (const continuation of request.continuations) {
      const once = () => this.#scorer.score({ context: request.context, continuation }, signal);
      found.push((await this.#asker.ask(what, once, signal)).value);
    }
    return found;
  }

  get #quoted(): string {
    return `"${this.#asker.http.shown(this.#model)}"`;
  }

  async close(): Promise<void> {
    this.#asker.http.close();
  }

  async #answerOnce(request: AnswerRequest, signal: AbortSignal | undefined): Promise<AnswerReader> {
    const withUsage = this.#knowsStreamOptions;
    try {
      return await this.#stream(request, withUsage, signal);
    } catch (error) {
      const isOld =
        error instanceof EndpointFault &&
        error.code === "question-refused" &&
        /stream_options/.test(error.said);
      if (!withUsage || !isOld) throw error;
      this.#knowsStreamOptions = false;
      return await this.#stream(request, false, signal);
    }
  }

  async #stream(request: AnswerRequest, withUsage: boolean, signal?: AbortSignal): Promise<AnswerReader> {
    const { http } = this.#asker;
    const { prompt, maxTokens, temperature, topP, seed, stop } = request;
    const path = prompt.kind === "chat" ? "/chat/completions" : "/completions";
    const body: Record<string, unknown> = {
      model: this.#model,
      ...(prompt.kind === "chat" ? { messages: prompt.messages } : { prompt: prompt.text }),
      ...{ max_tokens: maxTokens, temperature, top_p: topP, seed },
      ...(stop.length > 0 ? { stop } : {}),
      stream: true,
      ...(withUsage ? { stream_options: { include_usage: true } } : {}),
      ...this.#extraBody,
    };
    for (const [key, value] of Object.entries(body)) if (value === null) delete body[key];
    const response = await http.send(path, body, signal);
    const reader = new AnswerReader(request, (text) => http.shown(text));
    if (/^text\/event-stream/i.test(response.contentType)) {
      await readEvents(response, reader);
      return reader;
    }
    // It does not stream, it does and does not say so, or it is no such server at all.
    const text = await textOf(response.bytes);
    const events = new SseParser();
    const isStream = /^\s*(data|event|id)?:/.test(text);
    const all = isStream ? [...events.push(Buffer.from(text)), ...events.end()] : [text];
    for (const event of all) reader.push(event);
    return reader;
  }
}

/** Reads until the server has said all, or has nothing more to say. */
async function readEvents(response: HttpResponse, reader: AnswerReader): Promise<void> {
  const events = new SseParser();
  try {
    for await (const chunk of response.bytes) {
      if (reader.isDone) return; // it says more: not worth a wait
      for (const event of events.push(chunk)) reader.push(event);
      // A body that has ended leaves a connection that can be used again.
      if (reader.isDone) response.expectEnd();
    }
    for (const event of events.end()) reader.push(event);
  } catch (error) {
    if (reader.isDone && error instanceof EndpointFault) return;
    if (!(error instanceof RangeError)) throw error;
    throw new EndpointFault("bad-answer", `its answer is no stream of events: ${error.message}`);
  }
}
