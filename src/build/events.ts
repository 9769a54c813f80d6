/** What a build and a verification tell while they run: plain data. The engine never prints; cli/ draws these. */

/** Bytes are those of the shards that this call is to build (its part), and seconds those of the call. */
export type BuildEvent =
  | {
      kind: "started";
      shards: number;
      bytes: number;
      workers: number;
      resumed: { shards: number; bytes: number };
    }
  /** At most ten times a second. `bytesDone` counts resumed bytes too. */
  | { kind: "progress"; bytesDone: number; bytesTotal: number; shardsDone: number; shardsTotal: number }
  | { kind: "shard-written"; shard: string; byteLength: number; sha256: string; seconds: number }
  | { kind: "finishing" }
  | { kind: "finished"; location: string; shards: number; bytes: number; seconds: number };

/**
 * `progress` comes at most ten times a second, and after each shard. Bytes are those of the child's shards:
 * half of them count when a shard is hashed, half when its tensors are compared.
 */
export type VerifyEvent =
  | { kind: "started"; shards: number; bytes: number }
  | { kind: "progress"; bytesDone: number; bytesTotal: number; shard: string }
  | { kind: "finished"; ok: boolean; shards: number; bytes: number; seconds: number };
