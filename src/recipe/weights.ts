/**
 * λ of every parent for one tensor: what a rule's `weights` come to in a given layer.
 *
 * A list is a gradient over the layers that the rule selects (merge-methods.md section 7.2): layer idx of L
 * stands at t = idx/(L−1), t = 1 if L = 1; for n numbers s = t(n−1), i = ⌊s⌋, f = s − i, and the value
 * is (1−f)·g[i] + f·g[min(n−1, i+1)]. We differ twice, in the last bit only: s is formed as idx(n−1)/(L−1) and equal
 * neighbours are not interpolated. So a layer that meets a listed number gets that very number, and a
 * weight of 1 stays the exact 1 that lets a tensor be copied. Tensors outside the layers have no place on a
 * gradient: mergekit gives them the first number, here it is an error.
 */
import { type Problem, RecipeError } from "../base/errors.ts";
import { problemAt } from "../yaml/faults.ts";
import { quote } from "../yaml/wording.ts";
import type { Recipe, Rule } from "./recipe.ts";

// 1 − (0.7 + 0.2 + 0.1) is 1.1e-16 in doubles, and a base with that weight would be read and merged.
const ZERO_REST = 1e-12;

/**
 * λ by parent, in the order of the recipe, for a tensor of `layer` (undefined: outside the layers).
 * `selectedLayers`: the layers that the rule selects, ascending, each once; see layersSelected().
 * Throws a RecipeError where weightProblem() has something to say.
 */
export function weightsAt(
  recipe: Recipe,
  rule: Rule,
  layer: number | undefined,
  selectedLayers: readonly number[],
): number[] {
  const problem = weightProblem(recipe, rule, layer, selectedLayers);
  if (problem) throw new RecipeError([problem]);
  return evaluate(recipe, rule, layer, selectedLayers);
}

/** What keeps a rule from having weights in this layer, with its position in the recipe. */
export function weightProblem(
  recipe: Recipe,
  rule: Rule,
  layer: number | undefined,
  selectedLayers: readonly number[],
): Problem | undefined {
  const gradient = Object.keys(rule.weights).find((parent) => Array.isArray(rule.weights[parent]));
  if (gradient !== undefined && layer === undefined) {
    const what = `the weight of ${quote(gradient)} is a gradient over layers`;
    return problemAt(
      recipe.file,
      rule.weightsAt[gradient] ?? rule.at,
      "gradient-outside-layers",
      `Cannot weigh a tensor outside the layers by rule ${rule.index + 1}: ${what}, wanted a number`,
      "Let the rule select layers only, or let a later rule take the tensors outside them",
    );
  }
  // Any sum is allowed, 0 too: a difference of parents. But without a term there is nothing to write.
  if (evaluate(recipe, rule, layer, selectedLayers).some((weight) => weight !== 0)) return undefined;
  const where = layer === undefined ? "" : ` in layer ${layer}`;
  return problemAt(
    recipe.file,
    rule.at,
    "zero-weights",
    `Cannot merge by rule ${rule.index + 1}${where}: every weight is 0, wanted a parent that counts`,
  );
}

/** Whether every weight is 0 in every layer. */
export function isZeroEverywhere(rule: Rule, base: string): boolean {
  if (!Object.hasOwn(rule.weights, base)) return false; // the base gets what is missing to 1
  return Object.values(rule.weights)
    .flat()
    .every((weight) => weight === 0);
}

function evaluate(
  recipe: Recipe,
  rule: Rule,
  layer: number | undefined,
  selectedLayers: readonly number[],
): number[] {
  let [step, steps] = [1, 1];
  if (Object.values(rule.weights).some(Array.isArray)) {
    const index = layer === undefined ? -1 : selectedLayers.indexOf(layer);
    if (index < 0)
      throw new RangeError(`Cannot weigh layer ${layer}: rule ${rule.index + 1} does not select it`);
    if (selectedLayers.length > 1) [step, steps] = [index, selectedLayers.length - 1];
  }
  let others = 0;
  const weights = recipe.parents.map(({ name }) => {
    const weight = Object.hasOwn(rule.weights, name) ? valueAt(rule.weights[name]!, step, steps) : 0;
    if (name !== recipe.base) others += weight;
    return weight;
  });
  if (!Object.hasOwn(rule.weights, recipe.base)) {
    const rest = 1 - others;
    weights[recipe.parents.findIndex(({ name }) => name === recipe.base)] =
      Math.abs(rest) < ZERO_REST ? 0 : rest;
  }
  return weights;
}

/** The value at t = step/steps. */
function valueAt(weight: number | readonly number[], step: number, steps: number): number {
  if (typeof weight === "number") return weight;
  const last = weight.length - 1;
  const position = (step * last) / steps; // exact where it is whole: the product is, and so is the quotient
  const index = Math.floor(position);
  const rest = position - index;
  const [low, high] = [weight[index]!, weight[Math.min(last, index + 1)]!];
  return low === high ? low : (1 - rest) * low + rest * high;
}
