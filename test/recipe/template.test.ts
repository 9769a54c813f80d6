import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RecipeError } from "../../src/base/errors.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { type RecipeAnswers, recipeTemplate } from "../../src/recipe/template.ts";
import { SELECTABLE_ROLES } from "../../src/recipe/vocabulary.ts";

const R1T: RecipeAnswers = {
  parents: [
    { name: "v3", path: "./DeepSeek-V3-0324" },
    { name: "r1", path: "../my parents/R1 #2" },
  ],
  base: "v3",
  roles: ["routed-experts"],
  weights: { r1: 1 },
  chatTemplate: "r1",
};

test("recipeTemplate() writes the R1T recipe with comments", () => {
  const text = recipeTemplate(R1T);
  assert.ok(text.startsWith("# yaml-language-server: $schema=./recipe.schema.json\n"));
  assert.ok(text.endsWith("\n"));
  assert.match(text, /\n {2}r1: "..\/my parents\/R1 #2"\n/);
  assert.match(text, /\n {4}# threshold: 0.0004\n/);
  const { parents, base, rules, tokenizer, chatTemplate } = parseRecipe(text);
  assert.deepEqual(
    parents.map(({ name, path }) => ({ name, path })),
    R1T.parents,
  );
  assert.deepEqual([base, tokenizer, chatTemplate], ["v3", "v3", "r1"]);
  assert.deepEqual([rules[0]!.selectors[0]!.role, rules[0]!.weights], ["routed-experts", { r1: 1 }]);
});

test("recipeTemplate() writes a recipe without rules", () => {
  const text = recipeTemplate({
    parents: [{ name: "v3", path: "." }],
    base: "v3",
    dtype: "bf16",
    maxShardSize: "5GB",
  });
  const { rules, output } = parseRecipe(text);
  assert.deepEqual([rules, output], [[], { dtype: "bf16", maxShardSize: 5e9 }]);
});

test("recipeTemplate() throws a RecipeError when the answers make no recipe", () => {
  const faulty: Partial<RecipeAnswers>[] = [
    { base: "r2" },
    { parents: [] },
    { weights: {} },
    { weights: { r1: Number.NaN } },
    { parents: [...R1T.parents, { name: "x\nbase: evil", path: "." }] },
    { maxShardSize: "999B" },
  ];
  for (const answers of faulty) {
    assert.throws(() => recipeTemplate({ ...R1T, ...answers }), RecipeError, JSON.stringify(answers));
  }
});

test("recipeTemplate() gives back every answer", () => {
  const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,8}$/).filter((text) => !(text in {}));
  const path = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text.trim() !== "");
  const answers = fc
    .record({
      parents: fc.uniqueArray(fc.record({ name, path }), {
        minLength: 2,
        maxLength: 4,
        selector: (each) => each.name,
      }),
      roles: fc.uniqueArray(fc.constantFrom(...SELECTABLE_ROLES), { minLength: 1 }),
      weight: fc.double({ min: -3, max: 3, noNaN: true }).filter((weight) => weight !== 0),
      threshold: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined }),
      schema: fc.string(),
    })
    .map(({ parents, roles, weight, threshold, schema }) => ({
      parents,
      base: parents[0]!.name,
      roles,
      weights: { [parents[1]!.name]: weight },
      ...(threshold === undefined ? {} : { threshold }),
      tokenizer: parents[1]!.name,
      schema,
    }));
  fc.assert(
    fc.property(answers, (each) => {
      const recipe = parseRecipe(recipeTemplate(each));
      assert.deepEqual(
        recipe.parents.map((parent) => ({ name: parent.name, path: parent.path })),
        each.parents.map((parent) => ({ ...parent })),
      );
      const [rule] = recipe.rules;
      assert.deepEqual({ ...rule!.weights }, each.weights);
      assert.equal(rule!.threshold, each.threshold === undefined ? undefined : each.threshold + 0);
      assert.deepEqual(
        rule!.selectors.map(({ role }) => role),
        each.roles,
      );
      assert.equal(recipe.base, each.base);
      assert.equal(recipe.tokenizer, each.tokenizer);
    }),
    { seed: 20250614, numRuns: 500 },
  );
});
