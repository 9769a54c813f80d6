/**
 * Whether a plan that was read from a file can be built at all: every field of its kind, every number in
 * its range, shards without hole or overlap, every source among the parents' files.
 *
 * The digest finds what was damaged; this finds what was never made by a planner. A plan travels between
 * machines, and a build follows it blindly: it reads where the plan points and writes where the plan says.
 */
import { encodeHeader } from "../checkpoint/header.ts";
import { isShardName } from "../checkpoint/shard-index.ts";
import { shown } from "../checkpoint/shown.ts";
import { isScaleDtype } from "../logical/operand.ts";
import { MEASURES, OUTPUT_DTYPES } from "../recipe/vocabulary.ts";
import { scaleShape } from "../tensor/block.ts";
import { byteLengthOf, type Dtype, formatShape, isDtype, isFloat, isFloat8 } from "../tensor/dtype.ts";
import { isFeasible, isMergeable } from "./decide.ts";
import type { BuildPlan, PlanMerge, PlanOperand, PlanShard, PlanTensor } from "./plan.ts";

/** A fault with the place where it stands: "shards[0].tensors[3].offset is -8, wanted 24". */
class Fault extends Error {}

/** The first fault of a plan, in words; undefined when it has none. Takes any JSON value. Never throws. */
export function planFault(plan: BuildPlan): string | undefined {
  try {
    checkParents(plan);
    checkOutput(plan);
    checkList(plan.merges, "merges").forEach((merge, i) => {
      checkMerge(merge, `merges[${i}]`, plan);
    });
    checkShards(plan);
    checkTexts(plan);
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    return `it cannot be read (${shown((error as Error).message)})`;
  }
}

function fail(path: string, found: unknown, wanted: string): never {
  const text = found === undefined ? "missing" : shown(JSON.stringify(found));
  throw new Fault(`${path} is ${text}, wanted ${wanted}`);
}

function check(holds: boolean, path: string, found: unknown, wanted: string): void {
  if (!holds) fail(path, found, wanted);
}

function checkText(value: unknown, path: string): void {
  check(typeof value === "string", path, value, "text");
}

function checkList<T>(value: readonly T[], path: string, least = 0): readonly T[] {
  const isList = Array.isArray(value) && value.length >= least;
  check(isList, path, value, least > 0 ? "a list that is not empty" : "a list");
  return value;
}

function checkCount(value: unknown, path: string, least = 0): void {
  check(isCount(value, least), path, value, `a whole number from ${least} to 2^53 - 1`);
}

function isCount(value: unknown, least = 0): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

function checkIndex(value: unknown, length: number, path: string): void {
  check(isCount(value) && value < length, path, value, `an index below ${length}`);
}

function checkOneOf(value: unknown, words: readonly unknown[], path: string): void {
  check(words.includes(value), path, value, `one of ${words.join(", ")}`);
}

function checkParents({ parents, base, files }: BuildPlan): void {
  checkList(parents, "parents", 1).forEach(({ name, location, digest, shards }, i) => {
    const at = `parents[${i}]`;
    checkText(name, `${at}.name`);
    check(typeof location === "string" && location !== "", `${at}.location`, location, "a folder");
    checkText(digest, `${at}.digest`);
    checkList(shards, `${at}.shards`, 1).forEach((shard, j) => {
      checkShardName(shard.name, `${at}.shards[${j}].name`);
      checkText(shard.identity, `${at}.shards[${j}].identity`);
    });
  });
  checkIndex(base, parents.length, "base");
  for (const key of ["config", "tokenizer", "chatTemplate"] as const)
    checkIndex(files[key], parents.length, `files.${key}`);
}

function checkShardName(name: unknown, path: string): void {
  check(typeof name === "string" && isShardName(name), path, name, "a plain *.safetensors name");
}

function checkOutput({ output }: BuildPlan): void {
  const { dtype, maxShardSize, block, scaleFormat, quantized } = output;
  checkOneOf(dtype, OUTPUT_DTYPES, "output.dtype");
  if (maxShardSize !== "as-base") checkCount(maxShardSize, "output.maxShardSize", 1);
  check(checkList(block, "output.block").length === 2, "output.block", block, "two sizes");
  block.forEach((size, i) => {
    checkCount(size, `output.block[${i}]`, 1);
  });
  checkOneOf(scaleFormat, ["float", "ue8m0"], "output.scaleFormat");
  checkOneOf(quantized, [true, false], "output.quantized");
}

