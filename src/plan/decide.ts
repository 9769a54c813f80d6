/**
 * From rules to actions: what happens to each logical tensor of the base (assembly.md sections 1 and 2).
 *
 * Only headers are known here. Whatever they decide becomes a copy; the rest becomes a merge that states
 * what the build has to find out from data.
 */
import type { Place } from "../arch/place.ts";
import type { Problem } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import type { StoredTensor } from "../checkpoint/checkpoint.ts";
import type { ScaleDtype } from "../logical/operand.ts";
import type { LogicalTensor } from "../logical/pairs.ts";
import { fitsHeap } from "../logical/pieces.ts";
import type { Recipe, Rule, Selector } from "../recipe/recipe.ts";
import { formatSelector, layersSelected, ruleFor, selects } from "../recipe/selector.ts";
import { weightProblem, weightsAt } from "../recipe/weights.ts";
import type { BlockSize } from "../tensor/block.ts";
import { type FloatDtype, floatSize, formatShape, isFloat } from "../tensor/dtype.ts";
import type { Parent } from "./parents.ts";
import type { PlanInput, PlanMerge, PlanOperand } from "./plan.ts";
import type { Target } from "./target.ts";

export type Decision =
  | { kind: "copy"; parent: number; tensor: LogicalTensor; rule: Rule | undefined }
  | { kind: "merge"; merge: PlanMerge };

/** The rules applied to names: which rule takes each tensor, and which layers each rule selects. */
export interface Selection {
  rules: Map<string, Rule>;
  layersOf: Map<Rule, number[]>;
  problems: Problem[];
}

export function select(recipe: Recipe, base: Parent): Selection {
  const rules = new Map<string, Rule>();
  const matched = new Set<unknown>();
  const tensors = [...base.tensors.keys()].map((name) => ({ name, place: base.arch.locate(name) }));
  for (const { name, place } of tensors) {
    for (const rule of recipe.rules) {
      for (const selector of rule.selectors) {
        if (!matched.has(selector) && selects(selector, place, name)) matched.add(selector);
      }
    }
    const rule = ruleFor(recipe, place, name);
    if (rule) rules.set(name, rule);
  }
  const problems: Problem[] = [];
  for (const rule of recipe.rules) {
    for (const selector of rule.selectors) {
      if (matched.has(selector)) continue;
      problems.push({
        code: "empty-selection",
        message: `Cannot apply rule ${rule.index + 1}: ${formatSelector(selector)} selects nothing in "${base.name}", wanted at least one tensor`,
        ...emptyNote(base, selector, tensors),
        ...position(recipe, selector.at),
      });
    }
  }
  const layersOf = new Map(recipe.rules.map((rule) => [rule, layersSelected(rule, tensors)]));
  return { rules, layersOf, problems };
}

function emptyNote(
  { arch }: Parent,
  { matrices = [] }: Selector,
  tensors: readonly { place: Place }[],
): { note?: string } {
  if (!arch.known)
    return { note: "The architecture is unknown: only the role `all` and name globs select tensors" };
  const known = new Set(tensors.map(({ place }) => place.matrix));
  const meant = matrices.flatMap((matrix) => (known.has(matrix) ? [] : (nearest(matrix, known) ?? [])));
  return meant.length === 0 ? {} : { note: `Did you mean ${meant.map((name) => `"${name}"`).join(", ")}?` };
}

export function position(recipe: Recipe, at: { line: number; column: number }): Partial<Problem> {
  return { ...(recipe.file ? { file: recipe.file } : {}), line: at.line, column: at.column };
}

export interface DecideContext {
  recipe: Recipe;
  parents: readonly Parent[];
  base: number;
  selection: Selection;
  problems: Problem[];
}

