/**
 * model.safetensors.index.json: which shard holds which tensor.
 *
 * Its file names are untrusted: they may name only files of the same folder. metadata.total_size may be
 * missing (DeepSeek's cast script leaves it out). Parsed with the strict scanner, so that a name that
 * stands twice is seen; indexes of 60 MB exist.
 */
import { CheckpointError } from "../base/errors.ts";
import { JsonFault, JsonScanner } from "./strict-json.ts";

export const INDEX_NAME = "model.safetensors.index.json";
/** Twice the largest seen (60 MB, 497,000 tensors), and then some. */
export const MAX_INDEX_BYTES = 200_000_000;

export interface ShardIndex {
  /** Tensor name -> shard, in file order. */
  weightMap: Map<string, string>;
  /** metadata.total_size when it is a whole number. */
  totalSize: number | undefined;
}

/** Throws CheckpointError for anything but a well-formed index. */
export function parseShardIndex(bytes: Uint8Array, file: string): ShardIndex {
  const weightMap = new Map<string, string>();
  let totalSize: number | undefined;
  let found = false;
  try {
    const scanner = new JsonScanner(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    scanner.object((key) => {
      if (key === "weight_map") {
        if (found) scanner.fail('found "weight_map" twice');
        found = true;
        scanner.object((name) => {
          if (weightMap.has(name)) scanner.fail(`found "${name}" twice in weight_map`);
          weightMap.set(name, shardName(scanner.string(), name, file));
        });
      } else if (key === "metadata" && scanner.peek() === 0x7b) {
        scanner.object((field) => {
          // A few writers give the size as a float or a string; it is a check, not a need.
          const value = Number(scanner.skip());
          if (field === "total_size" && Number.isSafeInteger(value)) totalSize = value;
        });
      } else scanner.skip();
    });
    scanner.end();
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const what =
      error instanceof JsonFault ? `${error.message} (at character ${error.offset})` : "it is not UTF-8";
    throw new CheckpointError("index-json", `Cannot read "${file}": ${what}`);
  }
  if (!found) throw new CheckpointError("index-json", `Cannot read "${file}": it has no weight_map`);
  return { weightMap, totalSize };
}

function shardName(shard: string, tensor: string, file: string): string {
  const plain =
    shard !== "" && shard !== "." && shard !== ".." && !/[/\\\0]/.test(shard) && !/^[a-z]:/i.test(shard);
  if (plain) return shard;
  throw new CheckpointError(
    "index-path",
    `Cannot read "${file}": it places "${tensor}" in "${shard}", wanted a file of the same folder`,
    { note: "An index may not lead out of its checkpoint" },
  );
}

/** The text of an index: two-space indent and a final newline, as the reference writers make it. */
export function formatShardIndex(weightMap: ReadonlyMap<string, string>, totalSize: number): string {
  const lines = [...weightMap].map(
    ([name, shard]) => `    ${JSON.stringify(name)}: ${JSON.stringify(shard)}`,
  );
  return `{\n  "metadata": {\n    "total_size": ${totalSize}\n  },\n  "weight_map": {\n${lines.join(",\n")}\n  }\n}\n`;
}
