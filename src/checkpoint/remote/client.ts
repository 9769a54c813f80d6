/**
 * HTTP to servers that hold checkpoints: one request with its redirects, and requests that are tried again.
 *
 * Credentials go to the origin that was asked and to no other: the Hub and object stores redirect to signed URLs of
 * other hosts. HTTP/1.1, for its windows grow with the line (one of HTTP/2 in Node holds 3.5 MB/s at 75 ms). Proxies
 * are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
 */
import type { Dispatcher } from "undici";
import { CheckpointError, Interrupted } from "../../base/errors.ts";
import { formatDuration } from "../../base/format.ts";
import { printable, publicLocation, publicText } from "../shown.ts";
import { LONGEST_WAIT_MS, Pace, parseRetryAfter } from "./pace.ts";
import { drop, flowing } from "./reply-body.ts";
import { header, type ReplyHeaders } from "./reply-headers.ts";
import { isStopped, linkedSignal, pause, stopped } from "./stoppable.ts";

export interface Ask {
  method?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  signal?: AbortSignal | undefined;
  /** Tries behind the first where no answer comes at all; without it as many as where one does. */
  silentRetries?: number | undefined;
}

export interface Reply {
  /** Of the last of its redirects. */
  url: string;
  status: number;
  headers: ReplyHeaders;
  /** Headers of the answer of the origin that was asked: of the first redirect, where there was one. */
  firstHeaders: ReplyHeaders;
  body: AsyncIterable<Uint8Array>;
  /** Closes the connection unless the body was read to its end. */
  cancel(): void;
}

interface FaultOptions {
  isPassing?: boolean;
  status?: number;
  /** The answer, where there was one. */
  reply?: Pick<Reply, "status" | "headers" | "url">;
  retryAfterMs?: number | undefined;
  retries?: number;
  note?: string;
  cause?: unknown;
}

/** What went wrong with a request. Passing: trying again may mend it. */
export class RemoteFault extends CheckpointError {
  override name = "CheckpointError";
  readonly isPassing: boolean;
  readonly status: number | undefined;
  readonly reply: Pick<Reply, "status" | "headers" | "url"> | undefined;
  readonly retryAfterMs: number | undefined;
  /** Tries behind the first that may still mend it. */
  readonly retries: number;

  constructor(code: string, message: string, options: FaultOptions = {}) {
    super(code, message, options);
    this.retries = options.retries ?? MOST_RETRIES;
    this.isPassing = options.isPassing ?? false;
    this.status = options.status;
    this.reply = options.reply;
    this.retryAfterMs = options.retryAfterMs;
  }
}

const MOST_REDIRECTS = 5;
/** Connections to one origin. */
const CONNECTIONS = 8;
const CONNECT_MS = 10_000;
/** Statuses that lead elsewhere. */
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Tries behind the first that bring nothing new. */
export const MOST_RETRIES = 6;
const LONGEST_PAUSE_MS = 60_000;
/** Behind one that a server was silent upon: each takes a minute. */
const SILENT_RETRIES = 1;
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** A server that says nothing for so long has gone. */
export function silenceMs(): number {
  const said = Number(process.env.CHIMERA_TIMEOUT_MS ?? "");
  return said > 0 ? said : 60_000;
}

/** Of the first pause between two tries; tests have no time. */
function firstPause(): number {
  const said = Number(process.env.CHIMERA_RETRY_MS ?? "");
  return said > 0 ? said : 500;
}

let shared: RemoteClient | undefined;

/** The client of this thread. */
export function remoteClient(): RemoteClient {
  shared ??= new RemoteClient();
  return shared;
}

export class RemoteClient {
  #dispatcher: Promise<Dispatcher> | undefined;
  readonly #silenceMs = silenceMs();
  /** For libraries that ask by themselves. */
  readonly pace: Pace = new Pace();

  /** For libraries that take a fetch(). */
  get dispatcher(): Promise<Dispatcher> {
    this.#dispatcher ??= openDispatcher();
    return this.#dispatcher;
  }

  /** One request; follows redirects. Throws RemoteFault when no answer comes. Any status is an answer. */
  async send(url: string, ask: Ask = {}): Promise<Reply> {
    const { origin } = new URL(url);
    let firstHeaders: ReplyHeaders | undefined;
    // Once elsewhere, credentials are gone for good, as with fetch(). curl sends them again when a redirect leads back to
    // the first host; but then it is the other server that says what is asked there in our name.
    let hasLeft = false;
    for (let at = url, hops = 0; ; hops++) {
      const { origin: here } = new URL(at);
      hasLeft ||= here !== origin;
      await this.pace.turn(here, ask.signal);
      const reply = await this.#once(at, hasLeft ? withoutCredentials(ask) : ask);
      this.pace.heed(here, reply.headers, reply.status);
      firstHeaders ??= reply.headers;
      const to = REDIRECTS.has(reply.status) ? header(reply.headers, "location") : undefined;
      if (to === undefined) return { ...reply, firstHeaders };
      reply.cancel();
      at = redirect(at, to, hops);
    }
  }

