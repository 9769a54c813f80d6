/**
 * HTTP requests whose time and size are limited by what a model may need, and nothing else: fetch() gives up
 * after five minutes without a byte, which a long prompt on a slow machine takes.
 *
 * A response is its status and its bytes as they come. Whatever goes wrong is an EndpointFault; redirects are
 * not followed, so that a key goes to no other server.
 */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { EvaluationError, Interrupted } from "../base/errors.ts";
import { errorText, messageOf, parseJson, textOf } from "./endpoint-body.ts";
import { EndpointFault, faultOfStatus, shownText } from "./endpoint-fault.ts";
import { type EndpointUrl, parseEndpointUrl } from "./endpoint-url.ts";
import { parseRetryAfter } from "./retry.ts";

export interface HttpOptions {
  url: string;
  /** In messages. */
  name: string;
  apiKey?: string | undefined;
  concurrency: number;
  /** From the request to the first byte of the body. */
  timeoutMs: number;
  /** From one byte to the next. */
  idleMs: number;
  /** Of a whole answer. */
  maxSeconds: number;
}

export interface HttpResponse {
  contentType: string;
  /** Ends with the body; to leave it before closes the connection. Throws EndpointFault or Interrupted. */
  bytes: AsyncGenerator<Uint8Array>;
  /** All has been said; the end of the body is waited for, but not long. */
  expectEnd(): void;
}

/** A whole answer; 100,000 tokens in events of 400 bytes are 40 MB. */
export const MAX_BODY: number = 256 * 2 ** 20;
/** From the last thing said to the end of the body, which nearly always comes with it. */
const END_MS = 1000;

/** The connection of one request, and why it was closed from here. */
interface Exchange {
  fault: Error | undefined;
  /** The connection is there: from now on the whole of the answer may take so long. */
  begin(ms: number): void;
  /** From now on so long until the next call. */
  limit(ms: number, fault: () => Error): void;
  stop(fault: Error): void;
  end(): void;
}

export class HttpClient {
  readonly url: EndpointUrl;
  readonly #options: HttpOptions;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #authorization: string | undefined;
  readonly #secrets: string[];
  readonly #open = new Set<Exchange>();
  #isClosed = false;

