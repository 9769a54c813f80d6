/** Pairs measured one after another in this very thread: instead of src/survey/compare-pool.ts. */
import { Interrupted } from "../../../base/errors.ts";
import { createKernels } from "../../../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../../../logical/heap.ts";
import type { Batch } from "../../../survey/compare-batches.ts";
import type { PoolOptions } from "../../../survey/compare-pool.ts";
import { measurePair, type PairResult } from "../../../survey/measure-pair.ts";
import { Shards } from "../../../survey/shards.ts";

export async function runPool(batches: readonly Batch[], options: PoolOptions): Promise<void> {
  const { setup, signal, onBytes, onMeasured } = options;
  const kernels = createKernels(HEAP_BYTES, setup.kernels);
  const shards = new Shards(setup.sides);
  const environment = {
    kernels,
    heap: new Heap(kernels.bytes.length),
    shards,
    sample: setup.sample,
    checkpoint: () => {
      if (signal?.aborted) throw new Interrupted("The comparison was stopped");
    },
    onBytes,
  };
  for (const batch of batches) {
    const results: PairResult[] = [];
    for (const [index, pair] of batch) {
      environment.checkpoint();
      results.push({ index, ...(await measurePair(pair, environment)) });
    }
    onMeasured(results);
  }
  await shards.checkAndClose();
}
