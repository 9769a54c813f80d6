/** Shards built one after another in this very thread: instead of src/build/pool.ts. */
import { Interrupted } from "../../../base/errors.ts";
import type { ShardTask } from "../../../build/assemble-shard.ts";
import { buildShard } from "../../../build/build-shard.ts";
import type { PoolOptions } from "../../../build/pool.ts";
import { ParentSources } from "../../../build/sources.ts";
import { openOutput } from "../../../checkpoint/stores.ts";
import { createKernels } from "../../../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../../../logical/heap.ts";

export async function runPool(tasks: readonly ShardTask[], options: PoolOptions): Promise<void> {
  const { setup, signal, onBytes, onRecord } = options;
  const checkpoint = () => {
    if (signal?.aborted) throw new Interrupted("The build was stopped");
  };
  checkpoint();
  const kernels = createKernels(HEAP_BYTES, setup.kernels);
  for (const task of tasks) {
    const startedAt = performance.now();
    const record = await buildShard(task, {
      kernels,
      heap: new Heap(kernels.bytes.length),
      sources: new ParentSources(setup.parents),
      output: setup.output,
      target: openOutput(setup.location),
      planDigest: setup.planDigest,
      hash: setup.hash,
      checkpoint,
      onBytes,
    });
    onRecord(record, (performance.now() - startedAt) / 1000);
  }
}
