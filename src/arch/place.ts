/**
 * What a tensor is, apart from how its name spells it: the vocabulary that recipes, reports and plans
 * share. Roles are those of assembly.md section 3.
 */

/** A kind of tensor. "other" is a name that no rule of a known architecture explains. */
export type Role =
  | "routed-experts"
  | "shared-experts"
  | "router"
  | "attention"
  | "dense-mlp"
  | "norms"
  | "embeddings"
  | "lm-head"
  | "mtp"
  | "other";

/** Roles in the order in which tables show them. */
export const ROLES: readonly Role[] = [
  "embeddings",
  "attention",
  "norms",
  "dense-mlp",
  "router",
  "shared-experts",
  "routed-experts",
  "lm-head",
  "mtp",
  "other",
];

/** Where a tensor stands in its model. Plain data. */
export interface Place {
  /** Its role by what it does: an expert of an MTP layer has role "routed-experts" and mtp true. */
  role: Role;
  /** Layer index from 0, MTP layers included; absent for tensors outside the layers. */
  layer?: number;
  /** Index of a routed expert within its layer. Absent for fused experts: all in one tensor. */
  expert?: number;
  /** Last part of the module name without ".weight": "gate_proj", "q_a_proj", "input_layernorm" … */
  matrix: string;
  /** The usual name of a matrix that the family spells otherwise: "gate_proj" for Mixtral's "w1". */
  alias?: string;
  /** Whether it belongs to an MTP layer (index >= num_hidden_layers). */
  mtp: boolean;
}
