/**
 * The modules that make weights are all in the bundle: instead of src/logical/import-weights.ts. The bundler
 * makes `import.meta.url` of a module of the engine its name (scripts/browser-bundle.mjs).
 */
import * as virtualChild from "../../../build/virtual-child.ts";
import * as checkpointWeights from "../../../logical/checkpoint-weights.ts";
import type { WeightModule } from "../../../logical/weight-source.ts";

export async function importWeights(module: string): Promise<WeightModule> {
  const known: Record<string, WeightModule> = {
    "chimera:build/virtual-child.ts": virtualChild,
    "chimera:logical/checkpoint-weights.ts": checkpointWeights,
  };
  const found = known[module];
  if (!found) throw new Error(`internal: no module "${module}" is in the bundle`);
  return found;
}
