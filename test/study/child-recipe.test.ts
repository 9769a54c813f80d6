/** From wishes to recipes: what is evaluated is what the written text builds. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { loadRecipe } from "../../src/plan/load-recipe.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { namesParent, recipeAt, recipeTextFor, rewritten, withRule } from "../../src/study/child-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const R1T = await loadRecipe("recipes/mini/r1t.yaml");
const THREE = await loadRecipe("recipes/mini/three-parents.yaml");
const BLEND = await loadRecipe("recipes/mini/attention-blend.yaml");

const rulesOf = ({ rules }: Recipe) =>
  rules.map(({ selectors, weights, threshold }) => ({
    tensors: selectors.map(({ role }) => role),
    weights: { ...weights },
    ...(threshold === undefined ? {} : { threshold }),
  }));

test("recipeAt() puts λ in place of what was written, in every rule that names the parent", () => {
  const child = recipeAt(THREE, { lambda: { r1: 0.25 } });
  assert.deepEqual(rulesOf(child), [
    { tensors: ["routed-experts"], weights: { r1: 0.25, "r1-1776": 0.6 } },
    { tensors: ["router"], weights: { r1: 0.25, "r1-1776": 0.3 } },
  ]);
  assert.equal(child.rules[0]!.selectors[0]!.includeMtp, true);
  assert.equal(child.chatTemplate, "r1-1776");
});

test("recipeAt() takes away the base's explicit weight, which is the rest to 1, and a gradient", async () => {
  const half = await loadRecipe("recipes/mini/r1t-half.yaml");
  assert.deepEqual(rulesOf(recipeAt(half, { lambda: { r1: 0.2 } }))[0]!.weights, { r1: 0.2 });
  const blend = rulesOf(recipeAt(BLEND, { lambda: { r1: 0.2 } }))[1];
  assert.deepEqual(blend, { tensors: ["attention"], weights: { r1: 0.2 }, threshold: 0.003 });
});

test("recipeAt() leaves rules alone that do not name the parent", () => {
  const text = `version: 1
parents: { a: ./a, b: ./b, c: ./c }
base: a
rules:
  - { tensors: router, weights: { a: 0.4, b: 0.6 }, threshold: 0.1 }
  - { tensors: attention, weights: { c: 0.5 } }
`;
  const recipe = parseRecipe(text);
  const child = recipeAt(recipe, { lambda: { c: 0.1 }, threshold: 0.2 });
  assert.deepEqual(rulesOf(child), [
    { tensors: ["router"], weights: { a: 0.4, b: 0.6 }, threshold: 0.1 },
    { tensors: ["attention"], weights: { c: 0.1 }, threshold: 0.2 },
  ]);
  assert.ok(namesParent(recipe, "c"));
  assert.ok(!namesParent(R1T, "v3"));
});

test("recipeAt() at λ = 0 leaves out the threshold, which would test nothing", () => {
  for (const threshold of [undefined, 0.002]) {
    const child = recipeAt(BLEND, { lambda: { r1: 0 }, ...(threshold === undefined ? {} : { threshold }) });
    assert.deepEqual(rulesOf(child), [
      { tensors: ["routed-experts"], weights: { r1: 0 } },
      { tensors: ["attention"], weights: { r1: 0 } },
    ]);
  }
});

test("recipeAt() with roles has one rule in place of the recipe's", () => {
  const child = recipeAt(BLEND, { lambda: { r1: 0.5 }, roles: ["attention", "router"], threshold: 0.001 });
  assert.deepEqual(rulesOf(child), [
    { tensors: ["attention", "router"], weights: { r1: 0.5 }, threshold: 0.001 },
  ]);
});

test("withRule() gives the last word to the rule", async () => {
  const child = withRule(R1T, {
    selectors: [{ role: "routed-experts", layers: [{ from: 1, to: 1 }] }],
    weights: { v3: 1 },
  });
  assert.equal(child.rules.length, 2);
  const { shards, parents } = await planRecipe(child);
  const owners = new Map<string, Set<string>>();
  for (const { name, action } of shards.flatMap(({ tensors }) => tensors)) {
    const layer = /layers\.(\d+)\.mlp\.experts/.exec(name)?.[1] ?? "rest";
    assert.equal(action.kind, "copy", name);
    if (action.kind === "copy")
      owners.set(layer, (owners.get(layer) ?? new Set()).add(parents[action.parent]!.name));
  }
  assert.deepEqual([...owners].map(([layer, names]) => [layer, ...names].join(" ")).sort(), [
    ...["1 v3", "2 r1", "3 r1", "4 v3", "rest v3"],
  ]);
});

test("rewritten() keeps where parents stand in the file that people have", () => {
  const child = rewritten(R1T, R1T.rules);
  assert.deepEqual(child.parents, R1T.parents);
  assert.equal(child.file, R1T.file);
});

test("recipeTextFor() is a recipe that builds the child that was evaluated, from wherever it lies", async (t) => {
  const folder = temporaryFolder(t);
  const children = [
    ...[0, 0.3, 1].map((r1) => recipeAt(R1T, { lambda: { r1 } })),
    recipeAt(R1T, { lambda: { r1: 0.7 }, roles: ["all"] }),
    recipeAt(BLEND, { lambda: { r1: 0.4 }, threshold: 0.0025 }),
    recipeAt(THREE, { lambda: { r1: 0.1, "r1-1776": 0.2 } }),
    withRule(THREE, { selectors: [{ layers: [{ from: 2, to: 2 }] }], weights: { r1: 1 } }),
  ];
  const digests = new Set<string>();
  for (const [i, child] of children.entries()) {
    const file = join(folder, `${i}.yaml`);
    writeFileSync(file, recipeTextFor(child, file, { comment: "A child\nof a test" }));
    const read = await loadRecipe(file);
    for (const { path } of read.parents) assert.match(path, /^\.\.?\//);
    const { digest } = await planRecipe(read);
    assert.equal(digest, (await planRecipe(child)).digest, file);
    digests.add(digest);
  }
  assert.equal(digests.size, children.length);
});

test("recipeTextFor() leaves places that are no folders as they are, and finds neighbours", () => {
  const text =
    "version: 1\nparents: { a: 'hf:org/name', b: ../b, c: /models/c }\nbase: a\nrules:\n  - { tensors: router, weights: { b: 1, c: 0.5 } }\n";
  const recipe = parseRecipe(text, { file: resolve("/work/recipes/x.yaml") });
  const there = parseRecipe(recipeTextFor(recipe, "/work/front/01.yaml"));
  assert.deepEqual(
    there.parents.map(({ path }) => path),
    ["hf:org/name", "../b", "../../models/c"],
  );
  const moved = parseRecipe(
    recipeTextFor(recipe, "/work/x.yaml", { locations: { [recipe.base]: "/elsewhere/m" } }),
  );
  assert.equal(moved.parents.find(({ name }) => name === recipe.base)!.path, "../elsewhere/m");
  const beside = parseRecipe(recipeTextFor(recipe, "/work/x.yaml"));
  assert.equal(beside.parents[1]!.path, "./b");
});