/** What happens to one logical tensor of the base. Reports what stands in the way and returns undefined. */
export function decide(tensor: LogicalTensor, target: Target, context: DecideContext): Decision | undefined {
  const { recipe, parents, base, selection, problems } = context;
  const { name } = tensor;
  const rule = selection.rules.get(name);
  const place = parents[base]!.arch.locate(name);
  const weights = rule ? lambdas(recipe, rule, place, context) : parents.map((_, i) => (i === base ? 1 : 0));
  if (!weights) return undefined;
  const used = weights.flatMap((weight, parent) => (weight === 0 ? [] : [{ parent, weight }]));
  // A rule whose tensors come from the base alone needs no test: both outcomes are the base's bytes.
  const test = rule?.threshold !== undefined && used.some(({ parent }) => parent !== base);

  const found = [...new Set([...used.map(({ parent }) => parent), ...(test ? [base] : [])])].map((parent) => {
    const own = parents[parent]!.tensors.get(name);
    if (!own) reportMissing(context, { name, parent, rule: rule! });
    else if (formatShape(own.weight.shape) !== formatShape(tensor.weight.shape)) {
      reportShape(context, { name, parent, rule: rule!, found: own.weight, wanted: tensor.weight });
    } else if (own.scale && !hasBlocksOf(parents[base]!, parents[parent]!)) {
      reportBlocks(context, { name, parent });
    } else return [parent, own] as const;
    return undefined;
  });
  if (found.some((entry) => entry === undefined)) return undefined;
  const tensors = new Map(found as (readonly [number, LogicalTensor])[]);

  const only = used.length === 1 && used[0]!.weight === 1 ? used[0]!.parent : undefined;
  if (only !== undefined && !test && sameForm(tensors.get(only)!, target)) {
    return { kind: "copy", parent: only, tensor: tensors.get(only)!, rule };
  }
  const bad = [...tensors].find(([, own]) => !isFloat(own.weight.dtype));
  if (bad || !isMergeable(target)) {
    const dtype = bad ? bad[1].weight.dtype : target.dtype;
    const what = bad ? `it is ${dtype} in "${parents[bad[0]]!.name}"` : `its result would be ${dtype}`;
    problems.push({
      code: "not-computable",
      message: `Cannot merge "${name}": ${what}, wanted F32, BF16, F16 or F8_E4M3`,
      note: "It can be copied from one parent (a single weight of 1)",
      ...(rule ? position(recipe, rule.at) : {}),
    });
    return undefined;
  }
  const operand = (parent: number) => planOperand(parent, tensors.get(parent)!);
  const inputs: PlanInput[] = used.map(({ parent, weight }) => ({ ...operand(parent), weight }));
  const sum = used.reduce((total, { weight }) => total + weight, 0);
  const merge: PlanMerge = {
    name,
    shape: tensor.weight.shape,
    dtype: target.dtype as PlanMerge["dtype"],
    ...(target.scale ? { scaleDtype: mergedScaleDtype(target.scale.dtype) } : {}),
    ...(rule ? { rule: rule.index } : {}),
    inputs,
    ...(test ? { test: thresholdTest(rule!, base, used, operand) } : {}),
    sumsToOne: Math.abs(sum - 1) < 1e-6,
  };
  if (!isFeasible(merge, parents[base]!.arch.block)) {
    reportSize(context, merge);
    return undefined;
  }
  return { kind: "merge", merge };
}

function thresholdTest(
  rule: Rule,
  base: number,
  used: readonly { parent: number }[],
  operand: (parent: number) => PlanOperand,
): NonNullable<PlanMerge["test"]> {
  const others = used.filter(({ parent }) => parent !== base).map(({ parent }) => operand(parent));
  return { threshold: rule.threshold!, measure: rule.measure, base: operand(base), others };
}

/** New scales are written as F32, or as UE8M0 where the base has them so. BF16 would round them away. */
function mergedScaleDtype(stored: ScaleDtype): ScaleDtype {
  return stored === "F8_E8M0" ? "F8_E8M0" : "F32";
}

/** Scales mean something only with the blocks they were made for; the child has the base's. */
function hasBlocksOf(base: Parent, { arch: { block } }: Parent): boolean {
  return block.rows === base.arch.block.rows && block.cols === base.arch.block.cols;
}

/** Whether a worker's memory holds a block of all operands at once, in the sum and in the test. */
export function isFeasible({ inputs, test, dtype, scaleDtype, shape }: PlanMerge, block: BlockSize): boolean {
  const banded = scaleDtype !== undefined || [...inputs, ...(test?.others ?? [])].some(({ scale }) => scale);
  const fits = (dtypes: readonly FloatDtype[]) =>
    fitsHeap({
      shape,
      block,
      banded,
      bytesPerElement: dtypes.reduce((sum, each) => sum + floatSize(each), 0),
    });
  const compared = (test?.others ?? []).every((other) => fits([test!.base.dtype, other.dtype]));
  return compared && fits([...inputs.map((input) => input.dtype), dtype]);
}

