/**
 * A checkpoint: config, shards and the tensors in them, known from headers alone.
 *
 * Opening reads the index and every header, never tensor data. What is malformed throws at once; what is
 * merely incomplete or contradictory between index and shards is collected in `problems`, so that an
 * inspector can show all of it and a planner can refuse all of it.
 */
import { CheckpointError, type Problem } from "../base/errors.ts";
import type { Dtype } from "../tensor/dtype.ts";
import { readHeader, type ShardHeader, type TensorInfo } from "./header.ts";
import { INDEX_NAME, MAX_INDEX_BYTES, parseShardIndex } from "./shard-index.ts";
import type { Store, StoreEntry } from "./source.ts";

export interface Shard {
  name: string;
  /** Undefined when the index names it and it is not there. */
  header: ShardHeader | undefined;
  /** The source's identity when the header was read. */
  identity: string | undefined;
}

/** A tensor with the shard that holds it. */
export interface StoredTensor extends TensorInfo {
  shard: string;
}

export interface Checkpoint {
  store: Store;
  /** The last part of its location, for messages. */
  label: string;
  /** Parsed config.json; undefined when there is none. */
  config: Record<string, unknown> | undefined;
  configText: string | undefined;
  shards: Shard[];
  /** Every tensor whose header was read, by name, in the order of the index (or of the shards). */
  tensors: Map<string, StoredTensor>;
  /** Names of the index whose shards are not there. */
  unread: string[];
  /** metadata.total_size of the index. */
  totalSize: number | undefined;
  hasIndex: boolean;
  /** The files that are not shards. */
  files: StoreEntry[];
  problems: Problem[];
}

export interface OpenOptions {
  /** Open this one .safetensors or index.json file of the store instead of the whole folder. */
  only?: string;
}

/** Reads index, config and headers. Throws CheckpointError for what is malformed or not there at all. */
export async function openCheckpoint(store: Store, { only }: OpenOptions = {}): Promise<Checkpoint> {
  const entries = await store.list();
  const configBytes = await store.readSmall("config.json", 10_000_000);
  const configText = configBytes && new TextDecoder().decode(configBytes);
  const indexName = only ? (only.endsWith(".json") ? only : undefined) : findIndex(entries);
  const indexBytes = indexName && (await store.readSmall(indexName, MAX_INDEX_BYTES));
  if (indexName && !indexBytes)
    throw new CheckpointError("missing", `Cannot open "${indexName}": it is not there`);
  const index = indexBytes ? parseShardIndex(indexBytes, `${store.label}/${indexName}`) : undefined;

  const present = new Set(entries.map(({ name }) => name));
  const shardNames = index ? [...new Set(index.weightMap.values())] : only ? [only] : looseShards(entries);
  if (shardNames.length === 0 && !index) {
    const note =
      "A checkpoint is a folder with *.safetensors files, and an index.json when there are several";
    throw new CheckpointError("missing", `Cannot open "${store.location}": it holds no .safetensors file`, {
      note,
    });
  }
  const shards: Shard[] = [];
  for (const name of shardNames) {
    if (!present.has(name)) {
      shards.push({ name, header: undefined, identity: undefined });
      continue;
    }
    const source = await store.open(name);
    try {
      shards.push({ name, header: await readHeader(source), identity: source.identity });
    } finally {
      await source.close();
    }
  }
  const { tensors, unread, problems } = join(shards, index?.weightMap, store.label);
  problems.push(
    ...oddities({ entries, shardNames, only, hasIndex: index !== undefined, label: store.label }),
  );
  return {
    store,
    label: store.label,
    config: configText === undefined ? undefined : parseConfig(configText, store.label),
    configText,
    shards,
    tensors,
    unread,
    totalSize: index?.totalSize,
    hasIndex: index !== undefined,
    files: entries.filter(({ name }) => !name.endsWith(".safetensors")),
    problems,
  };
}

function findIndex(entries: readonly StoreEntry[]): string | undefined {
  const names = entries.map(({ name }) => name).filter((name) => name.endsWith(".safetensors.index.json"));
  return names.includes(INDEX_NAME) ? INDEX_NAME : names[0];
}

function looseShards(entries: readonly StoreEntry[]): string[] {
  const names = entries.map(({ name }) => name).filter((name) => name.endsWith(".safetensors"));
  return names.includes("model.safetensors") ? ["model.safetensors"] : names;
}

function parseConfig(text: string, label: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(
      "config-json",
      `Cannot read "${label}/config.json": ${(error as Error).message}`,
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CheckpointError("config-json", `Cannot read "${label}/config.json": it is not an object`);
  }
  return value as Record<string, unknown>;
}

