/**
 * A checkpoint: config, shards and the tensors in them, known from headers alone.
 *
 * Opening reads the index and every header, never tensor data. What is malformed throws at once; what is
 * merely incomplete or contradictory between index and shards is collected in `problems`, so that an
 * inspector can show all of it and a planner can refuse all of it.
 */
import { CheckpointError, type Problem } from "../base/errors.ts";
import { mapLimited } from "../base/map-limited.ts";
import { type Dtype, numElements } from "../tensor/dtype.ts";
import { readHeader, type ShardHeader, type TensorInfo } from "./header.ts";
import { INDEX_NAME, MAX_INDEX_BYTES, parseShardIndex, type ShardIndex } from "./shard-index.ts";
import { printable, publicLocation, shown } from "./shown.ts";
import type { Store, StoreEntry } from "./source.ts";
import { scanJson } from "./strict-json.ts";

const CONFIG_NAME = "config.json";
/** Headers that are read at a time: over a network each takes two turns. */
const OPENING = 8;
const WHAT_IT_IS =
  "A checkpoint is a folder with *.safetensors files, and an index.json when there are several";

export interface Shard {
  name: string;
  /** Undefined when the index names it and it is not there. */
  header: ShardHeader | undefined;
  /** The source's identity when the header was read. */
  identity: string | undefined;
  /** Its store tells no version. */
  isUnversioned?: boolean;
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
  const label = shown(store.label);
  const config = parseConfig(await store.readSmall(CONFIG_NAME, 10_000_000), store.label);
  const indexName = only ? (only.endsWith(".json") ? only : undefined) : findIndex(entries);
  const indexBytes = indexName && (await store.readSmall(indexName, MAX_INDEX_BYTES));
  if (indexName && !indexBytes) {
    throw new CheckpointError("missing", `Cannot open "${shown(indexName)}" of "${label}": it is not there`);
  }
  const index = indexBytes ? parseShardIndex(indexBytes, `${store.label}/${indexName}`) : undefined;

  const present = new Set(entries.map(({ name }) => name));
  const shardNames = index ? [...new Set(index.weightMap.values())] : only ? [only] : looseShards(entries);
  if (shardNames.length === 0) {
    const what = `Cannot open "${printable(publicLocation(store.location))}": it holds no .safetensors file`;
    const gguf = entries.find(({ name }) => name.endsWith(".gguf"));
    const note = gguf
      ? `It holds "${shown(gguf.name)}": a GGUF is opened by the name of its file`
      : WHAT_IT_IS;
    throw new CheckpointError("missing", what, { note });
  }
  const open = (name: string) => (index && !present.has(name) ? absentShard(name) : openShard(store, name));
  const shards = await mapLimited(shardNames, OPENING, open);
  const { tensors, unread, problems } = join(shards, index?.weightMap, label);
  problems.push(...oddities({ entries, shards, only, index, label }));
  return {
    store,
    label: store.label,
    config: config?.value,
    configText: config?.text,
    shards,
    tensors,
    unread,
    totalSize: index?.totalSize,
    hasIndex: index !== undefined,
    files: entries.filter(({ name }) => !name.endsWith(".safetensors")),
    problems,
  };
}

function absentShard(name: string): Shard {
  return { name, header: undefined, identity: undefined };
}

async function openShard(store: Store, name: string): Promise<Shard> {
  const source = await store.open(name);
  try {
    const header = await readHeader(source, `${store.label}/${name}`);
    return {
      name,
      header,
      identity: source.identity,
      ...(source.isUnversioned ? { isUnversioned: true } : {}),
    };
  } finally {
    await source.close();
  }
}

function findIndex(entries: readonly StoreEntry[]): string | undefined {
  const names = entries.map(({ name }) => name).filter((name) => isVisible(name, ".safetensors.index.json"));
  return names.includes(INDEX_NAME) ? INDEX_NAME : names[0];
}

function looseShards(entries: readonly StoreEntry[]): string[] {
  const names = entries.map(({ name }) => name).filter((name) => isVisible(name, ".safetensors"));
  return names.includes("model.safetensors") ? ["model.safetensors"] : names;
}

/** Hidden files are no part of a checkpoint: macOS leaves "._model.safetensors" on foreign disks. */
function isVisible(name: string, ending: string): boolean {
  return name.endsWith(ending) && !name.startsWith(".");
}

/** Strict, as the child's config.json is made by edits of this text: no key may stand twice. */
function parseConfig(
  bytes: Uint8Array | undefined,
  label: string,
): { value: Record<string, unknown>; text: string } | undefined {
  if (!bytes) return undefined;
  const keys = new Set<string>();
  const text = scanJson(bytes, { file: `${label}/${CONFIG_NAME}`, code: "config-json" }, (scanner) =>
    scanner.object((key) => {
      if (keys.has(key)) scanner.fail(`found "${shown(key)}" twice, wanted each key once`);
      keys.add(key);
      scanner.skip();
    }),
  );
  return { value: JSON.parse(text) as Record<string, unknown>, text };
}

