/** Writes one shard: assembled, hashed, made durable, recorded, and only then given its name. */
import type { OutputStore } from "../checkpoint/source.ts";
import { assembleShard, type ShardEnvironment, type ShardTask } from "./assemble-shard.ts";
import { type ShardRecord, writeRecord } from "./state.ts";
import { StreamingHash } from "./streaming-hash.ts";

export interface BuildShardEnvironment extends Omit<ShardEnvironment, "put" | "include"> {
  target: OutputStore;
  planDigest: string;
  /** Off only in benchmarks: a record without hash ends no build. */
  hash?: boolean;
  onBytes?: (bytes: number) => void;
  /** Writes past the system's cache; told of what went so. */
  onDirect?: (written: { writtenBytes: number; directWrittenBytes: number }) => void;
}

/**
 * Builds a shard under a temporary name and publishes it. On any error nothing of it remains.
 * The record is written before the rename: a shard under its final name always has its record.
 */
export async function buildShard(task: ShardTask, environment: BuildShardEnvironment): Promise<ShardRecord> {
  const { target, planDigest, onBytes, onDirect, checkpoint, sources } = environment;
  const { shard } = task;
  const sink = await target.create(shard.name, shard.byteLength, { direct: onDirect !== undefined });
  try {
    const hash = environment.hash === false ? undefined : new StreamingHash();
    const outcomes = await assembleShard(task, {
      ...environment,
      put: async (bytes, offset) => {
        const written = sink.write(bytes, offset);
        hash?.add(bytes, offset); // while the disk writes
        await written;
        onBytes?.(bytes.length);
      },
    });
    const sha256 = hash ? await hash.finish(sink, shard.byteLength, checkpoint) : "";
    await sources.checkAndClose();
    await sink.flush();
    onDirect?.({ writtenBytes: shard.byteLength, directWrittenBytes: sink.directBytes ?? 0 });
    const decided = Object.entries(outcomes).filter(([, outcome]) => outcome !== "merged");
    const record: ShardRecord = {
      shard: shard.name,
      byteLength: shard.byteLength,
      sha256,
      planDigest,
      merged: Object.keys(outcomes).length - decided.length,
      decided: Object.fromEntries(decided),
    };
    await writeRecord(target, record);
    await sink.publish({ checkpoint });
    return record;
  } finally {
    await sink.discard();
    await sources.close();
  }
}
