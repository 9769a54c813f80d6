/** Recipes that programs make: their text says what they are. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Recipe, Rule } from "../../src/recipe/recipe.ts";
import { OUTPUT_DTYPES, SELECTABLE_ROLES } from "../../src/recipe/vocabulary.ts";
import { type NewRule, type RecipeParts, writeRecipe } from "../../src/recipe/write.ts";

const FILES = ["recipes", "recipes/mini"].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => join(folder, name)),
);

/** What decides the child, without places. A measure without a threshold measures nothing. */
function meaning({ parents, base, rules, tokenizer, chatTemplate, output }: RecipeParts | Recipe): unknown {
  return {
    parents: parents.map(({ name, path }) => [name, path]),
    rules: rules.map((rule) => ruleMeaning(rule)),
    ...{ base, tokenizer, chatTemplate, output },
  };
}

function ruleMeaning({ selectors, weights, threshold, measure = "rms", method = "linear" }: Rule | NewRule) {
  return {
    selectors: selectors.map((selector) => ({ ...selector, at: undefined })),
    weights: Object.entries(weights).sort(([a], [b]) => (a < b ? -1 : 1)),
    ...{ threshold, measure, method },
  };
}

function roundTrip(parts: RecipeParts | Recipe): void {
  const text = writeRecipe(parts);
  // As JSON: the generator's objects have no prototype.
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
  assert.deepEqual(plain(meaning(parseRecipe(text))), plain(meaning(parts)), text);
}

for (const file of FILES)
  test(`writeRecipe() keeps all that ${file} says`, () => {
    roundTrip(parseRecipe(readFileSync(file, "utf8"), { file }));
  });

const PARTS: RecipeParts = {
  parents: [
    { name: "v3", path: "./a" },
    { name: "r1", path: "./b" },
  ],
  base: "v3",
  rules: [{ selectors: [{ role: "routed-experts" }], weights: { r1: 1 } }],
  tokenizer: "v3",
  chatTemplate: "r1",
  output: { dtype: "as-base", maxShardSize: "as-base" },
};

test("writeRecipe() keeps the order of parents whose names are numbers: it is that of summation", () => {
  const parents = ["v3", "1776", "0528", "1e3", "3.1", "0x1", "null", "true", "-", "12"].map((name, i) => ({
    name,
    path: `./${i}`,
  }));
  const weights = { "1776": 0.25, "12": [0, 1], null: 0.5, v3: 0.1 };
  const parts: RecipeParts = { ...PARTS, parents, tokenizer: "1776", chatTemplate: "3.1" };
  roundTrip({ ...parts, base: "12", rules: [{ selectors: [{ role: "all" }], weights }] });
});

test("writeRecipe() keeps gradients, globs, ranges and include_mtp, also where it is false", () => {
  roundTrip({
    ...PARTS,
    rules: [
      {
        selectors: [
          {
            role: "attention",
            layers: [
              { from: 0, to: 3 },
              { from: 7, to: 7 },
            ],
          },
          { name: "model.layers.*.mlp.{gate,up}_proj.*: # no comment" },
          {
            role: "routed-experts",
            experts: [{ from: 12, to: 31 }],
            matrices: ["up_proj"],
            includeMtp: true,
          },
          { role: "norms", includeMtp: false },
        ],
        weights: { r1: [0, 0.25, -0.1, 1e-9], v3: 0.5 },
        threshold: 1e-7,
        measure: "relative",
      },
      { selectors: [{ role: "mtp" }], weights: { r1: -0.5 }, threshold: 0 },
    ],
    output: { dtype: "bf16", maxShardSize: 5_000_000 },
  });
});

test("writeRecipe() writes paths that YAML would take for something else, and a comment of several lines", () => {
  for (const path of [
    "./a b: c # d",
    "1776",
    "~",
    "*x",
    "'",
    '"',
    "- a",
    "{a}",
    "null",
    "ü/名",
    "a\\b",
    "@a",
  ])
    roundTrip({ ...PARTS, parents: [{ name: "v3", path }, PARTS.parents[1]!] });
  const text = writeRecipe(PARTS, { comment: "one\ntwo: three" });
  assert.match(text, /^# one\n# two: three\n/);
  assert.deepEqual(meaning(parseRecipe(text)), meaning(PARTS));
});

const index = fc.nat({ max: 60 });
const range = fc.tuple(index, index).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }));
const ranges = fc.array(range, { minLength: 1, maxLength: 3 });
const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,6}$/).filter((word) => !(word in {}));
const weight = fc.oneof(
  fc.double({ min: -2, max: 2, noNaN: true }).map((value) => value + 0.5),
  fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 1, maxLength: 4 }),
);
const selector = fc
  .record(
    {
      role: fc.constantFrom(...SELECTABLE_ROLES.filter((role) => role !== "mtp")),
      layers: ranges,
      matrices: fc.array(fc.constantFrom("gate_proj", "up_proj", "q_a_proj"), { minLength: 1, maxLength: 2 }),
      name: fc.constantFrom("*", "*.experts.*", "model.layers.[0-3].*"),
      includeMtp: fc.boolean(),
    },
    { requiredKeys: ["role"] },
  )
  .map((conditions) => ({ ...conditions }));
const parts: fc.Arbitrary<RecipeParts> = fc.uniqueArray(name, { minLength: 2, maxLength: 4 }).chain((names) =>
  fc.record({
    parents: fc.tuple(...names.map((each) => fc.constant({ name: each, path: `./${each}` }))),
    base: fc.constant(names[0]!),
    rules: fc.array(
      fc.record(
        {
          selectors: fc.array(selector, { minLength: 1, maxLength: 3 }),
          weights: fc.tuple(weight, weight).map(([a, b]) => ({ [names[1]!]: a, [names.at(-1)!]: b })),
          threshold: fc.double({ min: 0, max: 1, noNaN: true }),
          measure: fc.constantFrom("rms" as const, "relative" as const),
        },
        { requiredKeys: ["selectors", "weights"] },
      ),
      { minLength: 1, maxLength: 4 },
    ),
    tokenizer: fc.constantFrom(...names),
    chatTemplate: fc.constantFrom(...names),
    output: fc.record({
      dtype: fc.constantFrom(...OUTPUT_DTYPES),
      maxShardSize: fc.oneof(fc.constant("as-base" as const), fc.integer({ min: 1000, max: 1e9 })),
    }),
  }),
);

test("writeRecipe() and parseRecipe() agree on whatever a program may make", () => {
  const isValid = (recipe: RecipeParts) =>
    recipe.rules.every(({ weights }) =>
      Object.values(weights).some((value) => [value].flat().some((w) => w !== 0)),
    );
  fc.assert(fc.property(parts.filter(isValid), roundTrip), { seed: 7, numRuns: 400 });
});
