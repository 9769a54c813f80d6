/**
 * The library: `import { planRecipe, build, verify, inspect, compare } from "chimera"`.
 *
 * The same functions that the command line calls. They print nothing: progress comes as events, an
 * AbortSignal stops them, failures are the error classes below.
 */
export {
  BuildError,
  CheckpointError,
  Interrupted,
  PlanError,
  type Problem,
  RecipeError,
} from "./base/errors.ts";
export { VERSION } from "./base/version.ts";
export { type BuildOptions, type BuildReport, build } from "./build/build.ts";
export type { BuildEvent } from "./build/events.ts";
export { type Finding, type VerifyOptions, type VerifyReport, verify } from "./build/verify.ts";
export { loadPlan, loadRecipe } from "./plan/load-recipe.ts";
export type { BuildPlan, PlanAccount, PlanMerge, PlanShard, PlanTensor } from "./plan/plan.ts";
export { type PlanOptions, planRecipe } from "./plan/plan-recipe.ts";
export { parseRecipe } from "./recipe/parse.ts";
export type { Recipe, Rule, Selector } from "./recipe/recipe.ts";
export { recipeSchema } from "./recipe/schema.ts";
export { compare } from "./survey/compare.ts";
export { inspect } from "./survey/inspect.ts";
