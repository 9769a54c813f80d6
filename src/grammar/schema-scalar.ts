/** Strings and numbers of a schema, and values that it lists. */
import { choice, type Grammar, literal, repeat, sequence } from "./grammar.ts";
import {
  arrayOf,
  CHARACTER,
  COMMA,
  EMPTY_ARRAY,
  EMPTY_OBJECT,
  INTEGER,
  memberOf,
  NUMBER,
  objectOf,
  STRING,
} from "./json-grammar.ts";
import { integerRange } from "./number-range.ts";
import { type Pattern, patternGrammar, withLengths } from "./pattern.ts";
import { PatternFault, parsePattern } from "./pattern-parser.ts";
import { boundsOf } from "./schema-array.ts";
import { joinPath, type SchemaContext } from "./schema-context.ts";
import { isObject, type JsonObject } from "./schema-merge.ts";
import { FORMATS, formatPattern } from "./string-formats.ts";

export const MOST_CHARACTERS = 50_000;

export function stringGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  const { pattern, format } = schema;
  const bounds = boundsOf(context, schema, {
    keys: ["minLength", "maxLength"],
    most: MOST_CHARACTERS,
    path,
  });
  if (!bounds || bounds.min > bounds.max) return choice();
  const { min, max } = bounds;
  if (pattern === undefined && format === undefined) {
    if (min === 0 && max === Number.POSITIVE_INFINITY) return STRING;
    return sequence('"', repeat(CHARACTER, min, max === Number.POSITIVE_INFINITY ? undefined : max), '"');
  }
  if (pattern !== undefined && format !== undefined)
    return context.refuse(joinPath(path, "pattern"), "it stands beside format", { wanted: "one of them" });

  const key = pattern === undefined ? "format" : "pattern";
  const whole =
    pattern === undefined ? readFormat(context, format, path) : readPattern(context, pattern, path);
  if (!whole) return choice();
  const limited = withLengths(whole, bounds);
  if (!limited) {
    const wanted = "the lengths in the pattern itself, such as ^[a-z]{2,10}$";
    return context.refuse(joinPath(path, key), "it stands beside minLength or maxLength", { wanted });
  }
  return sequence('"', patternGrammar(limited), '"');
}

function readFormat(context: SchemaContext, format: unknown, path: string): Pattern | undefined {
  const known = typeof format === "string" ? formatPattern(format) : undefined;
  if (!known) {
    const is = `${JSON.stringify(format)} is not known`;
    context.refuse(joinPath(path, "format"), is, { wanted: `one of ${FORMATS.join(", ")}` });
  }
  return known;
}

function readPattern(context: SchemaContext, pattern: unknown, path: string): Pattern | undefined {
  const at = joinPath(path, "pattern");
  if (typeof pattern !== "string") {
    context.refuse(at, "it is no text", { wanted: "a regular expression" });
    return undefined;
  }
  try {
    return parsePattern(pattern);
  } catch (fault) {
    if (!(fault instanceof PatternFault)) throw fault;
    const wanted =
      "characters, classes, groups, alternatives, quantifiers, and ^ and $ at the ends of the pattern";
    context.refuse(at, fault.message, { wanted });
    return undefined;
  }
}

const BOUNDS = ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] as const;

export function integerGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  const given = BOUNDS.filter((key) => schema[key] !== undefined);
  if (given.length === 0) return INTEGER;
  for (const key of given) {
    if (typeof schema[key] === "number" && Number.isFinite(schema[key])) continue;
    return context.refuse(joinPath(path, key), `it is ${JSON.stringify(schema[key])}`, {
      wanted: "a number",
    });
  }
  const bound = (key: (typeof BOUNDS)[number]): number | undefined => schema[key] as number | undefined;
  const lows = [bound("minimum"), bound("exclusiveMinimum")];
  const highs = [bound("maximum"), bound("exclusiveMaximum")];
  const least = [
    ...(lows[0] === undefined ? [] : [BigInt(Math.ceil(lows[0]))]),
    ...(lows[1] === undefined ? [] : [BigInt(Math.floor(lows[1])) + 1n]),
  ];
  const most = [
    ...(highs[0] === undefined ? [] : [BigInt(Math.floor(highs[0]))]),
    ...(highs[1] === undefined ? [] : [BigInt(Math.ceil(highs[1])) - 1n]),
  ];
  const largest = least.reduce<bigint | undefined>((a, b) => (a !== undefined && a > b ? a : b), undefined);
  const smallest = most.reduce<bigint | undefined>((a, b) => (a !== undefined && a < b ? a : b), undefined);
  return integerRange(largest, smallest);
}

export function numberGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  for (const key of BOUNDS) {
    if (schema[key] === undefined) continue;
    context.refuse(joinPath(path, key), "numbers have no bounds here", { wanted: 'it on "type": "integer"' });
  }
  return NUMBER;
}

/** A value as JSON.stringify() spells it, with space between what it is made of. Keys stand in its order. */
export function constantGrammar(value: unknown): Grammar {
  if (Array.isArray(value)) {
    const items = value.flatMap((item, i) => [...(i > 0 ? [COMMA] : []), constantGrammar(item)]);
    return items.length === 0 ? EMPTY_ARRAY : arrayOf(sequence(...items), { canBeEmpty: false });
  }
  if (isObject(value)) {
    const members = Object.entries(value).flatMap(([key, member], i) => [
      ...(i > 0 ? [COMMA] : []),
      memberOf(literal(JSON.stringify(key)), constantGrammar(member)),
    ]);
    return members.length === 0 ? EMPTY_OBJECT : objectOf(sequence(...members), { canBeEmpty: false });
  }
  return literal(JSON.stringify(value));
}