function checkShape(shape: readonly number[], path: string): void {
  checkList(shape, path).forEach((dim, i) => {
    checkCount(dim, `${path}[${i}]`);
  });
}

function checkMerge(merge: PlanMerge, at: string, plan: BuildPlan): void {
  const { name, shape, dtype, scaleDtype, inputs, test, sumsToOne } = merge;
  checkText(name, `${at}.name`);
  checkShape(shape, `${at}.shape`);
  check(isDtype(dtype) && isMergeable({ dtype }), `${at}.dtype`, dtype, "F32, BF16, F16 or F8_E4M3");
  if (dtype === "F8_E4M3") {
    check(shape.length >= 2, `${at}.shape`, shape, "two or more dimensions for F8_E4M3");
    checkOneOf(scaleDtype, ["F32", "F8_E8M0"], `${at}.scaleDtype`);
  } else check(scaleDtype === undefined, `${at}.scaleDtype`, scaleDtype, `none for ${dtype}`);
  checkOneOf(sumsToOne, [true, false], `${at}.sumsToOne`);
  const operand = (entry: PlanOperand, path: string) => checkOperand(entry, path, { merge, plan });
  checkList(inputs, `${at}.inputs`, 1).forEach((input, i) => {
    operand(input, `${at}.inputs[${i}]`);
    const { weight } = input;
    const isWeight = typeof weight === "number" && Number.isFinite(Math.fround(weight)) && weight !== 0;
    check(isWeight, `${at}.inputs[${i}].weight`, weight, "a finite number that is not 0");
  });
  if (test !== undefined) {
    const { threshold } = test;
    const isThreshold = typeof threshold === "number" && threshold >= 0;
    check(isThreshold, `${at}.test.threshold`, threshold, "a number from 0");
    checkOneOf(test.measure, MEASURES, `${at}.test.measure`);
    operand(test.base, `${at}.test.base`);
    checkList(test.others, `${at}.test.others`, 1).forEach((other, i) => {
      operand(other, `${at}.test.others[${i}]`);
    });
  }
  const [rows, cols] = plan.output.block;
  check(isFeasible(merge, { rows, cols }), "output.block", plan.output.block, "blocks that fit a worker");
}

function checkOperand(
  { parent, dtype, shard, offset, byteLength, scale }: PlanOperand,
  at: string,
  { merge: { shape }, plan }: { merge: PlanMerge; plan: BuildPlan },
): void {
  check(isDtype(dtype) && isFloat(dtype), `${at}.dtype`, dtype, "a type to compute with");
  checkSource({ parent, shard, offset }, at, plan);
  checkLength(byteLength, { dtype, shape }, at);
  check((scale !== undefined) === isFloat8(dtype), `${at}.scale`, scale, `one for FP8, none else`);
  if (scale === undefined) return;
  check(shape.length >= 2, `${at}.scale`, scale, "two or more dimensions of the weight");
  check(
    isDtype(scale.dtype) && isScaleDtype(scale.dtype),
    `${at}.scale.dtype`,
    scale.dtype,
    "a scale's type",
  );
  checkSource({ ...scale, parent }, `${at}.scale`, plan);
  const [rows, cols] = plan.output.block;
  checkLength(
    scale.byteLength,
    { dtype: scale.dtype, shape: scaleShape(shape, { rows, cols }) },
    `${at}.scale`,
  );
}

function checkSource(
  { parent, shard, offset }: Pick<PlanOperand, "parent" | "shard" | "offset">,
  at: string,
  { parents }: BuildPlan,
): void {
  checkIndex(parent, parents.length, `${at}.parent`);
  const { name, shards } = parents[parent]!;
  const isKnown = shards.some((entry) => entry.name === shard);
  check(isKnown, `${at}.shard`, shard, `a shard of parent "${shown(name)}"`);
  checkCount(offset, `${at}.offset`, 8);
}

