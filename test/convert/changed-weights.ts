/** A checkpoint with one weight that is changed: a maker of weights as logical/checkpoint-weights.ts is one. */
import { openWeights as openCheckpoint } from "../../src/logical/checkpoint-weights.ts";
import type { WeightSource } from "../../src/logical/weight-source.ts";

interface Change {
  location: string;
  name: string;
  /** Of the first element. */
  value?: number;
  isMissing?: boolean;
  shape?: number[];
}

export async function openWeights(data: unknown): Promise<WeightSource> {
  const { location, name, value, isMissing, shape } = data as Change;
  const source = await openCheckpoint({ location });
  const weights = new Map(source.weights);
  const weight = weights.get(name)!;
  if (isMissing) weights.delete(name);
  else if (shape) weights.set(name, { ...weight, shape });
  else weights.set(name, { ...weight, dtype: "F32", hasScale: false });
  return {
    ...source,
    weights,
    read: async (of, rows, into) => {
      if (of !== name || value === undefined) return source.read(of, rows, into);
      new Float32Array(into.buffer, into.byteOffset, into.length / 4)[0] = value;
      return undefined;
    },
  };
}
