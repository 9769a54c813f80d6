/** A regular expression as a tree: how long what it matches is, and its grammar inside a JSON string. */
import { ANY_CHARACTER } from "./characters.ts";
import { choice, type Grammar, type Range, repeat, sequence } from "./grammar.ts";
import { spelledCharacter } from "./json-grammar.ts";

export type Pattern =
  /** One character out of these code points. */
  | { kind: "character"; ranges: readonly Range[] }
  | { kind: "sequence"; items: readonly Pattern[] }
  | { kind: "choice"; items: readonly Pattern[] }
  | { kind: "repeat"; item: Pattern; min: number; max?: number };

/** In characters; `max` is infinite without a limit. */
export interface Lengths {
  min: number;
  max: number;
}

/** Any text of these lengths. */
export function ofLengths({ min, max }: Lengths): Pattern {
  const item: Pattern = { kind: "character", ranges: ANY_CHARACTER };
  return { kind: "repeat", item, min, ...(max === Number.POSITIVE_INFINITY ? {} : { max }) };
}

/** Any text. */
export const ANYTHING: Pattern = ofLengths({ min: 0, max: Number.POSITIVE_INFINITY });

export function lengthsOf(pattern: Pattern): Lengths {
  switch (pattern.kind) {
    case "character":
      return { min: 1, max: 1 };
    case "sequence": {
      const all = pattern.items.map(lengthsOf);
      return { min: all.reduce((n, { min }) => n + min, 0), max: all.reduce((n, { max }) => n + max, 0) };
    }
    case "choice": {
      const all = pattern.items.map(lengthsOf);
      return { min: Math.min(...all.map(({ min }) => min)), max: Math.max(...all.map(({ max }) => max)) };
    }
    case "repeat": {
      const item = lengthsOf(pattern.item);
      const most = pattern.max ?? Number.POSITIVE_INFINITY;
      return { min: item.min * pattern.min, max: item.max === 0 || most === 0 ? 0 : item.max * most };
    }
    default:
      return pattern satisfies never;
  }
}

/**
 * The same, but only texts of these lengths; undefined where that is more than a change of one count. It is one
 * where the pattern's own lengths lie within, and where all parts but one repetition of single characters are of
 * one length each.
 */
export function withLengths(pattern: Pattern, { min, max }: Lengths): Pattern | undefined {
  const own = lengthsOf(pattern);
  if (own.min >= min && own.max <= max) return pattern;
  const items = pattern.kind === "sequence" ? pattern.items : [pattern];
  const lengths = items.map(lengthsOf);
  const open = items.filter((_, i) => lengths[i]!.min !== lengths[i]!.max);
  const [counted] = open;
  if (open.length !== 1 || counted?.kind !== "repeat") return undefined;
  const { min: shortest, max: longest } = lengthsOf(counted.item);
  if (shortest !== 1 || longest !== 1) return undefined;
  const fixed = lengths.reduce((n, { min, max }) => n + (min === max ? min : 0), 0);
  const least = Math.max(counted.min, min - fixed);
  const most = Math.min(counted.max ?? Number.POSITIVE_INFINITY, max - fixed);
  if (least > most) return { kind: "character", ranges: [] };
  const limited: Pattern = {
    ...counted,
    min: least,
    ...(most === Number.POSITIVE_INFINITY ? {} : { max: most }),
  };
  return { kind: "sequence", items: items.map((item) => (item === counted ? limited : item)) };
}

/** What stands between the quotes, spelled as JSON.stringify() does. */
export function patternGrammar(pattern: Pattern): Grammar {
  switch (pattern.kind) {
    case "character":
      return spelledCharacter(pattern.ranges);
    case "sequence":
      return sequence(...pattern.items.map(patternGrammar));
    case "choice":
      return choice(...pattern.items.map(patternGrammar));
    case "repeat":
      return repeat(patternGrammar(pattern.item), pattern.min, pattern.max);
    default:
      return pattern satisfies never;
  }
}
