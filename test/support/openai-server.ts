/**
 * A small server of OpenAI's protocol on loopback, for the tests: answers of a real model or scripted ones, and
 * everything that servers do wrong. Requests are answered one after the other; all of them are kept in a log.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { LanguageModel } from "../../src/library/language-model.ts";
import type { ChatMessage } from "../../src/text/chat-template.ts";
import { type Bodies, type Misbehaviour, misbehave } from "./misbehaviour.ts";
import { echo, type Served, serve, type Wishes } from "./served-model.ts";

export interface ServerOptions {
  /** Who answers; without one `says`. */
  model?: LanguageModel;
  says?: Partial<Served>;
  /** What the model has answered before, by request: servers that share it compute an answer once. */
  memory?: Map<string, Promise<Served>>;
  /** What it lists, and calls itself: the first. Default: "mini". */
  models?: string[];
  /** Where the trace stands. Default: "reasoning_content". */
  reasoning?: "reasoning_content" | "reasoning" | "inline";
  /** Default: "detailed", with reasoning_tokens. */
  usage?: "detailed" | "sum" | "none";
  /** Answers 400 to stream_options. */
  isOld?: boolean;
  /** Ignores `stream`. */
  isWhole?: boolean;
  /** Smallest max_tokens of an echo, or none at all. Default 0. */
  echo?: number | "none";
  /** What it says to an echo, in place of the model. */
  echoes?: object;
  /** For the first requests to answer, in order; later ones are answered. */
  script?: Misbehaviour[];
  /** Names another model from this answer on, counted from 0. */
  renamedFrom?: { answer: number; name: string };
  /** A key without which it answers 401. */
  apiKey?: string;
  /** Default: any that is free. */
  port?: number;
  /** Bytes of each write. */
  writeBytes?: number;
}

export interface LoggedRequest {
  method: string;
  url: string;
  authorization: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was sent
  body: any;
  /** The client has closed the connection before the answer was complete. */
  wasClosed: boolean;
}

export interface OpenAiServer {
  /** With /v1. */
  url: string;
  log: LoggedRequest[];
  /** Connections that were opened. */
  connections(): number;
  /** Resolves when a client has closed a connection early. */
  closed: Promise<void>;
  close(): Promise<void>;
}

