/**
 * A search: which λ, role by role and layer by layer, give children that no other child beats in both objectives, with
 * a budget of evaluations. The optimiser proposes points from those that are known; the same seed proposes the same,
 * and what lies in the folder is not asked again, so that a search that was killed goes on as if it had not been.
 *
 * The ends (every λ at its lowest, every λ at its highest) are the first points that are known: they are the parents, or
 * near them, and bound what there is to find.
 */
import { StudyError } from "../base/errors.ts";
import type { RunSummary } from "../eval/summary.ts";
import { openParents } from "../plan/parents.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { selects } from "../recipe/selector.ts";
import type { NewRule } from "../recipe/write.ts";
import { rewritten } from "./child-recipe.ts";
import { fronts } from "./dominance.ts";
import { costOf, gainOf, type Objectives } from "./objectives.ts";
import { isExhausted, type Method, propose, type Trial } from "./optimiser.ts";
import type { RunPool } from "./run-pool.ts";
import type { Dimension } from "./space.ts";
import type { SearchVariable } from "./space-file.ts";

export interface SearchSettings {
  recipe: Recipe;
  /** None perLayer any more: see spreadOverLayers(). */
  variables: readonly SearchVariable[];
  objectives: Objectives;
  /** Evaluations, the two ends included. */
  budget: number;
  seed: number;
  locations?: Readonly<Record<string, string>>;
}

export interface MeasuredTrial {
  index: number;
  /** Values of the dimensions. */
  point: number[];
  run: string;
  summary: RunSummary;
  /** What is to be large, and what is to be small. null: the child gave no answers. */
  gain: number | null;
  cost: number | null;
}

export interface SearchResult {
  dimensions: Dimension[];
  method: Method;
  trials: MeasuredTrial[];
  /** Indices of trials that no other one beats, by rising cost. */
  front: number[];
}

export interface SearchEvent {
  kind: "trial";
  method: Method;
  trial: MeasuredTrial;
  isFound: boolean;
  isOnFront: boolean;
  done: number;
  total: number;
}

/** A λ for each variable, and a δ where one is searched. */
export function dimensionsOf(variables: readonly SearchVariable[]): Dimension[] {
  return variables.flatMap(({ name, lambda, threshold }): Dimension[] => [
    { kind: "range", name, ...lambda },
    ...(threshold ? [{ kind: "range" as const, name: `${name} δ`, ...threshold }] : []),
  ]);
}

/** A variable for each layer that one "per layer" reaches. Throws StudyError for one that reaches none. */
export async function spreadOverLayers(
  recipe: Recipe,
  variables: readonly SearchVariable[],
  locations?: Readonly<Record<string, string>>,
): Promise<SearchVariable[]> {
  requireParents(recipe, variables);
  if (!variables.some(({ perLayer }) => perLayer)) return [...variables];
  const parents = await openParents(recipe, locations ? { locations } : {});
  const { arch, tensors } = parents.find(({ name }) => name === recipe.base)!;
  return variables.flatMap((variable) => {
    if (!variable.perLayer) return [variable];
    const layers = new Map<number, Set<SearchVariable["selectors"][number]>>();
    for (const name of tensors.keys()) {
      const place = arch.locate(name);
      const { layer } = place;
      if (layer === undefined) continue;
      for (const selector of variable.selectors) {
        if (!selects({ ...selector, at: { line: 1, column: 1 } }, place, name)) continue;
        layers.set(layer, (layers.get(layer) ?? new Set()).add(selector));
      }
    }
    if (layers.size === 0) {
      const message = `Cannot search "${variable.name}" per layer: it selects nothing within layers, wanted tensors of a layer`;
      throw new StudyError([{ code: "empty-selection", message }]);
    }
    // Only those that reach the layer: another one may be for other layers.
    return [...layers]
      .sort(([a], [b]) => a - b)
      .map(([layer, some]) => ({
        ...variable,
        name: `${variable.name} of layer ${layer}`,
        selectors: variable.selectors
          .filter((selector) => some.has(selector))
          .map((selector) => ({ ...selector, layers: [{ from: layer, to: layer }] })),
        perLayer: false,
      }));
  });
}

