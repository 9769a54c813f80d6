/**
 * An ablation: which parts of a child carry what it does. One group of tensors at a time is given to the other parent,
 * everything else stays, and the same questions are asked. What changes more than chance explains hangs on the group.
 *
 * Swapping one part at a time finds what is needed, not what is enough: a behaviour that two parts carry each by itself
 * shows at neither.
 */
import { StudyError } from "../base/errors.ts";
import { compareWith, type MetricComparison } from "../eval/compare-runs.ts";
import type { FinishedRun } from "../eval/run-folder.ts";
import type { RunSummary } from "../eval/summary.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { withRule } from "./child-recipe.ts";
import { type Grouping, groupsOf, type TensorGroup } from "./groups.ts";
import type { RunPool } from "./run-pool.ts";

export interface AblateSettings {
  recipe: Recipe;
  groupings: readonly Grouping[];
  /** The two parents that groups go between. Default: the base and the first other one. */
  between?: readonly [string, string];
  locations?: Readonly<Record<string, string>>;
}

/** A group in another parent's tensors. */
export interface Swap {
  group: TensorGroup;
  /** undefined: a sum of parents. */
  from: string | undefined;
  to: string;
  /** "attention → r1" */
  name: string;
}

export interface Ablation extends Swap {
  run: string;
  summary: RunSummary;
  /** Against the child as the recipe makes it. */
  effects: MetricComparison[];
}

export interface AblateResult {
  child: { name: string; run: string; summary: RunSummary };
  parents: { name: string; run: string; summary: RunSummary }[];
  /** In the order of groups. */
  ablations: Ablation[];
}

export type AblateEvent =
  | { kind: "child" | "parent"; name: string; summary: RunSummary; isFound: boolean }
  | { kind: "swap"; swap: Swap; summary: RunSummary; isFound: boolean; done: number; total: number };

/** What would be swapped. Throws StudyError for parents that the recipe does not have. */
export async function swapsOf(
  settings: AblateSettings,
): Promise<{ swaps: Swap[]; between: [string, string] }> {
  const { recipe, groupings, locations } = settings;
  const between = parentsBetween(settings);
  const plan = await planRecipe(recipe, locations ? { locations } : {});
  const groups = await groupsOf(recipe, plan, { groupings, locations });
  const [base, other] = between;
  const swaps = groups.flatMap((group) => {
    // What is one parent's goes to the other; a sum goes to each in turn.
    const targets = group.owner === base ? [other] : group.owner === other ? [base] : [base, other];
    return targets.map((to) => ({ group, from: group.owner, to, name: `${group.name} → ${to}` }));
  });
  return { swaps, between };
}

function parentsBetween({ recipe, between }: AblateSettings): [string, string] {
  const names = recipe.parents.map(({ name }) => name);
  const [base = recipe.base, other = names.find((name) => name !== base)] = between ?? [];
  const unknown = [base, other].find((name) => name === undefined || !names.includes(name));
  if (other !== undefined && unknown === undefined && base !== other) return [base, other];
  const message =
    names.length < 2
      ? "Cannot swap between parents: the recipe has only one, wanted two"
      : `Cannot swap between "${base}" and "${other}": wanted two of ${names.join(", ")}`;
  throw new StudyError([{ code: "unknown-parent", message }]);
}

/** Asks the child, both parents, and the child of each swap. What the pool holds is not asked again. */
export async function ablate(
  settings: AblateSettings,
  pool: RunPool,
  { childName = "child", onEvent }: { childName?: string; onEvent?: (event: AblateEvent) => void } = {},
): Promise<AblateResult> {
  const { recipe, locations } = settings;
  const { swaps, between } = await swapsOf(settings);
  const recipes = swaps.map(({ group, to }) =>
    withRule(recipe, { selectors: group.selectors, weights: { [to]: 1 } }),
  );
  const child = await pool.runOf(recipe, childName);
  const summary = child.run.summary!;
  onEvent?.({ kind: "child", name: childName, summary, isFound: child.isFound });
  const plan = await planRecipe(recipe, locations ? { locations } : {});
  const parents: AblateResult["parents"] = [];
  for (const { name, location } of plan.parents.filter((parent) => between.includes(parent.name))) {
    const { run, isFound } = await pool.runOf(location, name);
    parents.push({ name, run: run.folder, summary: run.summary! });
    onEvent?.({ kind: "parent", name, summary: run.summary!, isFound });
  }
  const runs: FinishedRun[] = [];
  for (const [i, swap] of swaps.entries()) {
    const { run, isFound } = await pool.runOf(recipes[i]!, swap.name);
    runs.push(run);
    const [done, total] = [i + 1, swaps.length];
    onEvent?.({ kind: "swap", swap, summary: run.summary!, isFound, done, total });
  }
  const comparisons = compareWith(
    { name: childName, records: child.run.records },
    swaps.map(({ name }, i) => ({ name, records: runs[i]!.records })),
  );
  return {
    child: { name: childName, run: child.run.folder, summary },
    parents,
    ablations: swaps.map((swap, i) => ({
      ...swap,
      run: runs[i]!.folder,
      summary: runs[i]!.summary!,
      effects: comparisons[i]!.metrics,
    })),
  };
}

/** By the size of an effect, the largest first; real ones before those that may be chance. */
export function rankedBy(ablations: readonly Ablation[], metric: MetricComparison["metric"]): Ablation[] {
  const effectOf = ({ effects }: Ablation) => effects.find((effect) => effect.metric === metric);
  const weight = (ablation: Ablation) => {
    const effect = effectOf(ablation);
    return effect ? (effect.isReal ? 1e9 : 0) + Math.abs(effect.difference) : -1;
  };
  return [...ablations].sort((a, b) => weight(b) - weight(a));
}
