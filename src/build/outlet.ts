/**
 * Where the shards of a child go while it is built, when that is not the folder alone: uploaded as they are finished, and
 * perhaps taken out of the folder, so that a child needs no disk for the whole of it.
 *
 * The build asks before it begins a shard, tells of every one that is complete, and hands over all other files at last.
 * What it is told is there need not lie in the folder.
 */
import type { OutputStore } from "../checkpoint/source.ts";

/** A complete shard. */
export interface FinishedShard {
  shard: string;
  byteLength: number;
  sha256: string;
}

export interface Outlet {
  /** Where it is, as openStore() takes it. */
  readonly location: string;
  /** Shards in work or in the folder at a time, at the most; without end where they stay there. */
  readonly mostLocal: number;
  /** Whether it is there, so that it may be missing in the folder. */
  holds(shard: FinishedShard): boolean;
  /** Called once, before all others but holds(). `local`: complete in the folder, and not yet there. */
  begin(target: OutputStore, local: readonly FinishedShard[]): void;
  /** Resolves when another shard may be begun, which it counts. Throws when sending has failed. */
  room(): Promise<void>;
  /** A shard has got its name in the folder. */
  add(shard: FinishedShard): void;
  /** Resolves when all that was added is there. Throws when sending has failed. */
  drain(): Promise<void>;
  /** drain(), and all other files of the child, which come last. */
  finish(files: ReadonlyMap<string, Uint8Array>): Promise<void>;
  /** Ends what is under way; safe to call twice. */
  stop(): Promise<void>;
}
