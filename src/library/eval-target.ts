/** From what people name to the target of an evaluation: a checkpoint's folder, a recipe or plan, a reference. */
import { createHash } from "node:crypto";
import { basename, extname, resolve } from "node:path";
import { folderFingerprint } from "../checkpoint/fingerprint.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import { localTarget } from "../eval/local-target.ts";
import type { Target, TargetIdentity } from "../eval/target.ts";
import { isPlanFile, loadPlan } from "../plan/load-recipe.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import { loadModel } from "../runtime/load-model.ts";
import type { ModelOptions } from "../runtime/model-options.ts";
import { attachText } from "../runtime/talk.ts";
import { modelReference, namesChild } from "./model-source.ts";

export interface EvalTargetOptions extends ModelOptions {
  /** For tables and folders. Default: the last part of the location. */
  name?: string;
  /** Answers that are computed at a time. Default 32. Results do not depend on it. */
  slots?: number;
}

const DEFAULT_SLOTS = 32;
/** One for all ways to run a model: how a prompt is cut shows in the last bits of what follows. */
const CHUNK = 256;

/** Loads the model; whoever gets the target closes it. Throws as loadModel() does. */
export async function openEvalTarget(
  source: string | BuildPlan,
  { name, slots = DEFAULT_SLOTS, ...options }: EvalTargetOptions = {},
): Promise<Target> {
  const what = await planned(source);
  const reference = await modelReference(what);
  const identity = await identityOf(what, source, options);
  const model = await loadModel(reference, { mtp: false, sequences: slots, chunk: CHUNK, ...options });
  try {
    const text = await attachText(model);
    return localTarget(text, {
      name: name ?? nameOf(source),
      identity,
      slots,
      onClose: async () => {
        await text.close().finally(() => model.dispose());
      },
    });
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** What decides its answers; no model is loaded for it. */
export async function identifyEvalTarget(
  source: string | BuildPlan,
  options: ModelOptions = {},
): Promise<TargetIdentity> {
  return identityOf(await planned(source), source, options);
}

async function planned(source: string | BuildPlan): Promise<string | BuildPlan> {
  if (typeof source !== "string" || !namesChild(source)) return source;
  return (await isPlanFile(source)) ? loadPlan(source) : planRecipe(source);
}

export function nameOf(source: string | BuildPlan): string {
  const location = typeof source === "string" ? source : (source.recipeFile ?? "child");
  const last = basename(resolve(location));
  return namesChild(location) ? last.slice(0, last.length - extname(last).length) : last;
}

async function identityOf(
  what: string | BuildPlan,
  source: string | BuildPlan,
  { weights = "stored", cache = "f32", context }: ModelOptions,
): Promise<TargetIdentity> {
  // What changes no token is none of it: threads, slots, where experts are kept.
  // A context that is too small ends answers.
  const options = { weights, cache, ...(context === undefined ? {} : { context }) };
  if (typeof what === "string")
    return {
      kind: "checkpoint",
      location: publicLocation(what),
      digest: await folderFingerprint(what),
      options,
    };
  const location = typeof source === "string" ? source : (source.recipeFile ?? "");
  return { kind: "recipe", location, digest: await childFingerprint(what), options };
}

/** Of a plan and of what its parents hold. */
export async function childFingerprint(plan: BuildPlan): Promise<string> {
  const hash = createHash("sha256").update(`${plan.digest}\n`);
  for (const { location } of plan.parents) hash.update(`${await folderFingerprint(location)}\n`);
  return hash.digest("hex");
}
