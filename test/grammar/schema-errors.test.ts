/** Schemas that cannot be followed: all problems, each with its place and what to write instead. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GrammarError } from "../../src/base/errors.ts";
import { CompiledGrammar, Constraint } from "../../src/grammar/constraint.ts";
import { grammarOfSchema } from "../../src/grammar/json-schema.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { smallVocabulary } from "./vocabularies.ts";

function problemsOf(schema: unknown): readonly { code: string; message: string; path?: string }[] {
  try {
    grammarOfSchema(schema);
  } catch (error) {
    assert.ok(error instanceof GrammarError, String(error));
    return error.problems;
  }
  return [];
}

/** [schema, path, code, what the message says] */
const REFUSED: readonly (readonly [unknown, string, string, RegExp])[] = [
  [{ type: "integer", multipleOf: 2 }, "multipleOf", "unsupported-keyword", /wanted an enum/],
  [
    { properties: { a: { items: { not: {} } } } },
    "properties.a.items.not",
    "unsupported-keyword",
    /anyOf or enum/,
  ],
  [{ type: "array", uniqueItems: true }, "uniqueItems", "unsupported-keyword", /not supported/],
  [
    { type: "object", patternProperties: {} },
    "patternProperties",
    "unsupported-keyword",
    /additionalProperties/,
  ],
  [{ type: "object", minProperties: 1 }, "minProperties", "unsupported-keyword", /required/],
  [{ type: "string", nullable: true }, "nullable", "unsupported-keyword", /"null"/],
  [{ if: {} }, "if", "unsupported-keyword", /anyOf/],
  [{ type: "object", propertys: {} }, "propertys", "unknown-keyword", /perhaps "properties"/],
  [{ type: "object", zzzzzz: 1 }, "zzzzzz", "unknown-keyword", /one of anyOf/],
  [{ type: "text" }, "type", "unsupported-schema", /"text" is no type, wanted some of object/],
  [{ type: "string", format: "regex", pattern: "a" }, "format", "unsupported-schema", /not known/],
  [{ type: "object", propertyNames: { pattern: "a" } }, "propertyNames", "unsupported-keyword", /properties/],
  [{ type: "string", format: "phone" }, "format", "unsupported-schema", /date-time/],
  [{ type: "string", format: "date", minLength: 12 }, "", "no-finite-output", /no finite value/],
  [
    { type: "string", pattern: "^(ab)*$", minLength: 9999 },
    "pattern",
    "unsupported-schema",
    /too many states/,
  ],
  [{ type: "string", minLength: -1 }, "minLength", "unsupported-schema", /it is -1/],
  [{ type: "string", maxLength: 1e9 }, "maxLength", "unsupported-schema", /at most 50000/],
  [{ type: "array", maxItems: 1e6 }, "maxItems", "unsupported-schema", /at most 10000/],
  [{ type: "array", items: [{}] }, "items", "unsupported-schema", /prefixItems/],
  [{ type: "number", minimum: "1" }, "minimum", "unsupported-schema", /a number/],
  [{ type: "integer", minimum: "1" }, "minimum", "unsupported-schema", /a number/],
  [{ type: "object", required: "a" }, "required", "unsupported-schema", /no list of names/],
  [
    { type: "object", required: ["a"], additionalProperties: false },
    "required",
    "unsupported-schema",
    /"a" in properties/,
  ],
  [{ type: "object", properties: [] }, "properties", "unsupported-schema", /no object/],
  [{ properties: { a: 1 } }, "properties.a", "unsupported-schema", /it is 1, wanted a schema/],
  [{ anyOf: [] }, "anyOf", "unsupported-schema", /no list of schemas/],
  [{ enum: "a" }, "enum", "unsupported-schema", /no list/],
  [{ enum: ["a"], minLength: 1 }, "minLength", "unsupported-schema", /beside enum/],
  [{ $ref: "#/$defs/a" }, "$ref", "unsupported-schema", /leads to nothing/],
  [{ $ref: "https://example.com/a.json" }, "$ref", "unsupported-schema", /not within this schema/],
  [{ $ref: "#/__proto__" }, "$ref", "unsupported-schema", /leads to nothing/],
  [{ $ref: "#/%" }, "$ref", "unsupported-schema", /leads to nothing/],
  [
    { $ref: "#/$defs/a", $defs: { a: { multipleOf: 1 } } },
    "$defs.a.multipleOf",
    "unsupported-keyword",
    /multipleOf/,
  ],
  [{ allOf: [{ pattern: "a" }, { pattern: "b" }] }, "", "unsupported-schema", /both have "pattern"/],
  [{ $ref: "#" }, "#", "endless-reference", /refers to itself/],
  [
    {
      anyOf: [{ type: "null" }, { $ref: "#/$defs/a" }],
      $defs: { a: { oneOf: [{ type: "null" }, { $ref: "#" }] } },
    },
    "#",
    "endless-reference",
    /itself/,
  ],
  [{ allOf: [{ $ref: "#" }, { type: "string" }] }, "allOf", "schema-too-large", /grows too large/],
  [
    { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] },
    "",
    "no-finite-output",
    /no finite value/,
  ],
  [{ type: "array", items: { $ref: "#" }, minItems: 1 }, "", "no-finite-output", /empty array/],
  [false, "", "no-finite-output", /no finite value/],
  [{ type: "string", minLength: 3, maxLength: 2 }, "", "no-finite-output", /no finite value/],
  [{ enum: [] }, "", "no-finite-output", /no finite value/],
  [{ type: "string", pattern: "^(a?){9000}$" }, "", "grammar-too-large", /wanted a smaller one/],
  ["a", "", "unsupported-schema", /it is "a", wanted a schema/],
  [undefined, "", "unsupported-schema", /undefined/],
];

