/** $ref within one schema: JSON pointers (RFC 6901) in fragments. */
import { isObject } from "./schema-merge.ts";

export interface Reference {
  /** One spelling for each place. */
  pointer: string;
  schema: unknown;
  path: string;
}

/** What is there or, as text, why there is nothing. */
export function findReference(root: unknown, reference: unknown): Reference | string {
  if (typeof reference !== "string") return "it is no text";
  if (reference === "" || reference === "#") return { pointer: "#", schema: root, path: "" };
  if (!reference.startsWith("#/")) return `${JSON.stringify(reference)} is not within this schema`;
  const keys = reference.slice(2).split("/").map(keyOf);
  let schema = root;
  for (const key of keys) {
    const isThere =
      (isObject(schema) || Array.isArray(schema)) && key !== undefined && Object.hasOwn(schema, key);
    if (!isThere) return `${JSON.stringify(reference)} leads to nothing`;
    schema = (schema as Record<string, unknown>)[key];
  }
  return { pointer: `#/${keys.map((key) => JSON.stringify(key)).join("/")}`, schema, path: keys.join(".") };
}

function keyOf(part: string): string | undefined {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return undefined; // a % that begins no byte
  }
}