function checkLength(byteLength: unknown, of: { dtype: Dtype; shape: readonly number[] }, at: string): void {
  const wanted = byteLengthOf(of.dtype, of.shape);
  const what = `${wanted} for ${of.dtype} ${formatShape(of.shape)}`;
  check(byteLength === wanted, `${at}.byteLength`, byteLength, what);
}

function checkShards(plan: BuildPlan): void {
  const names = new Set<string>();
  const tensors = new Set<string>();
  const once = (seen: Set<string>, name: string, path: string) => {
    check(!seen.has(name), path, name, "each name once");
    seen.add(name);
  };
  checkList(plan.shards, "shards", 1).forEach((shard, i) => {
    const at = `shards[${i}]`;
    checkShardName(shard.name, `${at}.name`);
    once(names, shard.name, `${at}.name`);
    checkList(shard.tensors, `${at}.tensors`).forEach((tensor, j) => {
      const path = `${at}.tensors[${j}]`;
      checkTensor(tensor, path, plan);
      once(tensors, tensor.name, `${path}.name`);
    });
    checkLayout(shard, at);
  });
}

function checkTensor(tensor: PlanTensor, at: string, plan: BuildPlan): void {
  const { name, dtype, shape, byteLength, part, rank, action } = tensor;
  checkText(name, `${at}.name`);
  check(isDtype(dtype), `${at}.dtype`, dtype, "a safetensors type");
  checkShape(shape, `${at}.shape`);
  checkLength(byteLength, { dtype, shape }, at);
  checkOneOf(part, ["whole", "weight", "scale"], `${at}.part`);
  check(Number.isFinite(rank), `${at}.rank`, rank, "a number");
  if (action.kind === "copy") {
    checkSource(action, `${at}.action`, plan);
    return;
  }
  checkOneOf(action.kind, ["copy", "merge"], `${at}.action.kind`);
  checkIndex(action.merge, plan.merges.length, `${at}.action.merge`);
  const merge = plan.merges[action.merge]!;
  const [rows, cols] = plan.output.block;
  const isScale = part === "scale";
  checkOneOf(dtype, [isScale ? merge.scaleDtype : merge.dtype], `${at}.dtype`);
  const wanted = formatShape(isScale ? scaleShape(merge.shape, { rows, cols }) : merge.shape);
  check(formatShape(shape) === wanted, `${at}.shape`, shape, wanted);
}

/** Tensors follow one another from the end of the header to the end of the file. */
function checkLayout({ metadata, tensors, dataStart, byteLength }: PlanShard, at: string): void {
  checkList(metadata, `${at}.metadata`).forEach((pair, i) => {
    const isPair = Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === "string");
    check(isPair, `${at}.metadata[${i}]`, pair, "two texts");
  });
  const start = encodeHeader(tensors, new Map(metadata)).length;
  check(dataStart === start, `${at}.dataStart`, dataStart, `${start}`);
  let end = start;
  for (const [i, tensor] of tensors.entries()) {
    check(tensor.offset === end, `${at}.tensors[${i}].offset`, tensor.offset, `${end}`);
    end += tensor.byteLength;
  }
  check(byteLength === end, `${at}.byteLength`, byteLength, `${end}`);
}

function checkTexts({ recipe, recipeFile, accounts, warnings }: BuildPlan): void {
  checkText(recipe, "recipe");
  if (recipeFile !== undefined) checkText(recipeFile, "recipeFile");
  checkList(warnings, "warnings").forEach((warning, i) => {
    checkText(warning, `warnings[${i}]`);
  });
  checkList(accounts, "accounts").forEach(({ parent, copied, merged, leftOut }, i) => {
    checkText(parent, `accounts[${i}].parent`);
    checkCount(copied, `accounts[${i}].copied`);
    checkCount(merged, `accounts[${i}].merged`);
    checkList(leftOut, `accounts[${i}].leftOut`).forEach(({ reason, tensors }, j) => {
      checkText(reason, `accounts[${i}].leftOut[${j}].reason`);
      checkList(tensors, `accounts[${i}].leftOut[${j}].tensors`);
    });
  });
}
