/** Reading the JSON of a request within limits, before anything looks at what it says. */
import type { z } from "zod";
import { nearest } from "../base/nearest.ts";
import { ApiError, invalid } from "./api-error.ts";

export interface BodyLimits {
  /** Default 8 MiB: a context of 160,000 tokens is about 1 MB of text. */
  bytes?: number;
  /** Objects and lists within each other. Default 64. */
  depth?: number;
}

const DEFAULT_BYTES = 8 << 20;
const DEFAULT_DEPTH = 64;
/** Characters of a client's key in a message. */
const MOST_SHOWN = 200;

/** Throws ApiError 413, 415 or 400. */
export async function readJson(
  request: Request,
  { bytes = DEFAULT_BYTES, depth = DEFAULT_DEPTH }: BodyLimits = {},
): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // A form or plain text can be sent by any page without asking; JSON can not.
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new ApiError(415, `Cannot read a body of type "${type.slice(0, 100)}", wanted application/json`);
  const text = await readText(request, bytes);
  const deepest = depthOf(text);
  if (deepest > depth)
    throw invalid(undefined, `Cannot read the body: it is ${deepest} levels deep, wanted at most ${depth}`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(undefined, `Cannot read the body as JSON: ${(error as Error).message}`, "invalid_json");
  }
}

async function readText(request: Request, limit: number): Promise<string> {
  const tooLong = () =>
    new ApiError(413, `Cannot read the body: it is longer than ${limit} bytes`, { code: "body_too_large" });
  if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLong();
  if (!request.body) return "";
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const pieces: string[] = [];
  let length = 0;
  try {
    for await (const bytes of request.body as unknown as AsyncIterable<Uint8Array>) {
      length += bytes.byteLength;
      if (length > limit) throw tooLong();
      pieces.push(decoder.decode(bytes, { stream: true }));
    }
    pieces.push(decoder.decode());
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (error instanceof TypeError) throw invalid(undefined, "Cannot read the body: it is not UTF-8");
    throw new ApiError(499, "The client has gone away", { code: "aborted", cause: error });
  }
  return pieces.join("");
}

/** How deep objects and lists stand within each other, whatever else is wrong with the text. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isInString) {
      if (code === 0x5c) at++;
      else if (code === 0x22) isInString = false;
    } else if (code === 0x22) isInString = true;
    else if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x7d || code === 0x5d) depth--;
  }
  return deepest;
}

/** The body by its schema. Throws ApiError 400 with the first fault and its key. */
export function parseBody<T extends z.ZodObject>(schema: T, body: unknown): z.output<T> {
  const result = schema.safeParse(body, { reportInput: true });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (!issue) throw new Error("internal: a schema failed without an issue");
  const path = issue.path.map(String).join(".").slice(0, MOST_SHOWN) || undefined;
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0]!.slice(0, MOST_SHOWN);
    const near = nearest(key, Object.keys(schema.shape));
    const where = path === undefined ? key : `${path}.${key}`;
    const message = `Unrecognized request argument supplied: ${where}${near && path === undefined ? `, did you mean ${near}?` : ""}`;
    throw invalid(where, message, "unknown_parameter");
  }
  throw invalid(path, `${path === undefined ? "The body" : `"${path}"`}: ${issue.message}`, "invalid_value");
}
