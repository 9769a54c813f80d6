/**
 * What an output may look like, as plain data: bytes, special tokens, and how they follow one another.
 *
 * A grammar speaks of bytes, not of characters or tokens, so that any vocabulary may spell what it allows. Rules
 * have names, are looked up from the innermost scope outwards, and may refer to themselves; a scope is a grammar
 * like any other, so that what two callers made is put together without their names getting in each other's way.
 */

/** First and last, both included. */
export type Range = readonly [first: number, last: number];

export type Grammar =
  | { kind: "literal"; bytes: readonly number[] }
  /** One byte of these; none where there is no range, and then nothing can match. */
  | { kind: "bytes"; ranges: readonly Range[] }
  /** One special token, by its id. */
  | { kind: "token"; id: number }
  | { kind: "sequence"; items: readonly Grammar[] }
  | { kind: "choice"; items: readonly Grammar[] }
  /** At least `min` times; without `max` as often as one likes. */
  | { kind: "repeat"; item: Grammar; min: number; max?: number }
  | { kind: "rule"; name: string }
  | { kind: "scope"; rules: Readonly<Record<string, Grammar>>; start: Grammar };

/** Matches nothing but the empty output. */
export const EMPTY: Grammar = { kind: "sequence", items: [] };

const encoder = new TextEncoder();

/** This text in UTF-8, or these bytes. Throws RangeError for half a surrogate pair, which has no bytes. */
export function literal(text: string | Uint8Array): Grammar {
  if (typeof text !== "string") return { kind: "literal", bytes: [...text] };
  if (/\p{Surrogate}/u.test(text))
    throw new RangeError(`Cannot spell ${JSON.stringify(text)}: it has half a surrogate pair, wanted text`);
  return { kind: "literal", bytes: [...encoder.encode(text)] };
}

/** One byte out of ranges of bytes. */
export function byteOf(...ranges: Range[]): Grammar {
  for (const [first, last] of ranges) {
    if (!isByte(first) || !isByte(last) || first > last)
      throw new RangeError(`Cannot use bytes from ${first} to ${last}: wanted a range within 0 to 255`);
  }
  return { kind: "bytes", ranges };
}

/** One byte out of ASCII characters. */
export function oneOf(characters: string): Grammar {
  return byteOf(...Array.from(characters, (c): Range => [c.charCodeAt(0), c.charCodeAt(0)]));
}

/** A special token: only its id matches, never text that looks like it. */
export function token(id: number): Grammar {
  if (!Number.isSafeInteger(id) || id < 0)
    throw new RangeError(`Cannot use token ${id}: wanted an integer from 0`);
  return { kind: "token", id };
}

export function sequence(...items: readonly (Grammar | string)[]): Grammar {
  return { kind: "sequence", items: items.map(grammarOf) };
}

export function choice(...items: readonly (Grammar | string)[]): Grammar {
  return { kind: "choice", items: items.map(grammarOf) };
}

/** `max` undefined: no limit. */
export function repeat(item: Grammar | string, min: number, max?: number): Grammar {
  const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
  if (!isCount(min) || (max !== undefined && (!isCount(max) || max < min)))
    throw new RangeError(`Cannot repeat from ${min} to ${max} times: wanted two counts in order`);
  return { kind: "repeat", item: grammarOf(item), min, ...(max === undefined ? {} : { max }) };
}

export function optional(item: Grammar | string): Grammar {
  return repeat(item, 0, 1);
}

/** What a scope around it calls by this name. */
export function rule(name: string): Grammar {
  return { kind: "rule", name };
}

/** Binds names for `start` and for the rules themselves. */
export function scope(rules: Readonly<Record<string, Grammar>>, start: Grammar | string): Grammar {
  return { kind: "scope", rules, start: grammarOf(start) };
}

function grammarOf(item: Grammar | string): Grammar {
  return typeof item === "string" ? literal(item) : item;
}

function isByte(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 255;
}
