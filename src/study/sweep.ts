/**
 * A sweep: a row of children between parents, none of them written, each asked the same questions.
 *
 * The first λ is what the curves run over; further λs, thresholds and roles make a curve each. The parents whose λ
 * varies, and the base, are asked as they are.
 */
import { StudyError } from "../base/errors.ts";
import type { RunSummary } from "../eval/summary.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import type { Recipe, SelectableRole } from "../recipe/recipe.ts";
import { shortNumber } from "./axis.ts";
import { namesParent, type Point, recipeAt } from "./child-recipe.ts";
import type { PoolRun, RunPool } from "./run-pool.ts";

export interface LambdaAxis {
  parent: string;
  values: number[];
}

export interface SweepSettings {
  recipe: Recipe;
  /** At least one. */
  lambda: LambdaAxis[];
  /** δ. Empty: as the recipe says. */
  thresholds: number[];
  /** Each instead of the recipe's rules. Empty: the recipe's. */
  roles: SelectableRole[][];
  /** Where parents lie, by name, instead of where the recipe says. */
  locations?: Readonly<Record<string, string>>;
}

export interface SweepPoint {
  /** "r1=0.3 routed-experts": for tables. */
  name: string;
  /** Points of one curve differ in `x` only. */
  curve: string;
  /** λ of the first axis. */
  x: number;
  point: Point;
}

export interface MeasuredPoint extends SweepPoint {
  /** Folder of the run. */
  run: string;
  summary: RunSummary;
}

export interface MeasuredParent {
  name: string;
  run: string;
  summary: RunSummary;
}

export interface SweepResult {
  points: MeasuredPoint[];
  parents: MeasuredParent[];
}

export type SweepEvent =
  | { kind: "parent"; parent: MeasuredParent; isFound: boolean }
  | { kind: "point"; point: MeasuredPoint; isFound: boolean; done: number; total: number };

/** All points, curve by curve. Throws StudyError for axes that say nothing of this recipe. */
export function pointsOf(settings: SweepSettings): SweepPoint[] {
  requireAxes(settings);
  const once = <T>(values: readonly T[]) => [
    ...new Map(values.map((value) => [String(value), value])).values(),
  ];
  const [thresholds, roles] = [once(settings.thresholds), once(settings.roles)];
  const [first, ...others] = settings.lambda.map(({ parent, values }) => ({
    parent,
    values: once(values),
  })) as [LambdaAxis, ...LambdaAxis[]];
  const curves: { name: string[]; point: Point }[] = [];
  for (const some of roles.length > 0 ? roles : [undefined]) {
    for (const threshold of thresholds.length > 0 ? thresholds : [undefined]) {
      for (const rest of combinations(others)) {
        const name = [
          ...(some ? [some.join("+")] : []),
          ...(threshold === undefined ? [] : [`δ ${shortNumber(threshold)}`]),
          ...Object.entries(rest).map(([parent, value]) => `λ(${parent}) ${shortNumber(value)}`),
        ];
        const point = {
          lambda: rest,
          ...(threshold === undefined ? {} : { threshold }),
          ...(some ? { roles: some } : {}),
        };
        curves.push({ name, point });
      }
    }
  }
  return curves.flatMap(({ name, point }) =>
    first.values.map((x) => ({
      name: [`${first.parent}=${shortNumber(x)}`, ...name].join(" "),
      curve: name.join(", ") || `λ(${first.parent})`,
      x,
      point: { ...point, lambda: { [first.parent]: x, ...point.lambda } },
    })),
  );
}

function requireAxes({ recipe, lambda, thresholds, roles }: SweepSettings): void {
  const fail = (message: string, note?: string): never => {
    throw new StudyError([{ code: "axis", message, ...(note === undefined ? {} : { note }) }]);
  };
  if (lambda.length === 0)
    fail("Cannot sweep without an axis: no λ varies, wanted one", "As --lambda r1=0:1:0.1");
  const negative = thresholds.find((threshold) => threshold < 0);
  if (negative !== undefined)
    fail(`Cannot use the threshold ${negative}: a difference is never negative, wanted a number from 0`);
  if (roles.some((some) => some.length === 0))
    fail("Cannot sweep over roles: a list of them is empty, wanted one or more");
  const names = recipe.parents.map(({ name }) => name);
  for (const { parent, values } of lambda) {
    if (!names.includes(parent))
      fail(
        `Cannot vary the λ of "${parent}": the recipe has no such parent, wanted one of ${names.join(", ")}`,
      );
    if (parent === recipe.base)
      fail(
        `Cannot vary the λ of "${parent}": it is the base, which gets the rest to 1`,
        "Vary that of another parent",
      );
    if (roles.length === 0 && !namesParent(recipe, parent)) {
      const note = "Name it there, or say which roles with --roles";
      fail(`Cannot vary the λ of "${parent}": no rule of the recipe names it, wanted one that does`, note);
    }
    if (lambda.filter((axis) => axis.parent === parent).length > 1)
      fail(`Cannot vary the λ of "${parent}" twice, wanted one axis for it`);
    if (values.length === 0) fail(`Cannot vary the λ of "${parent}": there is no value, wanted one or more`);
  }
}