/** Headers and index together: every tensor once, in index order, and whatever the two disagree in. */
function join(
  shards: readonly Shard[],
  weightMap: ReadonlyMap<string, string> | undefined,
  label: string,
): Pick<Checkpoint, "tensors" | "unread" | "problems"> {
  const found = new Map<string, StoredTensor>();
  const problems: Problem[] = [];
  const absent = new Set<string>();
  for (const { name: shard, header } of shards) {
    if (!header) absent.add(shard);
    for (const info of header?.tensors ?? []) {
      const other = found.get(info.name);
      if (other) {
        problems.push({
          code: "duplicate-tensor",
          message: `Cannot place "${info.name}" of "${label}": it is in "${other.shard}" and in "${shard}", wanted one`,
        });
      }
      found.set(info.name, { ...info, shard });
      const said = weightMap?.get(info.name);
      if (weightMap && said === undefined) {
        problems.push({
          code: "not-in-index",
          message: `Cannot place "${info.name}" of "${label}": it is in "${shard}", the index does not name it`,
        });
      } else if (said !== undefined && said !== shard && !other) {
        problems.push({
          code: "index-mismatch",
          message: `Cannot place "${info.name}" of "${label}": the index says "${said}", it is in "${shard}"`,
        });
      }
    }
  }
  for (const shard of absent) {
    problems.push({
      code: "missing-shard",
      message: `Cannot open "${shard}" of "${label}": the index names it, the folder does not hold it`,
      note: "The download may be partial",
    });
  }
  if (!weightMap) return { tensors: found, unread: [], problems };
  const tensors = new Map<string, StoredTensor>();
  const unread: string[] = [];
  for (const [name, shard] of weightMap) {
    const info = found.get(name);
    if (info) tensors.set(name, info);
    else if (absent.has(shard)) unread.push(name);
    else {
      problems.push({
        code: "not-in-shard",
        message: `Cannot find "${name}" of "${label}": the index places it in "${shard}", which does not hold it`,
      });
    }
  }
  for (const [name, info] of found) if (!weightMap.has(name)) tensors.set(name, info);
  return { tensors, unread, problems };
}

function oddities(folder: {
  entries: readonly StoreEntry[];
  shardNames: readonly string[];
  only: string | undefined;
  hasIndex: boolean;
  label: string;
}): Problem[] {
  const { entries, shardNames, only, hasIndex, label } = folder;
  if (only) return [];
  const problems: Problem[] = [];
  if (!hasIndex && shardNames.length > 1) {
    const message = `Found ${shardNames.length} shards in "${label}" and no ${INDEX_NAME}, wanted an index`;
    problems.push({ code: "no-index", message });
  }
  for (const { name } of entries) {
    if (name.endsWith(".safetensors") && !shardNames.includes(name)) {
      problems.push({ code: "stray-shard", message: `Found "${name}" in "${label}", which no index names` });
    }
  }
  return problems;
}

/** Problems that leave a checkpoint readable: for reports, never a reason to refuse. */
const HARMLESS = new Set(["no-index", "stray-shard"]);

/** Opens a checkpoint that must be whole: throws CheckpointError with everything that is missing. */
export async function openWholeCheckpoint(store: Store): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(store);
  const faults = checkpoint.problems.filter(({ code }) => !HARMLESS.has(code));
  if (faults.length > 0) {
    const shown = faults.slice(0, 8).map(({ message }) => message);
    if (faults.length > shown.length) shown.push(`… and ${faults.length - shown.length} more of the kind`);
    const note = faults.find(({ note }) => note)?.note;
    throw new CheckpointError(faults[0]!.code, shown.join("\n"), note ? { note } : {});
  }
  return checkpoint;
}

/** Elements and bytes by dtype, in order of first appearance. */
export function totalsByDtype(
  tensors: Iterable<Pick<TensorInfo, "dtype" | "shape" | "byteLength">>,
): Map<Dtype, { tensors: number; elements: number; bytes: number }> {
  const totals = new Map<Dtype, { tensors: number; elements: number; bytes: number }>();
  for (const { dtype, shape, byteLength } of tensors) {
    const total = totals.get(dtype) ?? { tensors: 0, elements: 0, bytes: 0 };
    total.tensors += 1;
    total.elements += shape.reduce((product, dim) => product * dim, 1);
    total.bytes += byteLength;
    totals.set(dtype, total);
  }
  return totals;
}
