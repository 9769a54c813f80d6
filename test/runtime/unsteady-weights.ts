/** A source of weights whose experts take their time to come, otherwise in each thread, and sometimes do not. */
import { threadId } from "node:worker_threads";
import type { Source } from "../../src/checkpoint/source.ts";
import { openReference, type WeightReference, type WeightSource } from "../../src/logical/weight-source.ts";
import { randomFrom } from "../build/support.ts";

interface Unsteady {
  reference: WeightReference;
  /** Longest delay, in milliseconds. */
  delay: number;
  /** Share of the reads that fail. */
  failing: number;
}

export function unsteadyReference(unsteady: Unsteady): WeightReference {
  return { module: import.meta.url, data: unsteady };
}

export async function openWeights(data: Unsteady): Promise<WeightSource> {
  const { reference, delay, failing } = data;
  const source = await openReference(reference);
  const random = randomFrom(threadId);
  const unsteady = (from: Source): Source => ({
    ...{ name: from.name, byteLength: from.byteLength, identity: from.identity, alignment: from.alignment },
    read: async (into, offset) => {
      const fails = random() < failing;
      await new Promise((resolve) => setTimeout(resolve, delay * random()));
      if (fails) throw new Error("a read failed");
      await from.read(into, offset);
    },
    checkUnchanged: () => from.checkUnchanged(),
    close: () => from.close(),
  });
  return {
    ...source,
    extentOf: async (name, rows) => {
      const extent = await source.extentOf(name, rows);
      return extent && { ...extent, source: unsteady(extent.source) };
    },
  };
}
