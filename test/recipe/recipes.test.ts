/** The shipped recipes, the schema beside them, and that schema and reader accept the same recipes. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { parse } from "yaml";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { recipeSchema } from "../../src/recipe/schema.ts";

const SCHEMA_FILE = "recipes/recipe.schema.json";
const FILES = ["recipes", "recipes/mini"].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => join(folder, name)),
);
const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(recipeSchema());

test("recipes/ holds the recipes that the documentation names", () => {
  assert.deepEqual(FILES.map((file) => file.replace("recipes/", "")).sort(), [
    ...["attention-blend.yaml", "mini/attention-blend.yaml", "mini/r1t-half.yaml", "mini/r1t.yaml"],
    ...["mini/three-parents.yaml", "r1-1776-experts.yaml", "r1t-half.yaml", "r1t.yaml", "r1t2-like.yaml"],
  ]);
});

test("recipes/recipe.schema.json is not stale", () => {
  const text = `${JSON.stringify(recipeSchema(), null, 2)}\n`;
  if (process.env.UPDATE_SCHEMA) writeFileSync(SCHEMA_FILE, text);
  const stale = `${SCHEMA_FILE} is stale: run this test with UPDATE_SCHEMA=1, then biome format --write ${SCHEMA_FILE}`;
  assert.deepEqual(JSON.parse(readFileSync(SCHEMA_FILE, "utf8")), JSON.parse(text), stale);
});

for (const file of FILES) {
  test(`${file} parses, fits the schema and names it`, () => {
    const text = readFileSync(file, "utf8");
    const recipe = parseRecipe(text, { file });
    assert.ok(validate(parse(text)), JSON.stringify(validate.errors));
    const schema = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text)?.[1];
    assert.equal(normalize(join(dirname(file), schema ?? "")), SCHEMA_FILE);
    if (!file.includes("/mini/")) return;
    for (const { path } of recipe.parents)
      assert.ok(existsSync(join(dirname(file), path, "config.json")), path);
  });
}

test("recipeSchema() describes every key", () => {
  const missing: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [key, child] of Object.entries("properties" in node ? (node.properties as object) : {})) {
      if (typeof child.description !== "string") missing.push(`${path}.${key}`);
    }
    for (const [key, child] of Object.entries(node)) visit(child, `${path}.${key}`);
  };
  visit(recipeSchema(), "");
  assert.deepEqual(missing, []);
});

test("recipeSchema() refuses what it can see to be wrong", () => {
  const base = { version: 1, parents: { v3: "./v3", r1: "./r1" }, base: "v3" };
  const rule = { tensors: "router", weights: { r1: 1 } };
  const good = [{}, { rules: [rule] }, { base: 3.1 }, { output: { max_shard_size: "5GB" } }];
  for (const part of good) assert.ok(validate({ ...base, ...part }), JSON.stringify(part));
  const bad = [
    { version: 2 },
    { parents: {} },
    { parents: { "a b": "x" } },
    { bse: "v3" },
    { rules: [{ ...rule, weights: {} }] },
    { rules: [{ ...rule, tensors: [] }] },
    { rules: [{ ...rule, tensors: {} }] },
    { rules: [{ ...rule, tensors: "other" }] },
    { rules: [{ ...rule, tensors: { layers: "3-" } }] },
    { rules: [{ ...rule, threshold: -1 }] },
    { rules: [{ ...rule, method: "slerp" }] },
    { rules: [{ tensors: "router" }] },
    { output: { max_shard_size: 5 } },
    { output: { dtype: "fp8" } },
  ];
  for (const part of bad) assert.ok(!validate({ ...base, ...part }), JSON.stringify(part));
});

test("recipeSchema() accepts every recipe that parseRecipe() accepts", () => {
  // Mostly right, now and then wrong: a value that fits its key seven times in eight.
  const odd = fc.constantFrom<unknown>("all", "3-9", "v3", "", -1, 0.5, 2e6, true, null, [], {}, [[1]]);
  const mostly = (...fitting: unknown[]) =>
    fc.oneof({ weight: 7, arbitrary: fc.constantFrom(...fitting) }, { weight: 1, arbitrary: odd });
  const range = mostly(7, "7", "3-60", [1], ["3-9", 20], 0);
  const role = mostly("router", "all", "routed-experts", "mtp");
  const selector = fc.record(
    {
      role,
      layers: range,
      experts: range,
      matrices: mostly(["up_proj"], ["a", "b"]),
      name: mostly("*.x", "{a,b}[0-9]"),
      include_mtp: mostly(true, false),
    },
    { requiredKeys: [] },
  );
  const tensors = fc.oneof(role, selector, fc.array(fc.oneof(role, selector), { maxLength: 2 }));
  const weights = fc.dictionary(fc.constantFrom("v3", "r1"), mostly(0, 0.5, 1, -2, [1], [0, 0.5]), {
    maxKeys: 2,
  });
  const rule = fc.record(
    {
      tensors,
      weights,
      threshold: mostly(0, 1e-4),
      measure: mostly("rms", "relative"),
      method: mostly("linear"),
    },
    { requiredKeys: ["tensors", "weights"] },
  );
  const recipe = fc.record(
    {
      version: mostly(1),
      parents: mostly({ v3: "./v3", r1: "./r1" }, { 3.1: "x", r1: "z", v3: "y" }),
      base: mostly("v3", "r1"),
      rules: fc.array(rule, { maxLength: 2 }),
      tokenizer: mostly("v3", "r1", 3.1),
      output: mostly(
        {},
        { dtype: "bf16", max_shard_size: "5GB" },
        { max_shard_size: 2e6 },
        { dtype: "as-base" },
      ),
    },
    { requiredKeys: ["version", "parents", "base"] },
  );
  let accepted = 0;
  fc.assert(
    fc.property(recipe, (data) => {
      const text = JSON.stringify(data);
      try {
        parseRecipe(text);
      } catch {
        return;
      }
      accepted++;
      assert.ok(validate(parse(text)), `${text}: ${JSON.stringify(validate.errors)}`);
    }),
    { seed: 20250614, numRuns: 3000 },
  );
  assert.ok(accepted > 200, `only ${accepted} accepted: the property tests nothing`);
});
