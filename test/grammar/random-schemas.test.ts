/** Schemas by chance against a validator: each value is let through, in some order of its keys, just when it is valid. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { GrammarError } from "../../src/base/errors.ts";
import { Automaton } from "../../src/grammar/automaton.ts";
import { grammarOfSchema } from "../../src/grammar/json-schema.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { networkOf } from "../../src/grammar/network.ts";

const encoder = new TextEncoder();
const KEYS = ["a", "ab", "b"];
const scalars = fc.constantFrom<unknown>(
  null,
  true,
  false,
  -2,
  -1,
  0,
  1,
  2,
  3,
  1.5,
  "",
  "a",
  "ab",
  "é",
  "abc",
  'a"',
);
const counts = fc.integer({ min: 0, max: 3 });

const { schema: schemas } = fc.letrec<{ schema: unknown }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom<unknown>(
      true,
      {},
      { type: "null" },
      { type: "boolean" },
      { type: ["integer", "string"] },
    ),
    fc.record({ enum: fc.uniqueArray(scalars, { minLength: 1, maxLength: 4 }) }),
    fc.record(
      { const: scalars, type: fc.constantFrom("string", "integer", "number", "null") },
      { requiredKeys: ["const"] },
    ),
    fc.record(
      { type: fc.constantFrom("integer", "number"), minimum: counts, exclusiveMaximum: counts },
      { requiredKeys: ["type"] },
    ),
    fc.record(
      {
        type: fc.constant("string"),
        minLength: counts,
        maxLength: counts,
        pattern: fc.constantFrom("^a", "b$", "^[a-z]*$", "é|c"),
      },
      { requiredKeys: ["type"] },
    ),
    fc.constant({ $ref: "#/$defs/one" }),
    fc.record(
      {
        type: fc.constant("object"),
        properties: fc.dictionary(fc.constantFrom(...KEYS), tie("schema"), { maxKeys: 3 }),
        required: fc.uniqueArray(fc.constantFrom(...KEYS), { maxLength: 2 }),
        additionalProperties: fc.oneof(fc.constant(false), tie("schema")),
      },
      { requiredKeys: ["type"] },
    ),
    fc.record(
      {
        type: fc.constant("array"),
        prefixItems: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }),
        items: fc.oneof(fc.constant(false), tie("schema")),
        minItems: counts,
        maxItems: counts,
      },
      { requiredKeys: ["type"] },
    ),
    fc.record({ anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }) }),
    fc.record({ allOf: fc.array(tie("schema"), { minLength: 1, maxLength: 2 }) }),
  ),
}));

const { value: values } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalars,
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS, "c"), tie("value"), { maxKeys: 3 }),
  ),
}));

/** In every order of keys. */
function spellings(value: unknown): string[] {
  if (Array.isArray(value)) return joined(value.map(spellings)).map((items) => `[${items.join()}]`);
  if (typeof value !== "object" || value === null) return [JSON.stringify(value)];
  const members = Object.entries(value).map(([key, member]) =>
    spellings(member).map((text) => `${JSON.stringify(key)}:${text}`),
  );
  return permutations(members).flatMap((order) => joined(order).map((texts) => `{${texts.join()}}`));
}

function joined(lists: readonly (readonly string[])[]): string[][] {
  return lists.reduce<string[][]>(
    (all, list) => all.flatMap((one) => list.map((text) => [...one, text])),
    [[]],
  );
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]));
}

test("grammarOfSchema() decides as a validator does, for schemas by chance", () => {
  let [followed, valid, invalid] = [0, 0, 0];
  fc.assert(
    fc.property(schemas, schemas, fc.array(values, { minLength: 30, maxLength: 40 }), (schema, one, all) => {
      const whole = schema === true ? {} : { ...(schema as object), $defs: { one } };
      let automaton: Automaton | undefined;
      try {
        automaton = new Automaton(networkOf(grammarOfSchema(whole)));
      } catch (error) {
        assert.ok(error instanceof GrammarError, String(error));
        if (error.problems[0]!.code !== "no-finite-output") return;
      }
      followed++;
      const validate = new Ajv2020({ strict: false }).compile(whole);
      for (const value of all) {
        const isValid = validate(value);
        const isMatched = spellings(value).some((text) => {
          if (!automaton) return false;
          const matcher = new Matcher(automaton);
          return matcher.advanceAll(encoder.encode(text)) && matcher.canEnd;
        });
        assert.equal(isMatched, isValid, `${JSON.stringify(value)} by ${JSON.stringify(whole)}`);
        if (isValid) valid++;
        else invalid++;
      }
    }),
    { numRuns: 250, seed: 21 },
  );
  assert.ok(
    followed > 150 && valid > 800 && invalid > 800,
    `${followed} schemas, ${valid} valid, ${invalid} not`,
  );
});
