/** Grammars of schemas against a validator: what they let through is valid, and what is valid they let through. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";
import { Automaton } from "../../src/grammar/automaton.ts";
import { CompiledGrammar, Constraint } from "../../src/grammar/constraint.ts";
import { grammarOfSchema } from "../../src/grammar/json-schema.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { networkOf } from "../../src/grammar/network.ts";
import { type SeededRandom, seededRandom } from "../../src/statistics/random.ts";
import { FORMAT_CHECKS, SCHEMAS, valuesOf } from "./schemas.ts";
import { miniVocabulary, smallVocabulary } from "./vocabularies.ts";

const encoder = new TextEncoder();
const TEXTS = [
  "{",
  '{"',
  '"}',
  '":',
  '": ',
  '", "',
  '","',
  "}}",
  "]]",
  "[[",
  "[]",
  "{}",
  "\n  ",
  "12",
  "-1",
  "1.5",
  "true",
  "null",
  "\\",
  "\\u",
  "é",
  "🙂",
  "日本",
];
TEXTS.push(
  '"a"',
  '"b":',
  '"value"',
  '"children":',
  "[{",
  "}]",
  "00",
  "-",
  "2024-",
  "T1",
  "ab",
  "abcd",
  "red",
  "der",
);

function validatorOf(schema: object): ValidateFunction {
  const ajv = new Ajv2020({ strict: false });
  for (const [name, check] of Object.entries(FORMAT_CHECKS)) ajv.addFormat(name, check);
  return ajv.compile(schema);
}

/**
 * A random output, undefined where it did not end. Ends as soon as it may with a chance of 1 in 3; after 150 tokens
 * it takes what closes things, where it can.
 */
function randomOutput(compiled: CompiledGrammar, random: SeededRandom): Uint8Array | undefined {
  const constraint = new Constraint(compiled);
  const output: number[] = [];
  const closers = ['"', "}", "]", "null", "n", "u", "l", "1"].map((text) => encoder.encode(text).join());
  for (let step = 0; step < 600; step++) {
    const mask = constraint.allowed();
    const ids: number[] = [];
    const ends: number[] = [];
    for (let id = 0; id < compiled.trie.size; id++) {
      if (((mask[id >>> 5]! >>> (id & 31)) & 1) === 0) continue;
      (compiled.endTokens.has(id) ? ends : ids).push(id);
    }
    assert.ok(ids.length + ends.length > 0, "nothing was allowed");
    if (ends.length > 0 && (ids.length === 0 || random.nextInt(3) === 0)) return Uint8Array.from(output);
    let id = ids[random.nextInt(ids.length)]!;
    if (step > 150) {
      const rank = (one: number): number => {
        const at = closers.indexOf(compiled.trie.bytesOf(one).join());
        return at < 0 ? closers.length : at;
      };
      id = ids.reduce((best, one) => (rank(one) < rank(best) ? one : best), id);
    }
    constraint.accept(id);
    output.push(...compiled.trie.bytesOf(id));
  }
  return undefined;
}

describe("grammarOfSchema() lets only valid values through", () => {
  const { trie, end } = smallVocabulary(TEXTS);
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    test(name, () => {
      const validate = validatorOf(schema);
      const compiled = new CompiledGrammar(grammarOfSchema(schema), trie, { endTokens: [end] });
      const random = seededRandom(11);
      let ended = 0;
      const outputs = 40;
      for (let i = 0; i < outputs; i++) {
        const output = randomOutput(compiled, random);
        if (!output) continue;
        ended++;
        const text = new TextDecoder("utf-8", { fatal: true }).decode(output);
        assert.ok(validate(JSON.parse(text)), `${text}: ${JSON.stringify(validate.errors)}`);
      }
      assert.ok(ended >= outputs / 2, `${ended} of ${outputs} outputs came to an end`);
    });
  }
});

test("grammarOfSchema() lets only valid values through, by the small models' vocabulary", async () => {
  const { trie, end } = await miniVocabulary();
  for (const schema of Object.values(SCHEMAS)) {
    const validate = validatorOf(schema);
    const compiled = new CompiledGrammar(grammarOfSchema(schema), trie, { endTokens: [end] });
    const random = seededRandom(12);
    for (let i = 0; i < 6; i++) {
      const output = randomOutput(compiled, random);
      if (output) assert.ok(validate(JSON.parse(new TextDecoder().decode(output))));
    }
  }
});

/** Lets a constraint accept a text in random tokens. */
function acceptsInTokens(compiled: CompiledGrammar, text: string, random: SeededRandom): boolean {
  const constraint = new Constraint(compiled);
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length; ) {
    const fitting: number[] = [];
    for (let id = 0; id < compiled.trie.size; id++) {
      const token = compiled.trie.bytesOf(id);
      if (token.length > 0 && token.every((byte, i) => byte === bytes[at + i])) fitting.push(id);
    }
    const id = fitting[random.nextInt(fitting.length)]!;
    const isAllowed = constraint.allows(id);
    assert.equal(((constraint.allowed()[id >>> 5]! >>> (id & 31)) & 1) === 1, isAllowed);
    if (!isAllowed) return false;
    constraint.accept(id);
    at += compiled.trie.bytesOf(id).length;
  }
  return constraint.canEnd;
}

