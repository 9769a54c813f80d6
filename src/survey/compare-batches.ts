/** How the pairs of a comparison are shared out: batches that follow the base's files. */
import { type Pair, storedBytes } from "./pair-up.ts";

export type Batch = [index: number, pair: Pair][];

/** Long enough to keep a worker reading while the next batch is on its way. */
const BATCH_BYTES = 64 << 20;
/** Batches per worker at least, so that none is left with the last one alone. */
const BATCHES_PER_WORKER = 8;

/** Pairs in the order in which the base's files have them, cut into batches. */
export function batchesOf(pairs: readonly Pair[], shardOrder: readonly string[], workers: number): Batch[] {
  const rank = new Map(shardOrder.map((shard, index) => [shard, index]));
  const order = [...pairs.entries()].sort(
    ([, { base: a }], [, { base: b }]) => rank.get(a.shard)! - rank.get(b.shard)! || a.offset - b.offset,
  );
  const bytesOf = ({ base, other }: Pair): number => storedBytes(base) + storedBytes(other);
  const total = pairs.reduce((sum, pair) => sum + bytesOf(pair), 0);
  const limit = Math.min(BATCH_BYTES, total / (workers * BATCHES_PER_WORKER));
  const batches: Batch[] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const [index, pair] of order) {
    if (bytes >= limit) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)!.push([index, pair]);
    bytes += bytesOf(pair);
  }
  return batches;
}
