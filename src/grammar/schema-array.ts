/** Arrays of a schema: first those of prefixItems, then items, as many as are wanted. */
import { choice, type Grammar, optional, repeat, sequence } from "./grammar.ts";
import { arrayOf, COMMA, EMPTY_ARRAY, VALUE } from "./json-grammar.ts";
import { joinPath, type SchemaContext } from "./schema-context.ts";
import type { JsonObject } from "./schema-merge.ts";

/** An array of over 10,000 items is no answer of a language model. */
export const MOST_ITEMS = 10_000;

export function arrayGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  const { items = true, prefixItems = [] } = schema;
  if (Array.isArray(items))
    return context.refuse(joinPath(path, "items"), "it is a list", {
      wanted: "prefixItems for a list of schemas",
    });
  if (!Array.isArray(prefixItems))
    return context.refuse(joinPath(path, "prefixItems"), "it is no list", { wanted: "a list of schemas" });

  const first = prefixItems.map((item, i) =>
    context.newRule("item", context.valueOf(item, joinPath(path, "prefixItems", i))),
  );
  const bounds = boundsOf(context, schema, { keys: ["minItems", "maxItems"], most: MOST_ITEMS, path });
  if (!bounds) return choice();
  const { min } = bounds;
  const max = items === false ? Math.min(bounds.max, first.length) : bounds.max;
  if (min > max) return choice();
  if (max === 0) return EMPTY_ARRAY;
  const item =
    items === true ? VALUE : context.newRule("item", context.valueOf(items, joinPath(path, "items")));
  const limit = (count: number): number | undefined =>
    count === Number.POSITIVE_INFINITY ? undefined : count;

  // After `at` items; the last of prefixItems that has room is followed by items.
  const numFirst = Math.min(first.length, max);
  let rest: Grammar = repeat(
    sequence(COMMA, item),
    Math.max(0, min - Math.max(1, numFirst)),
    limit(max - Math.max(1, numFirst)),
  );
  for (let at = numFirst - 1; at >= 1; at--) {
    const more = sequence(COMMA, first[at]!, rest);
    rest = context.newRule("items", at < min ? more : optional(more));
  }
  return arrayOf(sequence(numFirst > 0 ? first[0]! : item, rest), { canBeEmpty: min === 0 });
}

/** Two counts that a schema may have; undefined when they were refused. */
export function boundsOf(
  context: SchemaContext,
  schema: JsonObject,
  { keys, most, path }: { keys: readonly [string, string]; most: number; path: string },
): { min: number; max: number } | undefined {
  let isRefused = false;
  const count = (key: string, otherwise: number): number => {
    const value = schema[key] ?? otherwise;
    const isCount = typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= most;
    if (isCount || value === Number.POSITIVE_INFINITY) return value;
    context.refuse(joinPath(path, key), `it is ${JSON.stringify(value)}`, {
      wanted: `a count of at most ${most}`,
    });
    isRefused = true;
    return 0;
  };
  const min = count(keys[0], 0);
  const max = count(keys[1], Number.POSITIVE_INFINITY);
  return isRefused ? undefined : { min, max };
}