export async function startServer(options: ServerOptions = {}): Promise<OpenAiServer> {
  const log: LoggedRequest[] = [];
  let connections = 0;
  let tellClosed = () => {};
  const closed = new Promise<void>((resolve) => {
    tellClosed = resolve;
  });
  const handler = new Handler(options);
  const server = createServer(async (request, response) => {
    const entry: LoggedRequest = {
      ...{ method: request.method ?? "", url: request.url ?? "", wasClosed: false, body: undefined },
      authorization: request.headers.authorization,
    };
    log.push(entry);
    response.on("close", () => {
      if (response.writableFinished) return;
      entry.wasClosed = true;
      tellClosed();
    });
    const text = await bodyOf(request);
    if (text !== "") entry.body = JSON.parse(text);
    await handler.handle(entry, response);
  });
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    ...{ url: `http://127.0.0.1:${port}/v1`, log, closed },
    connections: () => connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class Handler {
  readonly #options: ServerOptions;
  readonly #script: Misbehaviour[];
  #turn: Promise<unknown> = Promise.resolve();
  #answers = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#script = [...(options.script ?? [])];
  }

  async handle({ method, url, authorization, body }: LoggedRequest, response: ServerResponse): Promise<void> {
    const { apiKey, models = ["mini"], isOld } = this.#options;
    if (apiKey !== undefined && authorization !== `Bearer ${apiKey}`) {
      const sent = authorization?.slice("Bearer ".length) ?? "none";
      return fail(response, 401, `Incorrect API key provided: ${sent}`);
    }
    const path = url.replace(/\?.*/, "");
    if (method === "GET" && path === "/v1/models") {
      const data = models.map((id) => ({ id, object: "model" }));
      return json(response, 200, { object: "list", data });
    }
    if (method !== "POST" || !["/v1/chat/completions", "/v1/completions"].includes(path))
      return fail(response, 404, `Not found: ${path}`);
    if (isOld && body.stream_options !== undefined)
      return fail(response, 400, "Unknown field: stream_options");
    if (body.echo === true) return await this.#echo(body, response);
    const fault = this.#script.shift() ?? { kind: "answer" };
    const served = this.#options.model ? await this.#run(body) : said(this.#options.says);
    misbehave(fault, response, this.#bodies(served, body), this.#options.writeBytes);
  }

  /** One after the other: the order of answers is that of requests. */
  #run(body: { messages?: ChatMessage[]; prompt?: string } & Wishes): Promise<Served> {
    const { model, memory } = this.#options;
    const { messages, prompt = "", max_tokens, temperature, top_p, seed, stop } = body;
    const key = JSON.stringify([messages, prompt, max_tokens, temperature, top_p, seed, stop]);
    const known = memory?.get(key);
    if (known) return known;
    const next = this.#turn.then(() => serve(model!, messages ?? prompt, body));
    this.#turn = next.catch(() => undefined);
    memory?.set(key, next);
    return next;
  }

  async #echo(body: { prompt: string; max_tokens: number }, response: ServerResponse): Promise<void> {
    const { echo: least = 0, echoes, model } = this.#options;
    if (echoes) return json(response, 200, echoes);
    if (least === "none") return json(response, 200, { choices: [{ index: 0, text: "", logprobs: null }] });
    if (body.max_tokens < least) return fail(response, 400, `max_tokens must be at least ${least}`);
    const told = await echo(model!, body.prompt);
    if (body.max_tokens === 1) {
      told.tokens.push("!");
      told.token_logprobs.push(-99);
      told.text_offset.push(Array.from(told.tokens.slice(0, -1).join("")).length);
    }
    json(response, 200, { choices: [{ index: 0, text: told.tokens.join(""), logprobs: told }] });
  }

  #bodies(served: Served, body: { stream?: boolean; messages?: unknown; stream_options?: unknown }): Bodies {
    const { renamedFrom, isWhole, usage = "detailed", models = ["mini"] } = this.#options;
    const number = this.#answers++;
    const model = renamedFrom && number >= renamedFrom.answer ? renamedFrom.name : models[0];
    const isChat = body.messages !== undefined;
    const parts = isChat ? this.#parts(served) : pieces(served.text).map((text) => ({ text }));
    const details = { completion_tokens_details: { reasoning_tokens: served.reasoningTokens } };
    const told = {
      ...{ prompt_tokens: served.promptTokens, completion_tokens: served.tokens },
      ...(usage === "detailed" ? details : {}),
    };
    if (body.stream !== true || isWhole) {
      const message: Record<string, string> = { role: "assistant", content: "" };
      for (const part of parts) {
        for (const [key, text] of Object.entries(part)) message[key] = (message[key] ?? "") + text;
      }
      const choice = {
        index: 0,
        finish_reason: served.finish,
        ...(isChat ? { message } : { text: message.text }),
      };
      const whole = { id: "x", model, choices: [choice], ...(usage === "none" ? {} : { usage: told }) };
      return { type: "application/json", text: JSON.stringify(whole) };
    }
    const wrap = (choice: object) => ({
      id: "x",
      model,
      choices: [{ index: 0, finish_reason: null, ...choice }],
    });
    const chunks: object[] = isChat ? [wrap({ delta: { role: "assistant", content: "" } })] : [];
    for (const part of parts) chunks.push(wrap(isChat ? { delta: part } : part));
    chunks.push(wrap({ ...(isChat ? { delta: {} } : { text: "" }), finish_reason: served.finish }));
    if (usage !== "none" && body.stream_options !== undefined)
      chunks.push({ id: "x", model, choices: [], usage: told });
    const events = [...chunks.map((chunk) => JSON.stringify(chunk)), "[DONE]"];
    return { type: "text/event-stream", text: events.map((data) => `data: ${data}\n\n`).join("") };
  }

  #parts({ text, reasoning, content }: Served): Record<string, string>[] {
    const { reasoning: where = "reasoning_content" } = this.#options;
    if (where === "inline") return pieces(text).map((piece) => ({ content: piece }));
    // What stands between the tags, as servers cut it: a line feed first.
    const feed = reasoning !== "" && text.startsWith("<think>\n") ? "\n" : "";
    const trace = pieces(feed + reasoning).map((piece) => ({ [where]: piece }));
    return [...trace, ...pieces(content).map((piece) => ({ content: piece }))];
  }
}

function said(says: Partial<Served> = {}): Served {
  const { reasoning = "", content = "Four." } = says;
  const text = reasoning === "" ? content : `<think>\n${reasoning}</think>\n\n${content}`;
  return {
    text,
    reasoning,
    content,
    finish: "stop",
    promptTokens: 5,
    tokens: 3,
    reasoningTokens: 0,
    ...says,
  };
}

/** Pieces of a few characters. */
function pieces(text: string): string[] {
  return text.match(/[\s\S]{1,7}/gu) ?? [];
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

function fail(response: ServerResponse, status: number, message: string): void {
  json(response, status, { error: { message, type: "error", code: null } });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
