/** What servers do wrong, each on its own. */
import type { ServerResponse } from "node:http";

/** What a request meets instead of an answer. */
export type Misbehaviour =
  | { kind: "status"; status: number; body?: string; headers?: Record<string, string> }
  /** The connection breaks before a byte. */
  | { kind: "drop" }
  /** It breaks after so many bytes of the answer; default: half of it. */
  | { kind: "cut"; bytes?: number }
  | { kind: "malformed" }
  | { kind: "empty-choices" }
  | { kind: "html" }
  /** Sends nothing and holds the connection. */
  | { kind: "silent" }
  /** Sends half of the answer and holds the connection. */
  | { kind: "stall" }
  /** Sends the whole answer and holds the connection. */
  | { kind: "linger" }
  /** Sends pieces of an answer for ever. */
  | { kind: "endless" }
  /** Literally this, with status 200. */
  | { kind: "literal"; body: string | Uint8Array; type?: string }
  | { kind: "answer" };

/** What a right answer would be. */
export interface Bodies {
  type: string;
  text: string;
}

export function misbehave(
  fault: Misbehaviour,
  response: ServerResponse,
  { type, text }: Bodies,
  writeBytes: number = 2 ** 20,
): void {
  const bytes = Buffer.from(text);
  switch (fault.kind) {
    case "status":
      response.writeHead(fault.status, { "Content-Type": "application/json", ...fault.headers });
      response.end(fault.body ?? JSON.stringify({ error: { message: `status ${fault.status}` } }));
      return;
    case "drop":
      response.destroy();
      return;
    case "cut":
      response.writeHead(200, { "Content-Type": type });
      response.write(bytes.subarray(0, fault.bytes ?? bytes.length >> 1), () => response.destroy());
      return;
    case "malformed":
      response.writeHead(200, { "Content-Type": type });
      response.end(type === "text/event-stream" ? `data: {"choices": [{"delta"\n\n` : `{"choices": [`);
      return;
    case "empty-choices":
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ id: "x", model: "mini", choices: [] }));
      return;
    case "html":
      response.writeHead(200, { "Content-Type": "text/html" });
      response.end("<html><body>\u001b[31mWelcome to the gateway</body></html>");
      return;
    case "silent":
      return;
    case "stall":
      response.writeHead(200, { "Content-Type": type });
      response.write(bytes.subarray(0, bytes.length >> 1));
      return;
    case "linger":
      response.writeHead(200, { "Content-Type": type });
      response.write(bytes);
      return;
    case "endless":
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      babble(response);
      return;
    case "literal":
      response.writeHead(200, { "Content-Type": fault.type ?? "text/event-stream" });
      response.end(fault.body);
      return;
    case "answer":
      response.writeHead(200, { "Content-Type": type });
      write(response, bytes, writeBytes);
      return;
    default:
      throw fault satisfies never;
  }
}

function write(response: ServerResponse, bytes: Buffer, size: number): void {
  if (response.destroyed) return;
  if (bytes.length <= size) response.end(bytes);
  else response.write(bytes.subarray(0, size), () => write(response, bytes.subarray(size), size));
}

function babble(response: ServerResponse): void {
  if (response.destroyed) return;
  const event = { model: "mini", choices: [{ index: 0, delta: { content: "and so on, ".repeat(20) } }] };
  response.write(`data: ${JSON.stringify(event)}\n\n`, () => setTimeout(() => babble(response), 5));
}
