/**
 * Two schemas as one that asks for both, where that is a schema again: for allOf, and for keywords that stand beside
 * $ref, anyOf or oneOf.
 */
import { isAnnotation } from "./schema-keywords.ts";

export type JsonObject = { readonly [key: string]: unknown };

/** A part of two schemas that cannot be put together. */
export class MergeFault extends Error {
  override name = "MergeFault";
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Throws MergeFault, of which the message names the keyword. */
export function mergeSchemas(a: unknown, b: unknown): unknown {
  if (a === true) return b;
  if (b === true) return a;
  if (a === false || b === false) return false;
  if (!isObject(a) || !isObject(b)) throw new MergeFault("a part is no schema");
  const closed = closedProperties(a, b);
  const merged: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(a)) if (!isAnnotation(key, value)) define(merged, key, value);
  for (const [key, value] of Object.entries(b)) {
    if (isAnnotation(key, value)) continue;
    define(merged, key, Object.hasOwn(merged, key) ? mergeValues(key, merged[key], value) : value);
  }
  if (closed !== undefined) merged.properties = closed;
  return merged;
}

/** JSON texts are equal: the order of keys counts, which at worst refuses a schema. */
export function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** An own key, though it be "__proto__". */
export function define(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

function mergeValues(key: string, a: unknown, b: unknown): unknown {
  if (isSame(a, b)) return a;
  switch (key) {
    case "type":
      return mergeTypes(list(a), list(b));
    case "enum":
      return list(a).filter((value) => list(b).some((other) => isSame(value, other)));
    case "required":
      return [...new Set([...list(a), ...list(b)])];
    case "minimum":
    case "exclusiveMinimum":
    case "minLength":
    case "minItems":
      return Math.max(number(a), number(b));
    case "maximum":
    case "exclusiveMaximum":
    case "maxLength":
    case "maxItems":
      return Math.min(number(a), number(b));
    case "properties":
      return mergeProperties(a, b);
    case "additionalProperties":
    case "items":
      return mergeSchemas(a, b);
    case "allOf":
      return [...list(a), ...list(b)];
    default:
      throw new MergeFault(`both have "${key}"`);
  }
}

function mergeTypes(a: readonly unknown[], b: readonly unknown[]): unknown[] {
  const has = (types: readonly unknown[], type: unknown): boolean =>
    types.includes(type) || (type === "integer" && types.includes("number"));
  return [...new Set([...a, ...b])].filter((type) => has(a, type) && has(b, type));
}

function mergeProperties(a: unknown, b: unknown): unknown {
  if (!isObject(a) || !isObject(b)) throw new MergeFault('"properties" is no object');
  const merged: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(a)) define(merged, name, schema);
  for (const [name, schema] of Object.entries(b))
    define(merged, name, Object.hasOwn(merged, name) ? mergeSchemas(merged[name], schema) : schema);
  return merged;
}

/**
 * What additionalProperties of one says of properties that only the other names: it applies to them, and would not
 * once they stand in one schema. Gives the properties of both with that applied.
 */
function closedProperties(a: JsonObject, b: JsonObject): JsonObject | undefined {
  if (a.additionalProperties === undefined && b.additionalProperties === undefined) return undefined;
  const [own, other] = [a.properties ?? {}, b.properties ?? {}];
  if (!isObject(own) || !isObject(other)) return undefined;
  const merged: Record<string, unknown> = {};
  for (const name of new Set([...Object.keys(own), ...Object.keys(other)])) {
    const left = Object.hasOwn(own, name) ? own[name] : (a.additionalProperties ?? true);
    const right = Object.hasOwn(other, name) ? other[name] : (b.additionalProperties ?? true);
    define(merged, name, mergeSchemas(left, right));
  }
  return merged;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function number(value: unknown): number {
  if (typeof value !== "number") throw new MergeFault("a bound is no number");
  return value;
}
