/** A source of weights that counts itself: a module as loadModel() takes it. */
import { openWeights as openCheckpoint } from "../../src/logical/checkpoint-weights.ts";
import type { WeightReference, WeightSource } from "../../src/logical/weight-source.ts";

/** Of this thread. */
export const counts = { opened: 0, closed: 0 };

export function countedReference(location: string): WeightReference {
  return { module: import.meta.url, data: { location } };
}

export async function openWeights(data: unknown): Promise<WeightSource> {
  const source = await openCheckpoint(data);
  counts.opened++;
  return {
    ...source,
    close: async () => {
      counts.closed++;
      await source.close();
    },
  };
}
