/**
 * A GGUF as a checkpoint: a store whose files are made of it, config.json and the tokenizer's among them, with
 * shards in which each tensor has its usual name and is decoded while it is read. So a GGUF can be a parent, be
 * inspected, compared and run like any other checkpoint, and nothing above this layer knows.
 */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "../base/shown.ts";
import { configOf } from "../gguf/config.ts";
import { type GgufModel, openGguf } from "../gguf/model.ts";
import { tokenizerFilesOf } from "../gguf/tokenizer.ts";
import { type ViewTensor, viewOf } from "../gguf/view.ts";
import { storedRanges, ViewReader } from "../gguf/view-source.ts";
import { byteLengthOf } from "../tensor/dtype.ts";
import { BytesSource } from "./bytes-source.ts";
import { encodeHeader } from "./header.ts";
import { formatShardIndex, INDEX_NAME } from "./shard-index.ts";
import type { Source, Store, StoreEntry } from "./source.ts";
import type { Extent } from "./windows.ts";

/** About as much as people ship; shards are what workers share out. */
const SHARD_BYTES = 5e9;

/** One of the shards that the file is shown as. */
interface MadeShard {
  name: string;
  header: Uint8Array;
  tensors: { tensor: ViewTensor; offset: number; byteLength: number }[];
  byteLength: number;
}

interface Made {
  model: GgufModel;
  shards: Map<string, MadeShard>;
  files: Map<string, Uint8Array>;
}

/** Whether a location is that of a GGUF, by its name. */
export function namesGguf(location: string): boolean {
  return /\.gguf$/i.test(location);
}

export class GgufStore implements Store {
  readonly label: string;
  readonly #location: string | undefined;
  readonly #folder: Store;
  readonly #file: string;
  #made: Promise<Made> | undefined;

  /** Without a location it is the file's in the folder, whose own may come to name a commit. */
  constructor(location: string | undefined, { folder, file }: { folder: Store; file: string }) {
    this.#location = location;
    this.label = file;
    this.#folder = folder;
    this.#file = file;
  }

  get location(): string {
    return this.#location ?? `${this.#folder.location}/${this.#file}`;
  }