  /** Throws EvaluationError "bad-url" and "bad-key". */
  constructor(options: HttpOptions) {
    this.#options = options;
    this.url = parseEndpointUrl(options.url, options.name);
    const { credentials, isSecure, query } = this.url;
    const key = options.apiKey?.trim();
    if (key && !/^[\x21-\x7e]+$/.test(key)) {
      const message = `Cannot use the key of "${options.name}": it has characters that no header may hold, wanted visible ASCII`;
      throw new EvaluationError("bad-key", message);
    }
    const basic = credentials && Buffer.from(credentials).toString("base64");
    this.#authorization = key ? `Bearer ${key}` : basic ? `Basic ${basic}` : undefined;
    const values = [...new URLSearchParams(query).values()].filter((value) => value.length >= 8);
    const password = credentials?.slice(credentials.indexOf(":") + 1);
    this.#secrets = [key, basic, password, ...values].filter(
      (secret) => secret !== undefined && secret !== "",
    ) as string[];
    const agent = { keepAlive: true, maxSockets: options.concurrency };
    this.#agent = isSecure ? new HttpsAgent(agent) : new HttpAgent(agent);
  }

  /** What a server said, as messages may show it. */
  shown(text: string): string {
    return shownText(text, this.#secrets);
  }

  /** Sends `body` as JSON; without one it is a GET. A status other than 200 is thrown as its fault. */
  async send(path: string, body: unknown, signal?: AbortSignal): Promise<HttpResponse> {
    for (;;) {
      if (signal?.aborted) throw new Interrupted("The request was stopped");
      if (this.#isClosed) throw closed();
      try {
        return await this.#send(path, body, signal);
      } catch (error) {
        // The server has closed a connection that was kept; nothing is wrong with it.
        if (!(error instanceof StaleConnection)) throw error;
      }
    }
  }

  /** The same, its whole body as JSON. */
  async json(path: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    const { bytes } = await this.send(path, body, signal);
    return parseJson(await textOf(bytes), (text) => this.shown(text));
  }

  /** Requests that are on their way end with Interrupted. */
  close(): void {
    this.#isClosed = true;
    for (const exchange of this.#open) exchange.stop(closed());
    this.#agent.destroy();
  }

  async #send(path: string, body: unknown, signal: AbortSignal | undefined): Promise<HttpResponse> {
    const { isSecure, hostname, port, path: base, query } = this.url;
    const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const request = (isSecure ? requestHttps : requestHttp)({
      ...{
        agent: this.#agent,
        hostname,
        port: port === "" ? undefined : port,
        path: `${base}${path}${query}`,
      },
      method: text ? "POST" : "GET",
      headers: {
        Accept: "application/json, text/event-stream",
        ...(text ? { "Content-Type": "application/json", "Content-Length": text.length } : {}),
        ...(this.#authorization ? { Authorization: this.#authorization } : {}),
      },
    });
    const { timeoutMs, maxSeconds } = this.#options;
    let giveUp = (_: Error): void => {};
    const close = (fault: Error) => {
      request.destroy(fault);
      giveUp(fault); // a request without a connection tells nobody of its end
    };
    const exchange = watch(close, { signal, open: this.#open });
    // A request may wait for a connection, as long as there are others; that is not the server's time.
    request.once("socket", () => {
      exchange.begin(maxSeconds * 1000);
      exchange.limit(timeoutMs, () => silent(`it sends nothing for ${timeoutMs / 1000} s`));
    });
    let response: IncomingMessage;
    try {
      response = await new Promise<IncomingMessage>((resolve, reject) => {
        giveUp = reject;
        request.once("response", resolve);
        // Stays: a connection that breaks later says so here and at the response.
        request.on("error", reject);
        request.end(text);
      });
    } catch (error) {
      exchange.end();
      if (exchange.fault) throw exchange.fault;
      const { code, message } = error as NodeJS.ErrnoException;
      if (request.reusedSocket && (code === "ECONNRESET" || code === "EPIPE")) throw new StaleConnection();
      throw new EndpointFault("unreachable", `it cannot be reached (${this.shown(code ?? message)})`);
    }
    const status = response.statusCode ?? 0;
    const bytes = this.#bytes(response, exchange);
    if (status === 200) {
      const expectEnd = () => exchange.limit(END_MS, () => silent("it does not end its answer"));
      return { contentType: response.headers["content-type"] ?? "", bytes, expectEnd };
    }
    const retryAfterMs = parseRetryAfter(response.headers["retry-after"], Date.now());
    const said = await errorText(bytes, signal);
    throw faultOfStatus(status, said, { retryAfterMs, quoted: this.shown(messageOf(said)) });
  }

  async *#bytes(response: IncomingMessage, exchange: Exchange): AsyncGenerator<Uint8Array> {
    const { idleMs } = this.#options;
    let length = 0;
    try {
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        exchange.limit(idleMs, () => silent(`it stops in the middle of an answer for ${idleMs / 1000} s`));
        length += chunk.length;
        if (length > MAX_BODY)
          throw new EndpointFault("bad-answer", `its answer is longer than ${MAX_BODY} bytes`);
        yield chunk;
      }
    } catch (error) {
      if (exchange.fault) throw exchange.fault;
      if (error instanceof EndpointFault) throw error;
      throw new EndpointFault("unreachable", "its connection breaks in the middle of an answer");
    } finally {
      exchange.end();
      if (!response.complete) response.destroy();
    }
  }
}

class StaleConnection extends Error {}

function closed(): Interrupted {
  return new Interrupted("The endpoint was closed");
}

function silent(message: string): EndpointFault {
  return new EndpointFault("unreachable", message);
}

/** Timers that wait longer fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Closes the connection when the signal fires, when the whole takes too long, or when nothing comes. */
function watch(
  close: (fault: Error) => void,
  { signal, open }: { signal: AbortSignal | undefined; open: Set<Exchange> },
): Exchange {
  let quiet: NodeJS.Timeout | undefined;
  let whole: NodeJS.Timeout | undefined;
  let isOver = false;
  const after = (ms: number, fault: () => Error) =>
    isOver ? undefined : setTimeout(() => exchange.stop(fault()), Math.min(ms, MAX_TIMER_MS));
  const interrupt = () => exchange.stop(new Interrupted("The request was stopped"));
  signal?.addEventListener("abort", interrupt, { once: true });
  const exchange: Exchange = {
    fault: undefined,
    stop(fault) {
      exchange.fault ??= fault;
      close(exchange.fault);
    },
    begin(ms) {
      whole = after(
        ms,
        () => new EndpointFault("bad-answer", `its answer does not end within ${ms / 1000} s`),
      );
    },
    limit(ms, fault) {
      clearTimeout(quiet);
      quiet = after(ms, fault);
    },
    end() {
      isOver = true;
      open.delete(exchange);
      clearTimeout(quiet);
      clearTimeout(whole);
      signal?.removeEventListener("abort", interrupt);
    },
  };
  open.add(exchange);
  return exchange;
}
