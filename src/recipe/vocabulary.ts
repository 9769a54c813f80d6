/**
 * The words of a recipe, in the order in which messages list them.
 *
 * The reader (parse.ts) and the editors' schema (schema.ts) both take them from here, so neither knows a
 * word that the other does not.
 */
import { ROLES } from "../arch/place.ts";
import type { SelectableRole } from "./recipe.ts";

/** Keys of each mapping in the file. */
export const KEYS = {
  recipe: ["version", "parents", "base", "rules", "tokenizer", "chat_template", "output"],
  rule: ["tensors", "weights", "threshold", "measure", "method"],
  selector: ["role", "layers", "experts", "matrices", "name", "include_mtp"],
  output: ["dtype", "max_shard_size"],
} as const;

/** "other" is left out: it means "unknown to us", and what is unknown is selected by name. */
export const SELECTABLE_ROLES: readonly SelectableRole[] = [
  ...ROLES.filter((role) => role !== "other"),
  "all",
];

export const MEASURES = ["rms", "relative"] as const;
export const METHODS = ["linear"] as const;
export const OUTPUT_DTYPES = ["as-base", "f8_e4m3", "bf16", "f16", "f32"] as const;

/** Methods that merge-methods.md section 2 specifies and that are not built yet. */
export const LATER_METHODS: readonly string[] = [
  ...["slerp", "nuslerp", "multislerp", "karcher", "task_arithmetic", "ties", "dare_linear", "dare_ties"],
  ...["della_linear", "della", "breadcrumbs", "breadcrumbs_ties", "sce", "model_stock", "nearswap"],
  ...["arcee_fusion", "ram", "ramplus_tl", "passthrough"],
];

/** What a parent may be called: it stands in weights, in messages and in the child's model card. */
export const PARENT_NAME: RegExp = /^[A-Za-z0-9._-]+$/;

/** "7" or "3-60". Whether it runs forwards is not a pattern's business. */
export const RANGE: RegExp = /^(\d+)(?:-(\d+))?$/;

/** Small enough to try on small models; a number below is a size whose unit was forgotten ("5"). */
export const MIN_SHARD_BYTES = 1e3;

/** The largest recipe that a person could want (a rule for each of 15,000 experts) has about 1 MB. */
export const MAX_RECIPE_BYTES = 1e6;
