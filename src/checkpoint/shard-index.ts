/**
 * model.safetensors.index.json: which shard holds which tensor.
 *
 * Its file names are untrusted: they may name only *.safetensors files of the same folder, since a child
 * may be written with its parent's names. metadata.total_size may be missing (DeepSeek's cast script
 * leaves it out). Parsed with the strict scanner, so that a name that stands twice is seen; indexes of
 * 60 MB exist.
 */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "./shown.ts";
import { type JsonScanner, scanJson } from "./strict-json.ts";

export const INDEX_NAME = "model.safetensors.index.json";
/** Twice the largest seen (60 MB, 497,000 tensors), and then some. */
export const MAX_INDEX_BYTES = 200_000_000;
/** Six hundred times the largest seen (163). */
export const MAX_SHARDS = 100_000;
/** File systems take 255 bytes; temporary names and records of a build add to a name. */
const MAX_NAME_BYTES = 200;
const OPEN_BRACE = 0x7b;

export interface ShardIndex {
  /** Tensor name -> shard, in file order. */
  weightMap: Map<string, string>;
  /** metadata.total_size when it is a whole number. */
  totalSize: number | undefined;
}

/** Throws CheckpointError for anything but a well-formed index. */
export function parseShardIndex(bytes: Uint8Array, file: string): ShardIndex {
  const weightMap = new Map<string, string>();
  const shards = new Set<string>();
  let totalSize: number | undefined;
  const scanWeightMap = (scanner: JsonScanner) =>
    scanner.object((name) => {
      if (weightMap.has(name)) scanner.fail(`found "${shown(name)}" twice in weight_map`);
      const shard = scanner.string();
      if (!shards.has(shard)) {
        checkShardName(shard, name, file);
        shards.add(shard);
        if (shards.size > MAX_SHARDS) scanner.fail(`found more than ${MAX_SHARDS} shards`);
      }
      weightMap.set(name, shard);
    });
  const keys = new Set<string>();
  scanJson(bytes, { file, code: "index-json" }, (scanner) =>
    scanner.object((key) => {
      if (keys.has(key)) scanner.fail(`found "${shown(key)}" twice, wanted each key once`);
      keys.add(key);
      if (key === "weight_map") scanWeightMap(scanner);
      else if (key === "metadata" && scanner.peek() === OPEN_BRACE) totalSize = scanTotalSize(scanner);
      else scanner.skip();
    }),
  );
  if (weightMap.size > 0) return { weightMap, totalSize };
  const what = keys.has("weight_map") ? "its weight_map is empty" : "it has no weight_map";
  throw new CheckpointError("index-json", `Cannot read "${shown(file)}": ${what}`);
}

/** A few writers give the size as a float or a string; it is a check, not a need. */
function scanTotalSize(scanner: JsonScanner): number | undefined {
  let totalSize: number | undefined;
  const fields = new Set<string>();
  scanner.object((field) => {
    if (fields.has(field)) scanner.fail(`found "${shown(field)}" twice in metadata, wanted each key once`);
    fields.add(field);
    const value = Number(scanner.skip());
    if (field === "total_size" && Number.isSafeInteger(value) && value >= 0) totalSize = value;
  });
  return totalSize;
}

/**
 * Whether an index or a plan may name a shard so. A path would lead out of the folder; another name could
 * stand over a child's config or index.
 */
export function isShardName(shard: string): boolean {
  const short = shard.length <= MAX_NAME_BYTES && new TextEncoder().encode(shard).length <= MAX_NAME_BYTES;
  return short && /^[^.].*\.safetensors$/.test(shard) && !/^[a-z]:|[/\\\p{Cc}]/iu.test(shard);
}

function checkShardName(shard: string, tensor: string, file: string): void {
  if (isShardName(shard)) return;
  throw new CheckpointError(
    "index-path",
    `Cannot read "${shown(file)}": it places "${shown(tensor)}" in "${shown(shard)}", ` +
      `wanted a *.safetensors file of the same folder with a name of at most ${MAX_NAME_BYTES} bytes`,
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
