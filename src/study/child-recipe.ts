/**
 * From a recipe and a wish (λ of a parent, a threshold, other roles, one more rule) to another recipe. A wish is
 * written as a text and read like any other recipe, so that what a study evaluates can be built from the file that it
 * writes.
 */
import { dirname, relative, resolve } from "node:path";
import { parseRecipe } from "../recipe/parse.ts";
import type { Recipe, Rule, SelectableRole } from "../recipe/recipe.ts";
import { type NewRule, writeRecipe } from "../recipe/write.ts";

/** A setting of what a sweep varies. */
export interface Point {
  /** λ by parent. */
  lambda: Readonly<Record<string, number>>;
  /** δ of every rule that names one of these parents. undefined: as the recipe says. */
  threshold?: number;
  /** Instead of the recipe's rules: one over these roles. undefined: the recipe's. */
  roles?: readonly SelectableRole[];
}

/** The recipe with the point's wishes. Throws RecipeError for wishes that make none. */
export function recipeAt(recipe: Recipe, { lambda, threshold, roles }: Point): Recipe {
  const rules: NewRule[] = roles
    ? [{ selectors: roles.map((role) => ({ role })), weights: { ...lambda } }]
    : recipe.rules.map((rule) => withLambda(rule, lambda, recipe.base));
  const isMeant = (rule: NewRule) => Object.keys(lambda).some((parent) => parent in rule.weights);
  return rewritten(
    recipe,
    rules.map((rule) => (threshold !== undefined && isMeant(rule) ? { ...rule, threshold } : rule)),
  );
}

/** Whether a sweep over a parent's λ would change anything. */
export function namesParent(recipe: Recipe, parent: string): boolean {
  return recipe.rules.some(({ weights }) => parent in weights);
}

function withLambda(rule: Rule, lambda: Readonly<Record<string, number>>, base: string): NewRule {
  const weights = { ...rule.weights };
  let isChanged = false;
  for (const [parent, value] of Object.entries(lambda)) {
    if (!(parent in weights)) continue;
    weights[parent] = value;
    isChanged = true;
  }
  // The base gets the rest to 1, whatever it was written with before.
  if (isChanged && !(base in lambda)) delete weights[base];
  return { ...rule, weights };
}

/** The recipe with one more rule, which has the last word on what it selects. */
export function withRule(recipe: Recipe, rule: NewRule): Recipe {
  return rewritten(recipe, [...recipe.rules, rule]);
}

/** The recipe with other rules. */
export function rewritten(recipe: Recipe, rules: readonly NewRule[]): Recipe {
  const text = writeRecipe({ ...recipe, rules: rules.map((rule) => withoutIdleTest(rule, recipe.base)) });
  const child = parseRecipe(text, recipe.file === undefined ? {} : { file: recipe.file });
  // What is wrong with a parent is told of the file that people have.
  return { ...child, parents: recipe.parents };
}

/** A test where no other parent counts is a fault in a recipe, and happens at λ = 0. */
function withoutIdleTest(rule: NewRule, base: string): NewRule {
  const others = Object.entries(rule.weights).filter(([parent]) => parent !== base);
  if (others.some(([, weight]) => [weight].flat().some((number) => number !== 0))) return rule;
  const { threshold: _, ...rest } = rule;
  return rest;
}

/** A recipe's text for a file in another folder: parents are found from there. `locations`: where they lie instead. */
export function recipeTextFor(
  recipe: Recipe,
  file: string,
  {
    comment,
    locations = {},
  }: { comment?: string; locations?: Readonly<Record<string, string>> | undefined } = {},
): string {
  const from = recipe.file === undefined ? "." : dirname(resolve(recipe.file));
  const parents = recipe.parents.map(({ name, path: written }) => {
    const given = Object.hasOwn(locations, name) ? locations[name] : undefined;
    const path = given === undefined ? written : resolve(given);
    const isPlace = /^[a-z][a-z0-9+.-]+:/i.test(path);
    const there = relative(dirname(resolve(file)), resolve(from, path));
    return { name, path: isPlace ? path : there.startsWith(".") ? there : `./${there}` };
  });
  return writeRecipe({ ...recipe, parents }, comment === undefined ? {} : { comment });
}