function combinations(axes: readonly LambdaAxis[]): Record<string, number>[] {
  return axes.reduce<Record<string, number>[]>(
    (all, { parent, values }) => all.flatMap((one) => values.map((value) => ({ ...one, [parent]: value }))),
    [{}],
  );
}

/**
 * The plan of one child of each curve, whose points are alike: what cannot be planned is told before hours of work.
 * Throws what planRecipe() throws.
 */
export async function planCurves(settings: SweepSettings): Promise<[BuildPlan, ...BuildPlan[]]> {
  const { recipe, locations } = settings;
  const ends = new Map(pointsOf(settings).map(({ curve, point }) => [curve, recipeAt(recipe, point)]));
  const plans: BuildPlan[] = [];
  for (const one of ends.values()) plans.push(await planRecipe(one, locations ? { locations } : {}));
  return plans as [BuildPlan, ...BuildPlan[]];
}

/** Asks the parents, then point by point. What the pool holds is not asked again. */
export async function sweep(
  settings: SweepSettings,
  pool: RunPool,
  { onEvent }: { onEvent?: (event: SweepEvent) => void } = {},
): Promise<SweepResult> {
  const wanted = pointsOf(settings);
  const recipes = wanted.map(({ point }) => recipeAt(settings.recipe, point));
  const parents: MeasuredParent[] = [];
  for (const { name, location } of await parentsOf(settings)) {
    const found = await pool.runOf(location, name);
    const parent = { name, ...measured(found) };
    parents.push(parent);
    onEvent?.({ kind: "parent", parent, isFound: found.isFound });
  }
  const points: MeasuredPoint[] = [];
  for (const [i, point] of wanted.entries()) {
    const found = await pool.runOf(recipes[i]!, point.name);
    const one = { ...point, ...measured(found) };
    points.push(one);
    onEvent?.({ kind: "point", point: one, isFound: found.isFound, done: i + 1, total: wanted.length });
  }
  return { points, parents };
}

/** The parents that are asked as they are. Plans every curve. */
async function parentsOf(settings: SweepSettings): Promise<BuildPlan["parents"]> {
  const [plan] = await planCurves(settings);
  const varied = new Set([settings.recipe.base, ...settings.lambda.map(({ parent }) => parent)]);
  return plan.parents.filter(({ name }) => varied.has(name));
}

/** One target of a sweep: a parent by its location, or a child by its recipe. */
export interface SweepRun {
  name: string;
  source: Recipe | string;
}

/** What a sweep runs, in its order: the parents, then the points. */
export async function runsOf(settings: SweepSettings): Promise<SweepRun[]> {
  const parents = await parentsOf(settings);
  const points = pointsOf(settings);
  return [
    ...parents.map(({ name, location }) => ({ name, source: location })),
    ...points.map(({ name, point }) => ({ name, source: recipeAt(settings.recipe, point) })),
  ];
}

/**
 * Runs number `index`, `index + count` … of a sweep, for machines that share its folder. Two points may make the same
 * child: of two parts that meet there one is refused, "locked", and finds the run when it is repeated.
 */
export async function sweepPart(
  settings: SweepSettings,
  pool: RunPool,
  {
    part: { index, count },
    onRun,
  }: { part: { index: number; count: number }; onRun?: (name: string, run: PoolRun) => void },
): Promise<PoolRun[]> {
  const found: PoolRun[] = [];
  for (const [i, { name, source }] of (await runsOf(settings)).entries()) {
    if (i % count !== index) continue;
    const run = await pool.runOf(source, name);
    found.push(run);
    onRun?.(name, run);
  }
  return found;
}

/** Of a run of the pool: where it lies, and what it says. */
export function measured({ run }: PoolRun): { run: string; summary: RunSummary } {
  return { run: run.folder, summary: run.summary! };
}