  async #once(
    url: string,
    { method = "GET", headers = {}, body, signal }: Ask,
  ): Promise<Omit<Reply, "firstHeaders">> {
    const link = linkedSignal(signal);
    try {
      const { request } = await import("undici");
      const answer = await request(url, {
        method,
        headers: { "user-agent": "chimera", "accept-encoding": "identity", ...headers },
        dispatcher: await this.dispatcher,
        ...(body === undefined ? {} : { body }),
        ...(link.signal ? { signal: link.signal } : {}),
      });
      answer.body.on("error", () => {}); // whoever reads it hears of it; a cancelled one has no reader
      answer.body.once("close", link.release);
      const length = Number(header(answer.headers, "content-length") ?? 0);
      return {
        url,
        status: answer.statusCode,
        headers: answer.headers,
        body: flowing(answer.body, { url, silenceMs: this.#silenceMs }),
        cancel: () => drop(answer.body, method === "HEAD" ? 0 : length),
      };
    } catch (error) {
      link.release();
      throw asFault(error, url, link.signal);
    }
  }
}

/** Loaded with the first request: most commands, and every worker of a build, make none. */
async function openDispatcher(): Promise<Dispatcher> {
  const { Agent, EnvHttpProxyAgent } = await import("undici");
  const options = {
    connections: CONNECTIONS,
    allowH2: false,
    headersTimeout: silenceMs(),
    bodyTimeout: silenceMs(),
    connect: { timeout: CONNECT_MS },
  };
  const names = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];
  if (!names.some((name) => process.env[name])) return new Agent(options);
  try {
    return new EnvHttpProxyAgent(options);
  } catch {
    const what =
      "Cannot use the proxy of HTTPS_PROXY or HTTP_PROXY: it is no URL of one, wanted http://host:port";
    throw new CheckpointError("bad-url", what); // what they say is not shown: it may hold a password
  }
}

function withoutCredentials({ headers = {}, ...rest }: Ask): Ask {
  const kept = Object.entries(headers).filter(([name]) => !/^(authorization|cookie)$/i.test(name));
  return { ...rest, headers: Object.fromEntries(kept) };
}

function redirect(from: string, to: string, hops: number): string {
  const what = `Cannot read ${shownUrl(from)}`;
  if (hops >= MOST_REDIRECTS) {
    const message = `${what}: it leads on from redirect to redirect, wanted ${MOST_REDIRECTS} at the most`;
    throw new RemoteFault("bad-answer", message);
  }
  let url: URL;
  try {
    url = new URL(to, from);
  } catch {
    throw new RemoteFault("bad-answer", `${what}: it redirects to what is no URL`);
  }
  const isDowngrade = from.startsWith("https:") && url.protocol !== "https:";
  if (isDowngrade || !/^https?:$/.test(url.protocol)) {
    const message = `${what}: it redirects to "${url.protocol}", wanted https`;
    throw new RemoteFault("bad-answer", message);
  }
  return url.href;
}

/** Of an error of the connection. */
export function asFault(error: unknown, url: string, signal?: AbortSignal): Error {
  if (error instanceof CheckpointError || error instanceof Interrupted) return error;
  if (isStopped(signal)) return stopped();
  const { code, message } = (error ?? {}) as NodeJS.ErrnoException;
  const isUrl = code === "UND_ERR_INVALID_ARG" || code === "ERR_INVALID_URL";
  const isSilent = code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT";
  const silence = `it has said nothing for ${silenceMs() / 1000} s`;
  const reason = isSilent ? silence : printable(publicText(message || code || String(error)));
  return new RemoteFault(isUrl ? "bad-url" : "unreachable", `Cannot reach ${shownUrl(url)}: ${reason}`, {
    isPassing: !isUrl,
    ...(isSilent ? { retries: SILENT_RETRIES } : {}),
    cause: error,
    note: "Run the same command again when the line is back: what is complete is kept",
  });
}

/** A URL without what may be secret in it: signatures stand in queries, passwords before hosts. */
export function shownUrl(url: string): string {
  const shown = printable(publicLocation(url));
  return URL.canParse(url) ? shown : `"${shown}"`;
}

