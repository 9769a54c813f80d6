/** Which rule takes a tensor and why, with the base at hand when it is there: its config says what names mean. */
import { architectureOf } from "../arch/architecture.ts";
import { weightNameOf } from "../arch/scale-names.ts";
import { CheckpointError } from "../base/errors.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { openStore } from "../checkpoint/stores.ts";
import { type Explanation, explainTensor } from "../recipe/explain.ts";
import type { Recipe, Rule } from "../recipe/recipe.ts";
import { layersSelected } from "../recipe/selector.ts";
import { parentLocation, type Whereabouts } from "./parents.ts";

export interface ExplainedTensor {
  explanation: Explanation;
  /** False when the base is not there: names were then read as DeepSeek-V3's, and layers are unknown. */
  baseFound: boolean;
  /** Whether the base holds the tensor; undefined when the base is not there. */
  exists?: boolean;
}

/** Explains one tensor of a recipe. A scale is explained as the weight it belongs to. */
export async function explainInBase(
  recipe: Recipe,
  tensorName: string,
  whereabouts: Whereabouts = {},
): Promise<ExplainedTensor> {
  const ref = recipe.parents.find(({ name }) => name === recipe.base)!;
  try {
    const base = await openCheckpoint(openStore(parentLocation(recipe, ref, whereabouts)));
    const arch = architectureOf(base.config);
    const names = base.tensors.size > 0 ? [...base.tensors.keys()] : base.unread;
    const present = new Set(names);
    const weight = weightNameOf(tensorName);
    const name = weight !== undefined && present.has(weight) ? weight : tensorName;
    const exists = present.has(tensorName);
    const tensors = names.map((each) => ({ name: each, place: arch.locate(each) }));
    const selectedLayers = (rule: Rule) => layersSelected(rule, tensors);
    // A tensor that is not there may stand in a layer that no rule selects.
    const explanation = explainTensor(recipe, arch.locate(name), name, exists ? { selectedLayers } : {});
    return { explanation, baseFound: true, exists };
  } catch (error) {
    if (!(error instanceof CheckpointError) || error.code !== "missing") throw error;
    const arch = architectureOf({ model_type: "deepseek_v3" });
    return { explanation: explainTensor(recipe, arch.locate(tensorName), tensorName), baseFound: false };
  }
}
