/** Bodies of responses: as text, as JSON, and what they say of a failure. */
import { EndpointFault } from "./endpoint-fault.ts";

/** What is read of a body that only says what is wrong. */
const MAX_ERROR_BODY = 64 * 2 ** 10;

/** The body of an error; what is wrong with its connection matters less than its status. */
export async function errorText(
  bytes: AsyncGenerator<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of bytes) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > MAX_ERROR_BODY) break;
    }
  } catch (error) {
    if (signal?.aborted) throw error;
  }
  return Buffer.concat(chunks).toString("utf8").slice(0, MAX_ERROR_BODY);
}

export async function textOf(bytes: AsyncGenerator<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** Throws EndpointFault for what is no JSON; `shown` makes a server's text fit for a message. */
export function parseJson(text: string, shown: (text: string) => string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new EndpointFault("bad-answer", `it answers "${shown(text)}", wanted JSON`);
  }
}

/** {"error": {"message": …}}, {"error": …}, {"message": …} or {"detail": …}; else the text as it is. */
export function messageOf(said: string): string {
  let value: unknown;
  try {
    value = JSON.parse(said);
  } catch {
    return said;
  }
  for (let depth = 0; depth < 3; depth++) {
    if (typeof value === "string") return value;
    const fields = value as { error?: unknown; message?: unknown; detail?: unknown } | null;
    const inner = fields?.error ?? fields?.message ?? fields?.detail;
    if (inner === undefined || inner === null) return said;
    value = inner;
  }
  return typeof value === "string" ? value : said;
}
