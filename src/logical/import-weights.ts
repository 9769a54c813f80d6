/** The module behind a reference. A file of its own, since a bundle has no modules to import by their URL. */
import type { WeightModule } from "./weight-source.ts";

export async function importWeights(module: string): Promise<WeightModule> {
  return (await import(module)) as WeightModule;
}
