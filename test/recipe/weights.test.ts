import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RecipeError } from "../../src/base/errors.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { weightProblem, weightsAt } from "../../src/recipe/weights.ts";

function recipeWith(weights: string): Recipe {
  return parseRecipe(
    `version: 1\nparents: { a: ./a, b: ./b, c: ./c }\nbase: b\nrules:\n  - tensors: all\n    weights: { ${weights} }\n`,
    { file: "r.yaml" },
  );
}

function evaluate(weights: string, layer?: number, layers: readonly number[] = []): number[] {
  const recipe = recipeWith(weights);
  return weightsAt(recipe, recipe.rules[0]!, layer, layers);
}

test("weightsAt() gives λ in the order of the parents", () => {
  assert.deepEqual(evaluate("c: 0.3, a: 0.5, b: 0.2"), [0.5, 0.2, 0.3]);
  assert.deepEqual(evaluate("c: 1.3, b: 0"), [0, 0, 1.3]);
});

test("weightsAt() gives a base that is not named the rest to 1, and 0 below 1e-12", () => {
  assert.deepEqual(evaluate("a: 1"), [1, 0, 0]);
  assert.deepEqual(evaluate("a: 0.25, c: 0.25"), [0.25, 0.5, 0.25]);
  assert.deepEqual(evaluate("a: 1.5"), [1.5, -0.5, 0]);
  assert.deepEqual(evaluate("a: 0.7, c: 0.3"), [0.7, 0, 0.3]);
  assert.deepEqual(evaluate("a: 0.99999999999, c: 0"), [0.99999999999, 1 - 0.99999999999, 0]);
  assert.deepEqual(evaluate("a: 0.9999999999999, c: 0"), [0.9999999999999, 0, 0]);
});

// merge-methods.md section 7.2, the table.
test("weightsAt() gives the values of the table of gradients", () => {
  const at = (list: string, count: number, index: number): number => {
    const layers = Array.from({ length: count }, (_, i) => 3 + 2 * i);
    return evaluate(`a: ${list}, b: 1`, layers[index], layers)[0]!;
  };
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((index) => at("[0, 1]", 5, index)),
    [0, 0.25, 0.5, 0.75, 1],
  );
  assert.deepEqual(
    [1, 2, 5].map((index) => Number(at("[0, 0.5, 0.3, 0.7, 1]", 9, index).toFixed(12))),
    [0.25, 0.5, 0.5],
  );
  assert.equal(at("[1, 0]", 1, 0), 0);
  assert.equal(at("[0.2]", 4, 2), 0.2);
});

test("weightsAt() meets a listed number exactly", () => {
  const list = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 12 });
  fc.assert(
    fc.property(list, fc.integer({ min: 1, max: 12 }), (numbers, spacing) => {
      const shares = numbers.map((number) => number / 1000);
      const layers = Array.from({ length: (shares.length - 1) * spacing + 1 }, (_, layer) => layer);
      const recipe = recipeWith(`a: [${shares.join(", ")}]`);
      const met = shares.map((_, index) => weightsAt(recipe, recipe.rules[0]!, index * spacing, layers)[0]);
      assert.deepEqual(met, shares);
    }),
    { seed: 20250614, numRuns: 300 },
  );
});

test("weightsAt() agrees with the formula to 1e-12 and keeps the sum at 1", () => {
  const list = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(list, fc.integer({ min: 1, max: 61 }), fc.nat(), (g, count, seed) => {
      const index = seed % count;
      const t = count === 1 ? 1 : index / (count - 1);
      const s = t * (g.length - 1);
      const f = s - Math.floor(s);
      const expected = (1 - f) * g[Math.floor(s)]! + f * g[Math.min(g.length - 1, Math.floor(s) + 1)]!;
      const recipe = recipeWith("a: [1]");
      recipe.rules[0]!.weights.a = g;
      const layers = Array.from({ length: count }, (_, layer) => layer);
      const [a, b, c] = weightsAt(recipe, recipe.rules[0]!, index, layers);
      assert.ok(Math.abs(a! - expected) < 1e-12);
      assert.ok(Math.abs(a! + b! + c! - 1) < 1e-12);
    }),
    { seed: 20250614, numRuns: 500 },
  );
});

test("weightsAt() refuses a gradient outside the layers, with its position", () => {
  const recipe = recipeWith("c: 0.5, a: [0, 0.5]");
  const problem = {
    code: "gradient-outside-layers",
    message:
      'Cannot weigh a tensor outside the layers by rule 1: the weight of "a" is a gradient over layers, wanted a number',
    note: "Let the rule select layers only, or let a later rule take the tensors outside them",
    file: "r.yaml",
    line: 6,
    column: 24,
  };
  assert.deepEqual(weightProblem(recipe, recipe.rules[0]!, undefined, [1, 2]), problem);
  assert.throws(
    () => weightsAt(recipe, recipe.rules[0]!, undefined, [1, 2]),
    (error) => error instanceof RecipeError && error.problems[0]!.code === "gradient-outside-layers",
  );
  assert.equal(weightProblem(recipe, recipe.rules[0]!, 2, [1, 2]), undefined);
  assert.throws(() => weightsAt(recipe, recipe.rules[0]!, 9, [1, 2]), RangeError);
});

test("weightsAt() allows a sum of 0 and refuses a layer in which every weight is 0", () => {
  const difference = recipeWith("b: [1, 2], a: -1");
  assert.deepEqual(weightsAt(difference, difference.rules[0]!, 4, [4, 5]), [-1, 1, 0]);
  const recipe = recipeWith("b: [1, 0], a: 0");
  const [rule] = recipe.rules;
  assert.deepEqual(weightsAt(recipe, rule!, 4, [4, 5, 6]), [0, 1, 0]);
  assert.equal(
    weightProblem(recipe, rule!, 6, [4, 5, 6])?.message,
    "Cannot merge by rule 1 in layer 6: every weight is 0, wanted a parent that counts",
  );
});
