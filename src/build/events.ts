/** What a build tells while it runs: plain data. The engine never prints; cli/ draws these. */
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
