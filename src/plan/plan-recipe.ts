/**
 * recipe + headers -> plan. Reads no tensor data; reports every problem at once.
 */
import { createHash } from "node:crypto";
import { PlanError, type Problem } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { publicText } from "../checkpoint/shown.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { byteLengthOf, isFloat8 } from "../tensor/dtype.ts";
import { accountFor, totalsOf } from "./accounts.ts";
import { type Decision, decide, position, select } from "./decide.ts";
import { donorProblems } from "./donors.ts";
import { type LaidShard, layOut } from "./layout.ts";
import { loadRecipe } from "./load-recipe.ts";
import { checkpointDigest, compareParents, openParents, type Parent, revisionOf } from "./parents.ts";
import { type BuildPlan, PLAN_FORMAT, type PlanMerge, type PlanShard, type PlanTensor } from "./plan.ts";
import { type Target, targetOf } from "./target.ts";

export interface PlanOptions {
  /** Folder that relative parents start from; default: the recipe's own, else the current one. */
  folder?: string;
  /** Where parents lie, by name, instead of where the recipe says. */
  locations?: Readonly<Record<string, string>>;
}

/**
 * Plans a recipe, given as a parsed recipe or as the path of a recipe file.
 *
 * Reads the headers, indexes and configs of all parents, and no tensor (assembly.md sections 4 and 5).
 *
 * @throws RecipeError with every fault of the recipe, or when there is no such file
 * @throws CheckpointError for parents that cannot be read
 * @throws PlanError with every problem of parents that cannot be merged as asked
 */
export async function planRecipe(
  recipeOrPath: Recipe | string,
  options: PlanOptions = {},
): Promise<BuildPlan> {
  const recipe = typeof recipeOrPath === "string" ? await loadRecipe(recipeOrPath) : recipeOrPath;
  refuseUnknown(recipe, options.locations ?? {});
  const parents = await openParents(recipe, options);
  return makePlan(recipe, parents, await donorProblems(recipe, parents));
}

/** A misspelt name would leave a parent where the recipe says, which may be another checkpoint. */
function refuseUnknown(recipe: Recipe, locations: Readonly<Record<string, string>>): void {
  const names = recipe.parents.map(({ name }) => name);
  const unknown = Object.keys(locations).filter((name) => !names.includes(name));
  if (unknown.length === 0) return;
  throw new PlanError(
    unknown.map((name) => {
      const near = nearest(name, names);
      const message = `Cannot place the parent "${name}": the recipe has none of this name, wanted one of ${names.join(", ")}`;
      return { code: "unknown-parent", message, ...(near ? { note: `Did you mean ${near}?` } : {}) };
    }),
  );
}

function makePlan(recipe: Recipe, parents: readonly Parent[], donors: readonly Problem[]): BuildPlan {
  const baseIndex = indexOf(parents, recipe.base);
  const base = parents[baseIndex]!;
  const { problems, warnings } = compareParents(parents, base, recipe);
  const selection = select(recipe, base);
  problems.push(...selection.problems, ...donors);
  for (const parent of parents) {
    if (parent !== base && !usesTensorsOf(recipe, parent.name)) continue;
    for (const problem of parent.problems) problems.push({ ...problem, ...position(recipe, parent.ref.at) });
  }
  if (base.checkpoint.tensors.size === 0) {
    const message = `Cannot build on "${base.name}": it holds no tensor, wanted at least one`;
    problems.push({ code: "empty-base", message, ...position(recipe, base.ref.at) });
  }
  if (recipe.output.dtype === "f8_e4m3" && !base.arch.known) {
    const message = `Cannot write f8_e4m3: the architecture of "${base.name}" is unknown, wanted one that says which matrices are quantised`;
    problems.push({ code: "unknown-architecture", message, ...position(recipe, base.ref.at) });
  }
  const block = base.arch.block;
  const targets = new Map<string, Target>();
  const decisions = new Map<string, Decision>();
  const context = { recipe, parents, base: baseIndex, selection, problems };
  for (const tensor of base.tensors.values()) {
    let target = targetOf(tensor, { output: recipe.output.dtype, arch: base.arch, block });
    const decision = decide(tensor, target, context);
    if (!decision) continue;
    if (decision.kind === "merge") target = withScaleOf(target, decision.merge);
    targets.set(tensor.name, target);
    decisions.set(tensor.name, decision);
  }
  if (problems.length > 0) throw new PlanError(inOrder(problems));

  const laid = layOut({
    base: base.checkpoint,
    tensors: base.tensors,
    targets,
    maxShardSize: recipe.output.maxShardSize,
  });
  const { shards, merges } = assemble(laid, decisions, base);
  warnings.push(...adviceOn(recipe, parents, selection.rules, base), ...strayTensors(recipe, parents, base));
  for (const { name, checkpoint } of parents)
    for (const { code, message, note } of checkpoint.problems)
      if (code === "no-version") warnings.push(`parent "${name}": ${message}. ${note}`);
  const quantized = shards.some(({ tensors }) => tensors.some(({ dtype }) => isFloat8(dtype)));
  const plan: BuildPlan = {
    format: PLAN_FORMAT,
    version: 1,
    digest: "",
    recipe: publicText(recipe.text),
    recipeFile: recipe.file,
    parents: parents.map(describeParent),
    base: baseIndex,
    output: {
      ...recipe.output,
      block: [block.rows, block.cols],
      scaleFormat: base.arch.scaleFormat,
      quantized,
    },
    merges,
    shards,
    files: {
      config: baseIndex,
      tokenizer: indexOf(parents, recipe.tokenizer),
      chatTemplate: indexOf(parents, recipe.chatTemplate),
    },
    accounts: accountFor(parents, baseIndex, decisions),
    totals: totalsOf({ shards, merges, numParents: parents.length }),
    warnings,
  };
  plan.digest = planDigest(plan);
  return plan;
}

