/**
 * The keywords of JSON Schema (2020-12) by what is done with them: some decide, some say nothing about what is valid,
 * and the others restrict in a way that a grammar cannot follow, so that a schema with one of them is refused.
 */

/** Of values of one type. */
export const TYPE_KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
};

export const COMBINING: readonly string[] = ["anyOf", "oneOf", "allOf", "$ref", "enum", "const", "type"];

/** Say nothing about what is valid, or only hold what $ref points at. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  ..."title description default example examples deprecated readOnly writeOnly".split(" "),
  ..."$schema $id id $comment $defs definitions $anchor $vocabulary".split(" "),
  ..."contentMediaType contentEncoding contentSchema externalDocs xml discriminator nullable strict".split(
    " ",
  ),
]);

/** What others restrict with, and what to write instead. */
export const UNSUPPORTED: ReadonlyMap<string, string> = new Map([
  ["nullable", 'a list of types with "null"'],
  ["multipleOf", "an enum of the values, or a check after the output"],
  ["uniqueItems", "an enum for each place in prefixItems, or a check after the output"],
  ["contains", "items, or prefixItems"],
  ["minContains", "minItems"],
  ["maxContains", "maxItems"],
  ["additionalItems", "prefixItems with items"],
  ["unevaluatedItems", "items"],
  ["unevaluatedProperties", "additionalProperties"],
  ["patternProperties", "properties, or additionalProperties with a schema"],
  ["propertyNames", "properties"],
  ["minProperties", "required"],
  ["maxProperties", "properties with additionalProperties: false"],
  ["dependentRequired", "anyOf with a schema for each case"],
  ["dependentSchemas", "anyOf with a schema for each case"],
  ["dependencies", "anyOf with a schema for each case"],
  ["not", "anyOf or enum with what is wanted"],
  ["if", "anyOf with a schema for each case"],
  ["then", "anyOf with a schema for each case"],
  ["else", "anyOf with a schema for each case"],
  ["$dynamicRef", "$ref"],
  ["$recursiveRef", "$ref"],
]);

/** Values with which a keyword that is not supported restricts nothing. */
const HARMLESS: Readonly<Record<string, unknown>> = { uniqueItems: false, minProperties: 0 };

export const SUPPORTED: ReadonlySet<string> = new Set([...COMBINING, ...Object.values(TYPE_KEYWORDS).flat()]);

/** Whether a keyword can be left out of account. */
export function isAnnotation(keyword: string, value: unknown): boolean {
  if (keyword === "nullable") return value !== true; // OpenAPI's, which widens the type
  if (keyword === "propertyNames") return value === true || JSON.stringify(value) === '{"type":"string"}';
  return (
    ANNOTATIONS.has(keyword) ||
    keyword.startsWith("x-") ||
    (Object.hasOwn(HARMLESS, keyword) && HARMLESS[keyword] === value)
  );
}
