/**
 * What a recipe says, as plain data: which tensors are merged, from which parents, by what weights.
 *
 * A `Recipe` is checked in itself (every parent it names is listed, every range runs forwards) but knows
 * nothing of the checkpoints: plan/ holds it against them. Everything that plan/ may have to complain
 * about carries the position where the recipe says it. Format: assembly.md section 4.
 */
import type { Role } from "../arch/place.ts";
import type { Position } from "../yaml/position.ts";
import type { MEASURES, METHODS, OUTPUT_DTYPES } from "./vocabulary.ts";

export interface Recipe {
  version: 1;
  /** As the caller named it; what messages show. */
  file: string | undefined;
  /** The text as it was read, for the child's `chimera.json` and model card. */
  text: string;
  /** In the order of the file, which is the order of summation. */
  parents: ParentRef[];
  /** Name of the parent whose bytes stand wherever no rule says otherwise. */
  base: string;
  rules: Rule[];
  /** Name of the parent whose tokenizer files the child gets. */
  tokenizer: string;
  /** Name of the parent whose chat template the child gets. */
  chatTemplate: string;
  output: Output;
}

export interface Output {
  dtype: OutputDtype;
  /** In bytes; "as-base" keeps the shard boundaries of the base. */
  maxShardSize: "as-base" | number;
}

export interface ParentRef {
  name: string;
  /** As written: relative to the recipe's folder. */
  path: string;
  at: Position;
}

export interface Rule {
  /** From 0, in the order of the file. Words for people count from 1. */
  index: number;
  /** A tensor is selected when any of them selects it. */
  selectors: Selector[];
  /** λ by parent, as written; a list is a gradient over the layers that the rule selects. */
  weights: Record<string, number | number[]>;
  /** δ; absent: no test, every selected tensor is merged. */
  threshold?: number;
  measure: Measure;
  method: Method;
  at: Position;
  /** Where each parent stands under `weights`. */
  weightsAt: Record<string, Position>;
}

/** Conditions that must all hold. One that is absent always holds. */
export interface Selector {
  role?: SelectableRole;
  layers?: IndexRange[];
  experts?: IndexRange[];
  matrices?: string[];
  /** A glob on the full name of the weight. */
  name?: string;
  /** As written. Absent: true for the roles "all" and "mtp" and without a role, else false. */
  includeMtp?: boolean;
  at: Position;
}

/** Both ends belong to it. */
export interface IndexRange {
  from: number;
  to: number;
}

export type SelectableRole = Exclude<Role, "other"> | "all";
export type Measure = (typeof MEASURES)[number];
export type Method = (typeof METHODS)[number];
export type OutputDtype = (typeof OUTPUT_DTYPES)[number];
