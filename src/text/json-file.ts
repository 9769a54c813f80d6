/** Small JSON files beside the shards, read as objects; what is wrong with one becomes an error that names it. */
import { CheckpointError } from "../base/errors.ts";
import { printable } from "../checkpoint/shown.ts";

/** The part of a Store that text needs: a folder, a recipe's virtual child and a test's map all have it. */
export interface TextFiles {
  readSmall(name: string, limitBytes?: number): Promise<Uint8Array | undefined>;
}

export type JsonObject = Record<string, unknown>;

/** undefined when there is no such file. */
export async function readText(
  files: TextFiles,
  name: string,
  limitBytes: number,
): Promise<string | undefined> {
  const bytes = await files.readSmall(name, limitBytes);
  if (!bytes) return undefined;
  try {
    // A byte order mark is dropped, as Python's and the browsers' readers do.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CheckpointError("text-file", `Cannot read "${name}": it is not valid UTF-8`);
  }
}

/** undefined when there is no such file. */
export async function readJsonObject(
  files: TextFiles,
  name: string,
  limitBytes = 20_000_000,
): Promise<JsonObject | undefined> {
  const text = await readText(files, name, limitBytes);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const what = `it is not valid JSON: ${printable((cause as Error).message)}`;
    throw new CheckpointError("text-file", `Cannot read "${name}": ${what}`, { cause });
  }
  if (isObject(value)) return value;
  throw new CheckpointError("text-file", `Cannot read "${name}": it holds no JSON object`);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value of an own key: names from a file must not reach the prototype. */
export function own(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
