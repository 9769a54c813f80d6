/** What a server does wrong on demand: each rule looks at a request and says what becomes of its answer. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export type Fault =
  | { kind: "status"; status: number; headers?: Record<string, string>; body?: string }
  /** The connection breaks after so many bytes of the body. */
  | { kind: "cut"; after: number }
  /** 200 with the whole file. */
  | { kind: "ignore-range" }
  /** The range begins one byte later than it says. */
  | { kind: "other-range" }
  /** Fewer bytes than announced ranges need, well ended. */
  | { kind: "short"; by: number }
  | { kind: "etag"; etag: string }
  /** No answer at all. */
  | { kind: "silent" }
  /** A pause before the answer, in milliseconds. */
  | { kind: "slow"; ms: number }
  /** One bit of the body is another. */
  | { kind: "flip" };

export interface LoggedRequest {
  method: string;
  /** With its query. */
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  /** Of the body that was sent. */
  bytes: number;
}

export function loggedRequest({ method = "GET", url = "/", headers }: IncomingMessage): LoggedRequest {
  return { method, path: url, range: headers.range, authorization: headers.authorization, bytes: 0 };
}

/** Undefined: nothing is wrong with it. `count`: how many requests came before. */
export type FaultRule = (request: LoggedRequest, count: number) => Fault | undefined;

/** The first `times` requests that match have the fault. */
export function firstTimes(
  times: number,
  matches: (request: LoggedRequest) => boolean,
  fault: Fault,
): FaultRule {
  let left = times;
  return (request) => {
    if (left === 0 || !matches(request)) return undefined;
    left--;
    return fault;
  };
}

export interface Content {
  length: number;
  subarray(from: number, to: number): Uint8Array;
  /** Instead, where nothing is wrong with it. */
  stream?(from: number, to: number): Readable;
}

/** Sends a file or a range of it, with what is wrong. */
export async function sendContent(
  request: IncomingMessage,
  response: ServerResponse,
  {
    content,
    etag,
    fault,
    logged,
  }: {
    content: Content;
    etag: string;
    fault: Fault | undefined;
    logged: LoggedRequest;
  },
): Promise<void> {
  if (fault?.kind === "slow" && !(await waitsFor(response, fault.ms))) return;
  const range =
    fault?.kind === "ignore-range" ? undefined : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = range ? Number(range[1]) : 0;
  const end = range?.[2] ? Math.min(Number(range[2]) + 1, content.length) : content.length;
  if (range && start >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  if (content.stream && !fault && request.method !== "HEAD") {
    response.writeHead(range ? 206 : 200, {
      "accept-ranges": "bytes",
      "content-length": end - start,
      etag: `"${etag}"`,
      ...(range ? { "content-range": `bytes ${start}-${end - 1}/${content.length}` } : {}),
    });
    const stream = content.stream(start, end);
    stream.on("data", (some: Buffer) => {
      logged.bytes += some.length;
    });
    await pipeline(stream, response).catch(() => {}); // whoever asked has gone
    return;
  }
  let body = Buffer.from(content.subarray(start, end));
  if (fault?.kind === "short") body = body.subarray(0, Math.max(0, body.length - fault.by));
  if (fault?.kind === "flip") body[body.length >> 1]! ^= 1;
  const shift = fault?.kind === "other-range" ? 1 : 0;
  response.writeHead(range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-length": body.length,
    etag: fault?.kind === "etag" ? fault.etag : `"${etag}"`,
    ...(range ? { "content-range": `bytes ${start + shift}-${end - 1 + shift}/${content.length}` } : {}),
  });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  if (fault?.kind === "cut") {
    response.write(body.subarray(0, fault.after), () => response.destroy());
    logged.bytes += Math.min(body.length, fault.after);
    return;
  }
  logged.bytes += body.length;
  response.end(body);
}

/** Whether whoever asked is still there after so long; a timer for nobody would keep the test's process. */
function waitsFor(response: ServerResponse, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const gone = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      response.off("close", gone);
      resolve(true);
    }, ms);
    response.once("close", gone);
  });
}