function requireParents(recipe: Recipe, variables: readonly SearchVariable[]): void {
  const names = recipe.parents.map(({ name }) => name).filter((name) => name !== recipe.base);
  const problems = variables
    .filter(({ parent }) => !names.includes(parent))
    .map(({ name, parent }) => {
      const message = `Cannot search "${name}": its parent is "${parent}", wanted one of ${names.join(", ")}`;
      return { code: "unknown-parent", message };
    });
  if (problems.length > 0) throw new StudyError(problems);
}

/** The recipe with the variables' rules behind its own. */
export function recipeOfPoint(
  { recipe, variables }: Pick<SearchSettings, "recipe" | "variables">,
  point: readonly number[],
): Recipe {
  let at = 0;
  const rules = variables.map(({ selectors, parent, threshold }): NewRule => {
    const lambda = point[at++]!;
    const delta = threshold ? point[at++]! : undefined;
    return { selectors, weights: { [parent]: lambda }, ...(delta === undefined ? {} : { threshold: delta }) };
  });
  return rewritten(recipe, [...recipe.rules, ...rules]);
}

/** Proposes and asks until the budget is spent. */
export async function search(
  settings: SearchSettings,
  pool: RunPool,
  { method, onEvent }: { method: Method; onEvent?: (event: SearchEvent) => void },
): Promise<SearchResult> {
  const { variables, objectives, budget, seed, locations } = settings;
  const dimensions = dimensionsOf(variables);
  const ends = [lowEnd(variables), highEnd(variables)];
  await planRecipe(recipeOfPoint(settings, ends[1]!), locations ? { locations } : {});
  const trials: MeasuredTrial[] = [];
  for (let index = 0; index < budget; index++) {
    const tried = trials.map(({ point }): Trial => ({ point }));
    if (index >= ends.length && isExhausted(dimensions, tried)) break; // all there is has been asked
    const history = trials.map(({ point, gain, cost }): Trial => {
      return { point, objectives: gain === null || cost === null ? null : [-gain, cost] };
    });
    const point = ends[index] ?? propose(dimensions, history, { seed, trial: index, method });
    const name = `${method} ${index + 1}`;
    const { run, isFound } = await pool.runOf(recipeOfPoint(settings, point), name);
    const summary = run.summary!;
    const [gain, cost] = [gainOf(summary, objectives), costOf(summary, objectives)];
    trials.push({ index, point, run: run.folder, summary, gain, cost });
    const isOnFront = frontOf(trials).includes(index);
    const trial = trials.at(-1)!;
    onEvent?.({ kind: "trial", method, trial, isFound, isOnFront, done: index + 1, total: budget });
  }
  return { dimensions, method, trials, front: frontOf(trials) };
}

function lowEnd(variables: readonly SearchVariable[]): number[] {
  return variables.flatMap(({ lambda, threshold }) => [lambda.low, ...(threshold ? [threshold.low] : [])]);
}

/** A threshold at its lowest merges most. */
function highEnd(variables: readonly SearchVariable[]): number[] {
  return variables.flatMap(({ lambda, threshold }) => [lambda.high, ...(threshold ? [threshold.low] : [])]);
}

/** Of several that are alike in both, the first. */
function frontOf(trials: readonly MeasuredTrial[]): number[] {
  const known = trials.filter(({ gain, cost }) => gain !== null && cost !== null);
  const [best = []] = fronts(known.map(({ gain, cost }) => [-gain!, cost!]));
  const front = best.map((i) => known[i]!);
  const seen = new Set<string>();
  return front
    .sort((a, b) => a.cost! - b.cost! || b.gain! - a.gain! || a.index - b.index)
    .filter(({ gain, cost }) => {
      const key = `${gain}/${cost}`;
      return !seen.has(key) && seen.add(key);
    })
    .map(({ index }) => index);
}