/** Headers and index together: every tensor once, in index order, and whatever the two disagree in. */
function join(
  shards: readonly Shard[],
  weightMap: ReadonlyMap<string, string> | undefined,
  label: string,
): Pick<Checkpoint, "tensors" | "unread" | "problems"> {
  const found = new Map<string, StoredTensor>();
  const problems: Problem[] = [];
  const report = (code: string, tensor: string, what: string) =>
    problems.push({ code, message: `Cannot place "${shown(tensor)}" of "${label}": ${what}` });
  const absent = new Set<string>();
  for (const { name: shard, header } of shards) {
    if (!header) absent.add(shard);
    for (const info of header?.tensors ?? []) {
      const { name } = info;
      const said = weightMap?.get(name);
      const other = found.get(name);
      // Of two, the one that the index names is shown; neither is used.
      if (!other || said === shard) found.set(name, Object.assign(info, { shard }));
      if (other) {
        report(
          "duplicate-tensor",
          name,
          `it is in "${shown(other.shard)}" and in "${shown(shard)}", wanted one`,
        );
      } else if (weightMap && said === undefined) {
        report("not-in-index", name, `it is in "${shown(shard)}", the index does not name it`);
      } else if (said !== undefined && said !== shard) {
        report("index-mismatch", name, `the index says "${shown(said)}", it is in "${shown(shard)}"`);
      }
    }
  }
  for (const shard of absent) {
    problems.push({
      code: "missing-shard",
      message: `Cannot open "${shown(shard)}" of "${label}": the index names it, the folder does not hold it`,
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
    else report("not-in-shard", name, `the index says "${shown(shard)}", which does not hold it`);
  }
  for (const [name, info] of found) if (!weightMap.has(name)) tensors.set(name, info);
  return { tensors, unread, problems };
}

function oddities(folder: {
  entries: readonly StoreEntry[];
  shards: readonly Shard[];
  only: string | undefined;
  index: ShardIndex | undefined;
  label: string;
}): Problem[] {
  const { entries, shards, only, index, label } = folder;
  const problems: Problem[] = [];
  const tensorBytes = shards.reduce(
    (sum, { header }) => sum + (header ? header.fileBytes - header.dataStart : NaN),
    0,
  );
  const fileBytes = shards.reduce((sum, { header }) => sum + (header?.fileBytes ?? NaN), 0);
  const said = index?.totalSize ?? tensorBytes;
  if (!Number.isNaN(tensorBytes) && said !== tensorBytes && said !== fileBytes) {
    const values = `its tensors hold ${tensorBytes} bytes, its shards ${fileBytes}`;
    const message = `Found total_size ${said} in the index of "${label}": ${values}, wanted one of these`;
    problems.push({ code: "total-size", message });
  }
  const unversioned = shards.filter(({ isUnversioned }) => isUnversioned);
  if (unversioned.length > 0) {
    const what = `the server tells neither ETag nor Last-Modified of "${shown(unversioned[0]!.name)}"`;
    const others = unversioned.length > 1 ? ` and ${unversioned.length - 1} more` : "";
    problems.push({
      code: "no-version",
      message: `Cannot tell whether "${label}" changes while it is read: ${what}${others}`,
      note: "Only a change of length is noticed: see that nobody writes to it, or pull it first",
    });
  }
  if (only) return problems;
  if (!index && shards.length > 1) {
    const message = `Found ${shards.length} shards in "${label}" and no ${INDEX_NAME}, wanted an index`;
    problems.push({ code: "no-index", message });
  }
  const named = new Set(shards.map(({ name }) => name));
  for (const { name } of entries) {
    if (isVisible(name, ".safetensors") && !named.has(name)) {
      const message = `Found "${shown(name)}" in "${label}", which no index names`;
      problems.push({ code: "stray-shard", message });
    }
  }
  return problems;
}

/** Problems that leave a checkpoint readable: for reports, never a reason to refuse. */
const HARMLESS = new Set(["no-index", "no-version", "stray-shard", "total-size"]);

/** Faults that one error tells of. */
const MOST_SHOWN = 8;

/** Opens a checkpoint that must be whole: throws CheckpointError with what is missing or contradictory. */
export async function openWholeCheckpoint(store: Store): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(store);
  const faults = checkpoint.problems.filter(({ code }) => !HARMLESS.has(code));
  if (faults.length > 0) {
    // One of each kind, then the others in order: a thousand of one kind must not hide another.
    const kinds = new Map(faults.toReversed().map((problem) => [problem.code, problem]));
    const chosen = new Set([...faults.filter((fault) => kinds.get(fault.code) === fault), ...faults]);
    const lines = [...chosen].slice(0, MOST_SHOWN).map(({ message }) => message);
    if (faults.length > lines.length) lines.push(`… and ${faults.length - lines.length} more like these`);
    const note = faults.find(({ note }) => note)?.note;
    throw new CheckpointError(faults[0]!.code, lines.join("\n"), note ? { note } : {});
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
    total.elements += numElements(shape);
    total.bytes += byteLength;
    totals.set(dtype, total);
  }
  return totals;
}
