/**
 * The plan: every decision of a build, as plain JSON. File names, offsets and sources are fixed here, so
 * that shards can be built in any order, by any number of workers or machines, and give the same bytes.
 *
 * A tensor of the child is either copied as bytes from one parent, or is a *part* (weight or scale) of a
 * merge. A merge is one logical tensor; what only data can decide (a threshold, parents that turn out to
 * be identical) is decided when it is built, by rules that the plan states.
 */

import type { Measure } from "../logical/measure.ts";
import type { ScaleDtype } from "../logical/operand.ts";
import type { OutputDtype } from "../recipe/recipe.ts";
import type { Dtype, FloatDtype } from "../tensor/dtype.ts";

export const PLAN_FORMAT = "chimera-plan";

export interface BuildPlan {
  format: typeof PLAN_FORMAT;
  version: 1;
  /** SHA-256 over everything that decides the child's tensors; not over where the parents lie. */
  digest: string;
  /** The recipe's text, verbatim. */
  recipe: string;
  recipeFile: string | undefined;
  /** In the order of summation. */
  parents: PlanParent[];
  /** Index of the base among the parents. */
  base: number;
  output: PlanOutput;
  merges: PlanMerge[];
  /** In the order of their names. */
  shards: PlanShard[];
  files: PlanFiles;
  /** What becomes of every tensor of every parent. */
  accounts: PlanAccount[];
  totals: PlanTotals;
  /** Things worth knowing before the build; none of them stops it. */
  warnings: string[];
}

export interface PlanParent {
  name: string;
  /** As openStore() takes it. */
  location: string;
  /** SHA-256 over the names, sizes and headers of its shards. */
  digest: string;
  /** Commit of the Hub, when the folder is a snapshot of its cache. */
  revision?: string;
  /** Shards that the build reads, with their identity when they were planned. */
  shards: { name: string; identity: string }[];
}

export interface PlanOutput {
  dtype: OutputDtype;
  maxShardSize: "as-base" | number;
  /** Rows and columns of a scale block. */
  block: [number, number];
  /** Whether new scales are powers of two. */
  scaleFormat: "float" | "ue8m0";
  /** Whether the child holds FP8 weights, and config.json so needs quantization_config. */
  quantized: boolean;
}

export interface PlanShard {
  name: string;
  /** Entries of `__metadata__`. */
  metadata: [string, string][];
  /** Length of the file and where its data begins. */
  byteLength: number;
  dataStart: number;
  /** In the order of their data. */
  tensors: PlanTensor[];
}

export interface PlanTensor {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Position in the file. */
  offset: number;
  byteLength: number;
  /** What it is of its logical tensor. */
  part: "whole" | "weight" | "scale";
  /** Place in the weight map of the index. */
  rank: number;
  action: CopyAction | MergeAction;
}

export interface CopyAction {
  kind: "copy";
  /** Index of the parent. */
  parent: number;
  shard: string;
  offset: number;
}

export interface MergeAction {
  kind: "merge";
  /** Index into the plan's merges. */
  merge: number;
}

export interface PlanMerge {
  name: string;
  shape: number[];
  /** What the child stores. */
  dtype: "F32" | "BF16" | "F16" | "F8_E4M3";
  scaleDtype?: ScaleDtype;
  /** Index of the rule in the recipe; undefined for a mere conversion. */
  rule?: number;
  /** Parents with λ ≠ 0, in the order of summation. */
  inputs: PlanInput[];
  /** Below the threshold the base's tensor is taken. */
  test?: { threshold: number; measure: Measure; base: PlanOperand; others: PlanOperand[] };
  /** |Σλ − 1| < 1e-6: byte-identical inputs are taken as they are, not summed. */
  sumsToOne: boolean;
}

/** A logical tensor in a parent's files. */
export interface PlanOperand {
  parent: number;
  dtype: FloatDtype;
  shard: string;
  offset: number;
  byteLength: number;
  scale?: { shard: string; offset: number; byteLength: number; dtype: ScaleDtype };
}

export interface PlanInput extends PlanOperand {
  /** λ */
  weight: number;
}

export interface PlanFiles {
  /** Indices of the parents. */
  config: number;
  tokenizer: number;
  chatTemplate: number;
}

export interface PlanAccount {
  parent: string;
  copied: number;
  merged: number;
  /** Names by reason. */
  leftOut: { reason: string; tensors: string[] }[];
}

export interface PlanTotals {
  /** Physical tensors of the child by path. */
  tensors: { copied: number; merged: number; all: number };
  elements: number;
  /**
   * Bytes that a build reads from each parent, in their order. Exact for copies and sums; a threshold counts
   * its tensors twice, which is the most it reads. Not counted is the look at parents that may turn out to
   * be identical: it ends at the first difference.
   */
  readBytes: number[];
  /** Bytes of all shards, headers included. */
  writeBytes: number;
  /** Bytes of tensor data: total_size of the index. */
  tensorBytes: number;
  /** Memory that one worker's buffers take at the most. */
  workerBytes: number;
}