function usesTensorsOf(recipe: Recipe, parent: string): boolean {
  return recipe.rules.some(({ weights }) => Object.hasOwn(weights, parent));
}

function indexOf(parents: readonly Parent[], name: string): number {
  return parents.findIndex((parent) => parent.name === name);
}

/** A merge may write its scales in another type than the base has them in. */
function withScaleOf(target: Target, { scaleDtype }: PlanMerge): Target {
  if (!target.scale || !scaleDtype || target.scale.dtype === scaleDtype) return target;
  const byteLength = byteLengthOf(scaleDtype, target.scale.shape);
  return { ...target, scale: { ...target.scale, dtype: scaleDtype, byteLength } };
}

function inOrder(problems: Problem[]): Problem[] {
  const line = ({ line, column }: Problem) => (line ?? Infinity) * 1e6 + (column ?? 0);
  return [...new Map(problems.map((problem) => [problem.message, problem])).values()].sort((a, b) =>
    line(a) === line(b) ? 0 : line(a) - line(b),
  );
}

/** Joins layout and decisions; numbers the merges in the order in which shards need them. */
function assemble(
  laid: readonly LaidShard[],
  decisions: ReadonlyMap<string, Decision>,
  base: Parent,
): { shards: PlanShard[]; merges: PlanMerge[] } {
  const ranks = new Map([...base.checkpoint.tensors.keys()].map((name, rank) => [name, rank]));
  const merges: PlanMerge[] = [];
  const mergeIndex = new Map<string, number>();
  const shards = laid.map(({ tensors, ...shard }): PlanShard => {
    return {
      ...shard,
      tensors: tensors.map(({ of, name, dtype, shape, offset: at, byteLength, part }): PlanTensor => {
        const tensor = { name, dtype, shape, offset: at, byteLength, part };
        const decision = decisions.get(of)!;
        // A scale that the base did not have stands behind its weight.
        const rank = ranks.get(tensor.name) ?? ranks.get(of)! + 0.5;
        if (decision.kind === "copy") {
          const source = tensor.part === "scale" ? decision.tensor.scale! : decision.tensor.weight;
          const { shard, offset } = source;
          return { ...tensor, rank, action: { kind: "copy", parent: decision.parent, shard, offset } };
        }
        let index = mergeIndex.get(of);
        if (index === undefined) {
          index = merges.push(decision.merge) - 1;
          mergeIndex.set(of, index);
        }
        return { ...tensor, rank, action: { kind: "merge", merge: index } };
      }),
    };
  });
  return { shards, merges };
}

function describeParent({ name, checkpoint }: Parent): BuildPlan["parents"][number] {
  const { location } = checkpoint.store;
  const revision = revisionOf(location);
  return {
    name,
    location,
    digest: checkpointDigest(checkpoint),
    ...(revision ? { revision } : {}),
    shards: checkpoint.shards.map(({ name, identity }) => ({ name, identity: identity! })),
  };
}

/** Not wrong, but often not meant. */
function adviceOn(
  recipe: Recipe,
  parents: readonly Parent[],
  rules: Selection["rules"],
  base: Parent,
): string[] {
  const advice: string[] = [];
  for (const parent of parents) {
    const used =
      usesTensorsOf(recipe, parent.name) ||
      [recipe.base, recipe.tokenizer, recipe.chatTemplate].includes(parent.name);
    if (!used) advice.push(`parent "${parent.name}" is not used by any rule`);
  }
  const router = [...rules].find(([name, rule]) => {
    const { role } = base.arch.locate(name);
    return (
      role === "router" && Object.values(rule.weights).some((w) => Array.isArray(w) || (w !== 0 && w !== 1))
    );
  });
  if (router)
    advice.push(
      `rule ${router[1].index + 1} blends routers ("${router[0]}"): blended routers can break routing`,
    );
  return advice;
}

/** A base that lost a tensor makes a child without it; a parent that has more is seldom meant so. */
function strayTensors(recipe: Recipe, parents: readonly Parent[], base: Parent): string[] {
  return parents.flatMap(({ name, tensors }) => {
    const strays = usesTensorsOf(recipe, name) ? [...tensors.keys()].filter((t) => !base.tensors.has(t)) : [];
    if (strays.length === 0) return [];
    const lacks = `"${base.name}" lacks ${strays.length} of the tensors of "${name}", as "${strays[0]}"`;
    return [`${lacks}: the child will not have them`];
  });
}

type Selection = ReturnType<typeof select>;

/** SHA-256 over what decides the bytes: headers of the parents, merges, shards, output. */
export function planDigest(plan: BuildPlan): string {
  const hash = createHash("sha256");
  const add = (value: unknown) => hash.update(`${JSON.stringify(value)}\n`);
  add([plan.format, plan.version, plan.base, plan.output, plan.files]);
  for (const { name, digest } of plan.parents) add([name, digest]);
  for (const merge of plan.merges) add(merge);
  for (const shard of plan.shards) add(shard);
  return hash.digest("hex");
}