  async list(): Promise<StoreEntry[]> {
    const { shards, files } = await this.#make();
    return [
      ...[...files].map(([name, { length }]) => ({ name, byteLength: length })),
      ...[...shards.values()].map(({ name, byteLength }) => ({ name, byteLength })),
    ].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async open(name: string): Promise<Source> {
    const { model, shards, files } = await this.#make();
    const shard = shards.get(name);
    if (shard) return new ViewSource(this.#folder, model, shard);
    const file = files.get(name);
    if (file) return new BytesSource(name, file, identityOf(model));
    throw new CheckpointError(
      "missing",
      `Cannot open "${shown(name)}" of "${shown(this.label)}": it is not there`,
    );
  }

  async readSmall(name: string): Promise<Uint8Array | undefined> {
    return (await this.#make()).files.get(name);
  }

  /** The file itself. */
  async model(): Promise<GgufModel> {
    return (await this.#make()).model;
  }

  /** Its files as they lie in their folder. */
  async stored(): Promise<{ store: Store; files: StoreEntry[] }> {
    const { files } = await this.model();
    return {
      store: this.#folder,
      files: files.map(({ name, header }) => ({ name, byteLength: header.fileBytes })),
    };
  }

  /** What bytes of one of the shards are made from, by file of the folder. */
  async storedExtents(name: string, extents: readonly Extent[]): Promise<Map<string, Extent[]>> {
    const shard = (await this.#make()).shards.get(name);
    return shard ? storedExtents(shard, extents) : new Map();
  }

  #make(): Promise<Made> {
    this.#made ??= openGguf(this.#folder, this.#file)
      .then(make)
      .catch((error) => {
        this.#made = undefined; // a server may answer the next time
        throw error;
      });
    return this.#made;
  }
}

function make(model: GgufModel): Made {
  const groups: ViewTensor[][] = [[]];
  let size = 0;
  const view = viewOf(model);
  for (const tensor of view) {
    const byteLength = byteLengthOf(tensor.dtype, tensor.shape);
    if (size > 0 && size + byteLength > SHARD_BYTES) {
      groups.push([]);
      size = 0;
    }
    groups.at(-1)!.push(tensor);
    size += byteLength;
  }
  const five = (n: number) => String(n).padStart(5, "0");
  const shards = new Map<string, MadeShard>();
  const weightMap = new Map<string, string>();
  for (const [i, tensors] of groups.entries()) {
    const isOne = groups.length === 1;
    const name = isOne ? "model.safetensors" : `model-${five(i + 1)}-of-${five(groups.length)}.safetensors`;
    shards.set(name, shardOf(name, tensors));
    for (const tensor of tensors) weightMap.set(tensor.name, name);
  }
  const encode = (value: object) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  const files = new Map([["config.json", encode(configOf(model))]]);
  for (const [name, value] of tokenizerFilesOf(model)) files.set(name, encode(value));
  if (groups.length > 1) {
    const total = view.reduce((sum, { dtype, shape }) => sum + byteLengthOf(dtype, shape), 0);
    files.set(INDEX_NAME, new TextEncoder().encode(formatShardIndex(weightMap, total)));
  }
  return { model, shards, files };
}

function shardOf(name: string, tensors: readonly ViewTensor[]): MadeShard {
  const header = encodeHeader(tensors, new Map([["format", "pt"]]));
  let offset = header.length;
  const placed = tensors.map((tensor) => {
    const entry = { tensor, offset, byteLength: byteLengthOf(tensor.dtype, tensor.shape) };
    offset += entry.byteLength;
    return entry;
  });
  return { name, header, tensors: placed, byteLength: offset };
}

/** Each shard may hold tensors of any file. */
function identityOf({ files }: GgufModel): string {
  return files.map(({ identity }) => identity).join(" ");
}

/** A shard's bytes, made as they are read. */
class ViewSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;
  readonly #folder: Store;
  readonly #model: GgufModel;
  readonly #shard: MadeShard;
  readonly #open = new Map<string, Promise<Source>>();
  readonly #reader = new ViewReader((file) => this.#file(file));
  #turn: Promise<void> = Promise.resolve();
  /** What of each file will be read, where the reader has said it. */
  #expected: Map<string, Extent[]> | undefined;

  constructor(folder: Store, model: GgufModel, shard: MadeShard) {
    this.#folder = folder;
    this.#model = model;
    this.#shard = shard;
    this.name = shard.name;
    this.byteLength = shard.byteLength;
    this.identity = identityOf(model);
  }

  /** Told to the files, as what these bytes are made from. */
  expect(extents: readonly Extent[]): void {
    this.#expected = storedExtents(this.#shard, extents);
    for (const [file, source] of this.#open)
      void source.then((opened) => this.#tell(file, opened)).catch(() => {});
  }

  #tell(file: string, source: Source): Source {
    if (this.#expected) source.expect?.(this.#expected.get(file) ?? []);
    return source;
  }

  /** One after another: the reader keeps a part between reads. */
  read(into: Uint8Array, offset: number): Promise<void> {
    const reading = this.#turn.then(() => this.#read(into, offset));
    this.#turn = reading.catch(() => {});
    return reading;
  }

  async #read(into: Uint8Array, offset: number): Promise<void> {
    const { header, tensors } = this.#shard;
    const end = offset + into.length;
    if (end > this.byteLength) {
      const what = `it ends at byte ${this.byteLength}, wanted ${end - this.byteLength} more`;
      throw new CheckpointError("changed", `Cannot read "${shown(this.name)}": ${what}`);
    }
    if (offset < header.length) into.set(header.subarray(offset, Math.min(end, header.length)));
    for (let i = firstEndingAfter(tensors, offset); i < tensors.length && tensors[i]!.offset < end; i++) {
      const { tensor, offset: start, byteLength } = tensors[i]!;
      const [from, to] = [Math.max(start, offset), Math.min(start + byteLength, end)];
      if (from < to) await this.#reader.read(tensor, into.subarray(from - offset, to - offset), from - start);
    }
  }

  async checkUnchanged(): Promise<void> {
    for (const source of this.#open.values()) await (await source).checkUnchanged();
  }

  async close(): Promise<void> {
    for (const source of this.#open.values()) await source.then((s) => s.close()).catch(() => {});
    this.#open.clear();
  }

  #file(name: string): Promise<Source> {
    const source = this.#open.get(name) ?? this.#openFile(name);
    this.#open.set(name, source);
    return source;
  }

  async #openFile(name: string): Promise<Source> {
    const source = await this.#folder.open(name);
    const known = this.#model.files.find((file) => file.name === name)?.identity;
    if (source.identity === known) return this.#tell(name, source);
    await source.close();
    // The places of its tensors are those of the header that was read then.
    const what = `size and time of change were ${known} and are ${source.identity}`;
    throw new CheckpointError("changed", `Cannot read "${shown(name)}": ${what}, wanted the file as it was`);
  }
}

/** What extents of a shard are made from, by file. */
function storedExtents({ tensors }: MadeShard, extents: readonly Extent[]): Map<string, Extent[]> {
  const stored = new Map<string, Extent[]>();
  for (const { offset, byteLength } of extents) {
    const end = offset + byteLength;
    for (let i = firstEndingAfter(tensors, offset); i < tensors.length && tensors[i]!.offset < end; i++) {
      const { tensor, offset: start, byteLength: size } = tensors[i]!;
      const range = { from: Math.max(0, offset - start), to: Math.min(size, end - start) };
      for (const { file, ...extent } of storedRanges(tensor, range)) {
        const known = stored.get(file) ?? [];
        known.push(extent);
        stored.set(file, known);
      }
    }
  }
  return stored;
}

/** Index of the first tensor that ends behind a position. */
function firstEndingAfter(tensors: MadeShard["tensors"], position: number): number {
  let [low, high] = [0, tensors.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tensors[middle]!.offset + tensors[middle]!.byteLength > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** What a store is made of, where that is a GGUF. */
export function ggufOf(store: Store): GgufStore | undefined {
  return store instanceof GgufStore ? store : undefined;
}

/** The store of a GGUF in a folder. Whether it exists is seen when it is used. */
export function openGgufStore(location: string | undefined, at: { folder: Store; file: string }): Store {
  return new GgufStore(location, at);
}
