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
import { decimalRange, integerRange, nextAbove } from "./number-range.ts";
import { ANYTHING, ofLengths, type Pattern, patternGrammar, withLengths } from "./pattern.ts";
import { PatternFault, parsePattern } from "./pattern-parser.ts";
import { productGrammar } from "./pattern-product.ts";
import { boundsOf } from "./schema-array.ts";
import { joinPath, type SchemaContext } from "./schema-context.ts";
import { isObject, type JsonObject } from "./schema-merge.ts";
import { FORMATS, formatPattern, isDefinedFormat } from "./string-formats.ts";

export const MOST_CHARACTERS = 50_000;

export function stringGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  const { pattern } = schema;
  // Of a name that JSON Schema does not know, the pattern beside it says what is meant.
  const format = pattern !== undefined && !isDefinedFormat(schema.format) ? undefined : schema.format;
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
  const read = [
    pattern === undefined ? ANYTHING : readPattern(context, pattern, path),
    format === undefined ? ANYTHING : readFormat(context, format, path),
  ];
  if (read.includes(undefined)) return choice();
  const patterns = (read as Pattern[]).filter((one) => one !== ANYTHING);
  const limited = patterns.length === 1 ? withLengths(patterns[0]!, bounds) : undefined;
  if (limited) return sequence('"', patternGrammar(limited), '"');
  const together = productGrammar([...patterns, ofLengths(bounds)]);
  if (together) return sequence('"', together, '"');
  const key = pattern === undefined ? "format" : "pattern";
  return context.refuse(joinPath(path, key), "with what stands beside it, it takes too many states", {
    wanted: "a narrower pattern alone, such as ^[a-z]{2,10}$, or smaller lengths",
  });
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
  const bounds = boundsOfNumber(context, schema, path);
  if (!bounds) return choice();
  const { least, most } = bounds;
  if (least === undefined && most === undefined) return INTEGER;
  // Of doubles that are beyond all fractions, Math.ceil() and Math.floor() change nothing.
  return integerRange(
    least === undefined ? undefined : BigInt(Math.ceil(least)),
    most === undefined ? undefined : BigInt(Math.floor(most)),
  );
}

export function numberGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  const bounds = boundsOfNumber(context, schema, path);
  if (!bounds) return choice();
  const { least, most } = bounds;
  return least === undefined && most === undefined ? NUMBER : decimalRange(least, most);
}

/** The smallest and the largest double that are valid; undefined when one was refused. */
function boundsOfNumber(
  context: SchemaContext,
  schema: JsonObject,
  path: string,
): { least: number | undefined; most: number | undefined } | undefined {
  const wrong = BOUNDS.find((key) => schema[key] !== undefined && !Number.isFinite(schema[key]));
  if (wrong) {
    context.refuse(joinPath(path, wrong), `it is ${JSON.stringify(schema[wrong])}`, { wanted: "a number" });
    return undefined;
  }
  const [minimum, above, maximum, below] = BOUNDS.map((key) => schema[key] as number | undefined);
  const least = [minimum, above === undefined ? undefined : nextAbove(above)].filter((n) => n !== undefined);
  const most = [maximum, below === undefined ? undefined : -nextAbove(-below)].filter((n) => n !== undefined);
  return {
    least: least.length > 0 ? Math.max(...least) : undefined,
    most: most.length > 0 ? Math.min(...most) : undefined,
  };
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
