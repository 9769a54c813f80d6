/** From what people name to the weights behind it: a folder, a recipe, a plan. */
import { virtualChild } from "../build/virtual-child.ts";
import { folderExists } from "../checkpoint/node.ts";
import { pinnedLocation } from "../checkpoint/stores.ts";
import { checkpointReference } from "../logical/checkpoint-weights.ts";
import type { WeightReference } from "../logical/weight-source.ts";
import { isPlanFile, loadPlan } from "../plan/load-recipe.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";

/**
 * The folder of a checkpoint, the file of a recipe or a plan (whose child is assembled as it is loaded), a plan
 * in memory, or a reference.
 */
export type ModelSource = string | BuildPlan | WeightReference;

/** Whether a name is that of a recipe or a plan, rather than of a checkpoint. */
export function namesChild(location: string): boolean {
  return /\.(ya?ml|json)$/i.test(location) && !folderExists(location);
}

/** Throws RecipeError, PlanError or CheckpointError for a child that cannot be planned. */
export async function modelReference(source: ModelSource): Promise<WeightReference> {
  if (typeof source !== "string") return "module" in source ? source : virtualChild(source);
  if (!namesChild(source)) return checkpointReference(await pinnedLocation(source));
  return virtualChild((await isPlanFile(source)) ? await loadPlan(source) : await planRecipe(source));
}
