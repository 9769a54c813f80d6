import assert from "node:assert/strict";
import { test } from "node:test";
import { RecipeError } from "../../src/base/errors.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";

const recipe = (threshold: string) => `version: 1
parents: { a: ./a, b: ./b }
base: a
rules:
  - tensors: router
    weights: { b: 1 }
    threshold: ${threshold}
`;

test("parseRecipe() takes a threshold of null for none, and refuses an empty one", () => {
  assert.equal(parseRecipe(recipe("null")).rules[0]!.threshold, undefined);
  assert.equal(parseRecipe(recipe("0")).rules[0]!.threshold, 0);
  assert.throws(() => parseRecipe(recipe("")), RecipeError);
});