const spaced = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}: ${spaced(member)}`);
  return `{${members.join(", ")}}`;
};

describe("grammarOfSchema() lets every valid value through, in any tokens", () => {
  const { trie, end } = smallVocabulary(TEXTS);
  let tried = 0;
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    const values = valuesOf(schema);
    if (!values) continue;
    tried++;
    test(name, () => {
      const validate = validatorOf(schema);
      const compiled = new CompiledGrammar(grammarOfSchema(schema), trie, { endTokens: [end] });
      const random = seededRandom(13);
      fc.assert(
        fc.property(values, (value) => {
          const text = JSON.stringify(value);
          if (/\\ud[89a-f]/.test(text)) return; // half a pair, which no UTF-8 spells
          assert.ok(validate(JSON.parse(text)), text);
          assert.ok(acceptsInTokens(compiled, text, random), text);
          assert.ok(acceptsInTokens(compiled, spaced(value), random), spaced(value));
        }),
        { numRuns: 60, seed: 14 },
      );
    });
  }
  test("for most of the schemas", () => assert.ok(tried >= 20, `${tried} schemas`));
});

/** Values near to valid ones, and others. Keys stay in order. */
const CANDIDATES: readonly unknown[] = (() => {
  const scalars = [
    null,
    true,
    false,
    0,
    1,
    2,
    12,
    12.5,
    -1,
    17,
    16,
    130,
    131,
    -205,
    -204,
    -12,
    -13,
    1204,
    1205,
    99,
    100,
    1e20,
    0.5,
    -0.25,
    "",
    "a",
    "ab",
    "b",
    "c",
    "xd",
    "abc",
    "abcd",
    "abcde",
  ];
  scalars.push(
    "red",
    "redder",
    "redd",
    "x",
    "y",
    "é\n",
    "é",
    "AB-1",
    "ABC-12x",
    "AB-1yA",
    "AB-1ya",
    "AB-1y\n",
    "ABCD-1",
    "ad",
    "abd",
    "acbd",
    "abcbd",
    "日",
    "à😀",
    "z",
    'x y"\\/',
    'x y"\\/_',
    "cxx",
    "xxd",
    "dx",
    "🙂🙂",
    "🙂🙂🙂🙂🙂",
  );
  scalars.push(
    "2024-02-29",
    "2023-02-29",
    "1900-02-29",
    "2000-02-29",
    "2024-04-31",
    "2024-12-31",
    "23:59:59Z",
    "24:00:00Z",
    "00:00:00.5+05:30",
    "2024-01-01T00:00:00Z",
    "123e4567-e89b-12d3-a456-426614174000",
    "1.2.3.4",
    "1.2.3.256",
    "::",
    "1::2",
    "::1::",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7::",
    "P1D",
    "PT5M",
    "P",
    "PT",
    "P1Y2M3DT4H5M6S",
    "a@b.c",
    "a.b",
  );
  const keys = [
    "a",
    "ab",
    "b",
    "c",
    "d",
    "e",
    "f",
    'q"é\n',
    "name",
    "age",
    "next",
    "l",
    "m",
    "x",
    "y",
    "value",
    "children",
  ];
  const objects: unknown[] = [
    {},
    { a: 1, b: 2 },
    { a: 1, d: 4 },
    { b: 2, c: 3, d: 4 },
    { c: "x" },
    { a: true, c: "y", e: 0 },
    { b: null, c: "x", d: [] },
    { a: 1, ab: 2 },
    { ab: 1, zz: "s" },
    { ab: 1, zz: 1 },
  ];
  objects.push(
    { name: "Ada", age: 36 },
    { name: "Ada" },
    { name: "toolong", age: 1 },
    { a: { a: [1, 2, { b: "c" }], d: {} } },
    { a: [1, 2, { b: "c" }], d: {} },
    { a: 1, b: 4 },
    { a: 1, b: 6 },
    { a: true, b: false },
    { value: 1, children: [] },
    { value: 1, children: [{ value: 2, children: [] }] },
    { value: 1, children: [{}] },
  );
  objects.push(
    { next: null },
    { next: { next: null } },
    { next: { next: 1 } },
    { l: null },
    { l: { l: null, m: 1 } },
    { l: { l: { l: null }, m: 1 }, m: 1 },
    { l: 1, m: 1 },
    { x: 1, y: 2 },
    { x: 1, y: "a" },
    { x: 1, y: 2, z: 3 },
    { x: [true, false] },
    { b: null },
  );
  for (const key of keys) for (const value of scalars.slice(0, 12)) objects.push({ [key]: value });
  const arrays: unknown[] = [
    [],
    ["a"],
    ["a", null],
    ["a", null, true],
    ["a", null, 1, 2, 3],
    ["a", null, 1, 2, 3, 4],
    ["a", null, true, 1],
    [1],
    [1, 2],
    [1, 2, 2],
    [1, 2, 3],
    [1, 2, 2, 2],
    [2],
    [null, "a"],
    [[], {}, 1],
    [[1, { k: "v" }]],
    [1, 1, 1, 1],
    [null, null],
    [{ a: 1 }],
  ];
  return [...scalars, ...objects, ...arrays];
})();

/** Where the grammar is meant to be narrower than the schema: shorter names than may be. */
const NARROWER = new Set(["email", "hostname", "uri"]);

describe("grammarOfSchema() decides on values as a validator does", () => {
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    if (NARROWER.has(name)) continue;
    test(name, () => {
      const validate = validatorOf(schema);
      const automaton = new Automaton(networkOf(grammarOfSchema(schema)));
      let valid = 0;
      for (const value of CANDIDATES) {
        const text = JSON.stringify(value);
        const matcher = new Matcher(automaton);
        const isMatched = matcher.advanceAll(encoder.encode(text)) && matcher.canEnd;
        assert.equal(isMatched, validate(value), text);
        if (isMatched) valid++;
      }
      assert.ok(valid > 0 || name === "long string", "no value was valid");
    });
  }
});