export function isMergeable({ dtype }: Pick<Target, "dtype">): boolean {
  return dtype === "F32" || dtype === "BF16" || dtype === "F16" || dtype === "F8_E4M3";
}

/** Whether a parent stores a tensor as the child will: then its bytes can be taken as they are. */
function sameForm({ weight, scale }: LogicalTensor, target: Target): boolean {
  return weight.dtype === target.dtype && scale?.dtype === target.scale?.dtype;
}

function lambdas(
  recipe: Recipe,
  rule: Rule,
  place: Place,
  { selection, problems }: DecideContext,
): number[] | undefined {
  const layers = selection.layersOf.get(rule)!;
  const problem = weightProblem(recipe, rule, place.layer, layers);
  if (!problem) return weightsAt(recipe, rule, place.layer, layers);
  problems.push(problem); // the same for every tensor of a layer; shown once
  return undefined;
}

function planOperand(parent: number, { weight, scale }: LogicalTensor): PlanOperand {
  const { dtype, shard, offset, byteLength } = weight;
  if (!isFloat(dtype)) throw new Error(`internal: "${weight.name}" is ${dtype} and was to be computed with`);
  const range = ({ shard, offset, byteLength }: StoredTensor) => ({ shard, offset, byteLength });
  return {
    parent,
    dtype,
    shard,
    offset,
    byteLength,
    ...(scale ? { scale: { ...range(scale), dtype: scale.dtype as ScaleDtype } } : {}),
  };
}

function reportMissing(
  { recipe, parents, base, problems }: DecideContext,
  { name, parent, rule }: { name: string; parent: number; rule: Rule },
): void {
  // A parent whose tensor could not be paired has told so already.
  const isBroken = parents[parent]!.checkpoint.tensors.has(name);
  if (isBroken) return;
  problems.push({
    code: "missing-tensor",
    message: `Cannot take "${name}" from "${parents[parent]!.name}": it is not there, wanted as in "${parents[base]!.name}"`,
    ...position(recipe, rule.at),
  });
}

function reportShape(
  { recipe, parents, base, problems }: DecideContext,
  {
    name,
    parent,
    rule,
    found,
    wanted,
  }: { name: string; parent: number; rule: Rule; found: StoredTensor; wanted: StoredTensor },
): void {
  const shapes = `its shape in "${parents[parent]!.name}" (${found.shard}) is ${formatShape(found.shape)}`;
  problems.push({
    code: "shape-mismatch",
    message: `Cannot merge "${name}": ${shapes}, wanted ${formatShape(wanted.shape)} as in "${parents[base]!.name}" (${wanted.shard})`,
    ...position(recipe, rule.at),
  });
}

function reportBlocks(
  { recipe, parents, base, problems }: DecideContext,
  { name, parent }: { name: string; parent: number },
): void {
  const [found, wanted] = [parent, base].map((index) => parents[index]!.arch.block) as [BlockSize, BlockSize];
  const blocks = `a scale of "${parents[parent]!.name}" covers ${found.rows}×${found.cols} elements`;
  problems.push({
    code: "block-mismatch",
    message: `Cannot merge "${name}": ${blocks}, wanted ${wanted.rows}×${wanted.cols} as in "${parents[base]!.name}"`,
    ...position(recipe, parents[parent]!.ref.at),
  });
}

function reportSize(
  { recipe, parents, base, problems }: DecideContext,
  { name, rule, inputs }: PlanMerge,
): void {
  const { rows, cols } = parents[base]!.arch.block;
  const what = `${inputs.length} parents with blocks of ${rows}×${cols} do not fit the memory of a worker`;
  problems.push({
    code: "block-too-large",
    message: `Cannot merge "${name}": ${what}, wanted smaller blocks or fewer parents`,
    ...(rule === undefined ? {} : position(recipe, recipe.rules[rule]!.at)),
  });
}
