/** Reading recipe and plan files. */
import { CheckpointError, PlanError, type Problem, RecipeError } from "../base/errors.ts";
import { fileStart, readTextFile } from "../checkpoint/node.ts";
import { parseRecipe } from "../recipe/parse.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { totalsOf } from "./accounts.ts";
import { planFault } from "./check-plan.ts";
import { type BuildPlan, PLAN_FORMAT } from "./plan.ts";
import { planDigest } from "./plan-recipe.ts";

/** Parses a recipe file. Throws RecipeError, also when there is no such file. */
export async function loadRecipe(path: string): Promise<Recipe> {
  let text: string;
  try {
    if (PLAN_START.test(fileStart(path, 4096))) throw new RecipeError([notARecipe(path)]);
    text = await readTextFile(path, 5_000_000);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw new RecipeError([{ code: error.code, message: error.message }]);
  }
  if (PLAN_START.test(text)) throw new RecipeError([notARecipe(path)]); // from a pipe
  return parseRecipe(text, { file: path });
}

/** Every key of it would be a fault of its own. */
function notARecipe(path: string): Problem {
  const message = `Cannot read "${path}" as a recipe: it is a plan, wanted a recipe`;
  return { code: "is-a-plan", message, note: 'The recipe that it was made from is in it, under "recipe"' };
}

/** Whether a file is a plan, by its content. False when it cannot be read: whoever opens it says why. */
export async function isPlanFile(path: string): Promise<boolean> {
  if (PLAN_START.test(fileStart(path, 4096))) return true;
  if (!path.endsWith(".json")) return false;
  // Whatever a tool made of it, with keys in another order.
  const text = await readTextFile(path, MAX_PLAN_BYTES).catch(() => "");
  return PLAN_MARK.test(text);
}

const MAX_PLAN_BYTES = 2_000_000_000;
const PLAN_MARK = new RegExp(`"format":\\s*"${PLAN_FORMAT}"`);
/** As `plan -o`, `plan --json` and `jq .` write it. */
const PLAN_START = new RegExp(`^\\s*\\{(\\s*"schemaVersion":\\s*\\d+,)?\\s*${PLAN_MARK.source}`);

/** Reads a plan that `chimera plan -o` wrote. Throws PlanError when it is none, or was edited. */
export async function loadPlan(path: string): Promise<BuildPlan> {
  return parsePlan(await readTextFile(path, MAX_PLAN_BYTES), path);
}

/** Checks that a text is a plan of this version, unchanged since it was made. */
export function parsePlan(text: string, path: string): BuildPlan {
  const fail = (code: string, what: string, note?: string): never => {
    throw new PlanError([{ code, message: `Cannot use plan "${path}": ${what}`, ...(note ? { note } : {}) }]);
  };
  let plan: BuildPlan | undefined;
  try {
    plan = JSON.parse(text) as BuildPlan;
  } catch (error) {
    fail("plan-json", (error as Error).message);
  }
  if (plan?.format !== PLAN_FORMAT) fail("not-a-plan", `its format is not "${PLAN_FORMAT}"`);
  if (plan!.version !== 1) fail("plan-version", `its version is ${plan!.version}, wanted 1`);
  let digest = "";
  let totals = "";
  try {
    digest = planDigest(plan!);
    // The memory of a worker is this version's own.
    const { workerBytes } = plan!.totals;
    totals = JSON.stringify({ ...totalsOf({ ...plan!, numParents: plan!.parents.length }), workerBytes });
  } catch {
    fail("plan-json", "it is incomplete");
  }
  const again = "A plan must not be edited; make a new one";
  if (digest !== plan!.digest)
    fail("plan-changed", `its content has digest ${digest}, it says ${plan!.digest}`, again);
  if (totals !== JSON.stringify(plan!.totals))
    fail("plan-changed", `its totals are not those of its shards, wanted ${totals}`, again);
  const fault = planFault(plan!);
  if (fault !== undefined) fail("plan-fault", fault, again);
  return plan!;
}
