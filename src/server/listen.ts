/** Sockets: opened with limits on slow and idle clients, and closed when the last answer is out. */
import { createServer, type Server } from "node:http";
import type { Duplex } from "node:stream";
import { getRequestListener, RequestError } from "@hono/node-server";
import type { Hono } from "hono";
import { ApiError, unexpected } from "./api-error.ts";
import type { RouteEnvironment } from "./app.ts";

/** A client has so long to send its headers, and its whole request. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 60_000;
/** A connection without a request is closed. */
const KEEP_ALIVE_MS = 10_000;
const IDLE_MS = 15 * 60_000;
const MAX_HEADER_BYTES = 16 << 10;
const MAX_CONNECTIONS = 8192;

export interface ListenOptions {
  /** 0: any that is free. */
  port: number;
  host: string;
}

export interface Timeouts {
  headersMs?: number;
  requestMs?: number;
  keepAliveMs?: number;
  /** A connection on which nothing moves is closed; more than a request may take. Default 15 minutes. */
  idleMs?: number;
}

/** Rejects with the system's error where it cannot listen. */
export async function listen(
  app: Hono<RouteEnvironment>,
  {
    port,
    host,
    headersMs = HEADERS_MS,
    requestMs = REQUEST_MS,
    keepAliveMs = KEEP_ALIVE_MS,
    idleMs = IDLE_MS,
  }: ListenOptions & Timeouts,
): Promise<Server> {
  const server = createServer(
    {
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      connectionsCheckingInterval: Math.min(1000, headersMs),
    },
    getRequestListener(app.fetch, { errorHandler: answerToNoRequest }),
  );
  server.on("clientError", answerToBrokenRequest);
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = idleMs;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return server;
}

/** What comes to no route: its Host or its address is none. */
function answerToNoRequest(error: unknown): Response {
  if (!(error instanceof RequestError)) return unexpected().response();
  const message = `Cannot read the request: ${error.message}, wanted a Host and a path`;
  return new ApiError(400, message, { code: "bad_request" }).response();
}

const STATUS_TEXT: Record<number, string> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

/** What is no HTTP, too long or too slow, told as all errors are; the connection is of no more use. */
function answerToBrokenRequest({ code }: Error & { code?: string }, socket: Duplex): void {
  if (code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = code === "HPE_HEADER_OVERFLOW" ? 431 : code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const what = { 400: "it is no HTTP", 408: "it takes too long", 431: "its headers are too long" }[status]!;
  const { body } = new ApiError(status, `Cannot read the request: ${what}`, { code: "bad_request" });
  const text = JSON.stringify(body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_TEXT[status]}`,
    "Content-Type: application/json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(text)}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${text}`);
}

/** Lets answers that are under way end, but for those that take longer than the grace. */
export async function closeGracefully(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A connection is idle when its answer is out: it would be kept for the client's next request.
  const look = setInterval(() => server.closeIdleConnections(), 100);
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(look);
  clearTimeout(timer);
}