/** The fault that a status tells of, whatever the answer was to be. */
export function faultOfStatus(reply: Pick<Reply, "status" | "headers" | "url">): RemoteFault {
  const { status, headers, url } = reply;
  const what = `Cannot read ${shownUrl(url)}`;
  const retryAfterMs = parseRetryAfter(header(headers, "retry-after"), Date.now());
  if (PASSING.has(status) && (retryAfterMs ?? 0) > LONGEST_WAIT_MS)
    return comeBackLater(what, { status, retryAfterMs: retryAfterMs!, reply });
  if (PASSING.has(status)) {
    const message = `${what}: the server says ${status}${status === 429 ? " (too many requests)" : ""}`;
    const note = "Run the same command again later: what is complete is kept";
    return new RemoteFault("unreachable", message, { isPassing: true, status, reply, retryAfterMs, note });
  }
  if (status === 401 || status === 403)
    return new RemoteFault("not-authorised", `${what}: the server says ${status} (not for you)`, {
      status,
      reply,
    });
  if (status === 404 || status === 410)
    return new RemoteFault("missing", `${what}: there is no such file`, { status, reply });
  return new RemoteFault("bad-answer", `${what}: the server says ${status}, wanted the file`, {
    status,
    reply,
  });
}

/** A server that wants to be left alone for longer than a command waits. */
export function comeBackLater(
  what: string,
  { status, retryAfterMs, reply }: { status: number; retryAfterMs: number; reply?: FaultOptions["reply"] },
): RemoteFault {
  const when = `and to come back in ${formatDuration(retryAfterMs / 1000)}`;
  const note = "Run the same command again then: what is complete is kept";
  const options = { status, note, ...(reply ? { reply } : {}) };
  return new RemoteFault("unreachable", `${what}: the server says ${status} ${when}`, options);
}

/** Tries until it succeeds, or fails for good. `hasProgress`: the last try brought something, so that it counts as the first. */
export async function retrying<T>(
  attempt: () => Promise<T>,
  {
    hasProgress = () => false,
    signal,
    silentRetries = MOST_RETRIES,
  }: {
    hasProgress?: () => boolean;
    signal?: AbortSignal | undefined;
    silentRetries?: number | undefined;
  } = {},
): Promise<T> {
  for (let failed = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RemoteFault) || !error.isPassing) throw error;
      failed = hasProgress() ? 1 : failed + 1;
      if (failed > (error.status === undefined ? Math.min(error.retries, silentRetries) : error.retries))
        throw error;
      const doubling =
        Math.min(LONGEST_PAUSE_MS, firstPause() * 2 ** (failed - 1)) * (0.5 + Math.random() / 2);
      await pause(error.retryAfterMs ?? doubling, signal);
    }
  }
}

/** A whole small answer. Throws RemoteFault for any status but 200, and above `limitBytes`. */
export async function readWhole(
  url: string,
  { limitBytes, ...ask }: Ask & { limitBytes: number },
): Promise<{ bytes: Uint8Array; reply: Reply }> {
  return retrying(async () => {
    const reply = await remoteClient().send(url, ask);
    try {
      if (reply.status !== 200) throw faultOfStatus(reply);
      const encoding = header(reply.headers, "content-encoding") ?? "identity";
      if (encoding !== "identity") throw encoded(url, encoding);
      const parts: Uint8Array[] = [];
      let length = 0;
      for await (const part of reply.body) {
        length += part.length;
        if (length > limitBytes) {
          const message = `Cannot read ${shownUrl(url)}: it holds more than ${limitBytes} bytes, wanted fewer`;
          throw new RemoteFault("too-large", message);
        }
        parts.push(part);
      }
      const said = header(reply.headers, "content-length");
      if (said !== undefined && Number(said) !== length) throw cutOff(url, length, Number(said));
      return { bytes: joined(parts, length), reply };
    } catch (error) {
      throw asFault(error, url, ask.signal);
    } finally {
      reply.cancel();
    }
  }, ask);
}

/** Length and hash are those of the file as it is. */
function encoded(url: string, encoding: string): RemoteFault {
  const what = `it sends it as "${printable(encoding)}", wanted it as it is`;
  return new RemoteFault("bad-answer", `Cannot read ${shownUrl(url)}: ${what}`, {
    note: "A server or proxy on the way compresses it though it was asked not to",
  });
}

export function cutOff(url: string, got: number, wanted: number): RemoteFault {
  const message = `Cannot read ${shownUrl(url)}: ${got} bytes came, wanted ${wanted}`;
  return new RemoteFault("unreachable", message, { isPassing: true });
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