for (const [schema, path, code, message] of REFUSED) {
  test(`grammarOfSchema() refuses ${JSON.stringify(schema)}`, () => {
    const problems = problemsOf(schema);
    const found = problems.find((problem) => problem.path?.startsWith(path) && problem.code === code);
    assert.ok(found, JSON.stringify(problems));
    if (code !== "schema-too-large") assert.equal(found.path, path);
    assert.match(found.message, message);
    assert.match(found.message, /^Cannot (follow|use) /);
  });
}

/** [pattern, what the message says] */
const PATTERNS: readonly (readonly [string, RegExp])[] = [
  ["(?=a)", /lookahead/],
  ["(?!a)b", /lookahead/],
  ["(?<=a)b", /lookbehind/],
  ["(?<!a)b", /lookbehind/],
  ["(?i:a)", /modifier/],
  ["(a)\\1", /back reference/],
  ["(?<n>a)\\k<n>", /back reference/],
  ["\\bword\\b", /word boundary/],
  ["\\p{L}", /Unicode property/],
  ["a^b", /anchor inside/],
  ["a$b", /anchor inside|nothing to do/],
  ["(^a)", /anchor inside/],
  ["(a$)", /anchor inside/],
  ["\\q", /not known/],
  ["a{2,1}", /repeats from 2 to 1/],
  ["a{99999}", /at most 10000/],
  ["a{", /nothing to do/],
  ["*a", /nothing to do/],
  ["a)", /nothing to do/],
  ["(a", /no end/],
  ["[a", /no end/],
  ["[b-a]", /range/],
  ["[\\d-z]", /range/],
  ["\\u{110000}", /no character/],
  ["\\ud800", /half a surrogate/],
  ["\\xg0", /hexadecimal/],
  ["a\\", /ends with a backslash/],
  ["(".repeat(100), /deeper than 64/],
  ["a".repeat(20_000), /10000 characters/],
];

for (const [pattern, message] of PATTERNS) {
  test(`grammarOfSchema() refuses the pattern ${pattern.slice(0, 20)}`, () => {
    const [problem] = problemsOf({ properties: { p: { type: "string", pattern } } });
    assert.equal(problem?.path, "properties.p.pattern");
    assert.match(problem.message, message);
  });
}

test("grammarOfSchema() tells all problems at once", () => {
  const schema = { properties: { a: { multipleOf: 1 }, b: { format: "iri" }, c: { not: {}, contains: {} } } };
  const paths = problemsOf(schema).map(({ path }) => path);
  assert.deepEqual(paths, [
    "properties.a.multipleOf",
    "properties.b.format",
    "properties.c.not",
    "properties.c.contains",
  ]);
});

test("grammarOfSchema() refuses what is too deep or too large, also objects that hold themselves", () => {
  let deep: object = { type: "null" };
  for (let i = 0; i < 2000; i++) deep = { type: "array", items: deep };
  assert.equal(problemsOf(deep)[0]?.code, "schema-too-large");
  assert.equal(
    problemsOf({ enum: Array.from({ length: 30_000 }, (_, i) => i) })[0]?.code,
    "schema-too-large",
  );
  const circle: Record<string, unknown> = { type: "array" };
  circle.items = circle;
  assert.equal(problemsOf(circle)[0]?.code, "schema-too-large");
});

test("grammarOfSchema() stops where merging multiplies a schema", () => {
  const branches = Array.from({ length: 8 }, (_, i) => ({ properties: { [`p${i}`]: {} } }));
  const schema = {
    type: "object",
    allOf: Array.from({ length: 9 }, () => ({ $ref: "#/$defs/d" })),
    $defs: { d: { anyOf: branches } },
  };
  assert.equal(problemsOf(schema).length, 0); // the same nine times is the same once
  const doubled: Record<string, unknown> = { d0: { type: "null" } };
  for (let i = 1; i < 40; i++) {
    const half = { $ref: `#/$defs/d${i - 1}`, title: "merged" };
    doubled[`d${i}`] = { anyOf: [half, half], type: ["null", "string"] };
  }
  assert.equal(problemsOf({ $ref: "#/$defs/d39", $defs: doubled })[0]?.code, "schema-too-large");
});

test("grammarOfSchema() copes with an enum of 10,000 texts, 2,000 properties and names that are no names", () => {
  const words = Array.from({ length: 10_000 }, (_, i) => `word ${i * 7919}`);
  const properties = Object.fromEntries(
    Array.from({ length: 2000 }, (_, i) => [`property${i}`, { type: "integer" }]),
  );
  const { trie, end } = smallVocabulary(["word", "property"]);
  const compiled = new CompiledGrammar(grammarOfSchema({ enum: words }), trie, { endTokens: [end] });
  const constraint = new Constraint(compiled);
  for (const byte of new TextEncoder().encode(JSON.stringify(words[9999]))) constraint.accept(byte);
  assert.ok(constraint.isComplete);

  const matcher = new Matcher(grammarOfSchema({ type: "object", properties }));
  const text = '{"property0":1,"property7":2,"property1999":3,"property20000":null}';
  assert.ok(matcher.advanceAll(new TextEncoder().encode(text)) && matcher.canEnd);

  const odd = JSON.parse(
    '{"type":"object","properties":{"__proto__":{"type":"null"},"constructor":{"type":"null"},"":{"const":1},"\\ud800":{"const":2}},"required":["__proto__","","\\ud800"],"additionalProperties":false}',
  );
  const other = new Matcher(grammarOfSchema(odd));
  assert.ok(
    other.advanceAll(new TextEncoder().encode('{"__proto__":null,"":1,"\\ud800":2}')) && other.canEnd,
  );
});
