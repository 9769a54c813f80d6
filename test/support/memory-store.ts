/**
 * A store in memory, for tests of whatever reads through a Store or writes through an OutputStore.
 *
 * It behaves as a folder does (test/checkpoint/output-store.case.ts holds both to one suite): files under
 * temporary names lie in ".chimera/", a published file replaces one of its name, an open source does not
 * see a replacement until it asks. A quota stands in for a full disk.
 */
import { BuildError, CheckpointError } from "../../src/base/errors.ts";
import type { OutputStore, Sink, Source, StoreEntry } from "../../src/checkpoint/source.ts";

export interface MemoryFile {
  bytes: Uint8Array;
  version: number;
}

export interface MemoryStoreOptions {
  label?: string;
  /** Bytes that all files together may hold; writing beyond is a full disk. */
  quotaBytes?: number;
}

export class MemoryStore implements OutputStore {
  readonly location: string;
  readonly label: string;
  /** Every file, also those under ".chimera/". Change it to play a change on disk. */
  readonly files: Map<string, MemoryFile> = new Map();
  /** Bytes asked for by read(), of all sources: for tests of what is read. */
  bytesRead = 0;
  readonly #quotaBytes: number;
  #versions = 0;
  #prepared = false;

  constructor(
    files: Record<string, Uint8Array | string> | Map<string, Uint8Array | string> = {},
    { label = "memory", quotaBytes = Number.POSITIVE_INFINITY }: MemoryStoreOptions = {},
  ) {
    this.label = label;
    this.location = `memory:${label}`;
    this.#quotaBytes = quotaBytes;
    const entries = files instanceof Map ? files : Object.entries(files);
    for (const [name, content] of entries) this.put(name, content);
  }

  /** Puts a file there at once, as another program would. */
  put(name: string, content: Uint8Array | string): void {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    this.files.set(name, { bytes, version: ++this.#versions });
  }

  async list(): Promise<StoreEntry[]> {
    return (await this.listUnder("")).filter(({ name }) => !name.includes("/"));
  }

  async open(name: string): Promise<Source> {
    const file = this.files.get(name);
    if (!file)
      throw new CheckpointError("missing", `Cannot open "${name}" of "${this.label}": there is no such file`);
    return new MemorySource(this, name, file);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const bytes = this.files.get(name)?.bytes;
    if (bytes && bytes.length > limitBytes) {
      const what = `it holds ${bytes.length} bytes, wanted at most ${limitBytes} bytes`;
      throw new CheckpointError("too-large", `Cannot read "${name}" of "${this.label}": ${what}`);
    }
    return bytes?.slice();
  }

  async checkPlace(): Promise<void> {}

  async strangers(): Promise<string[]> {
    return [];
  }

  async prepare(): Promise<void> {
    this.#prepared = true;
  }

  async create(name: string, byteLength: number): Promise<Sink> {
    return new MemorySink(this, name, this.#temporary(name, new Uint8Array(byteLength), 0));
  }

  async writeSmall(name: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.#temporary(name, bytes.slice(), bytes.length);
    this.rename(temporary, name);
  }

  async claim(name: string, text: string): Promise<boolean> {
    if (this.files.has(name)) return false;
    await this.writeSmall(name, new TextEncoder().encode(text));
    return true;
  }

  async remove(name: string): Promise<void> {
    this.files.delete(name);
  }

  async listUnder(prefix: string): Promise<StoreEntry[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    return [...this.files]
      .filter(([name]) => name.startsWith(prefix) && !name.slice(folder.length).includes("/"))
      .map(([name, { bytes }]) => ({ name, byteLength: bytes.length }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async removeState(): Promise<void> {
    for (const name of [...this.files.keys()]) if (name.startsWith(".chimera/")) this.files.delete(name);
    this.#prepared = false;
  }

  async freeBytes(): Promise<number | undefined> {
    return Number.isFinite(this.#quotaBytes) ? Math.max(0, this.#quotaBytes - this.#used) : undefined;
  }

  #used = 0;

  #temporary(name: string, bytes: Uint8Array, written: number): string {
    if (!this.#prepared)
      throw new BuildError("write-failed", `Cannot write "${name}": prepare() was not called`);
    this.charge(written, name);
    const temporary = `.chimera/${name.slice(name.lastIndexOf("/") + 1)}.${++this.#versions}.tmp`;
    this.put(temporary, bytes);
    return temporary;
  }

  /** @internal Counts written bytes against the quota. */
  charge(byteLength: number, name: string): void {
    if (this.#used + byteLength > this.#quotaBytes) {
      throw new BuildError("disk-full", `Cannot write "${name}": the disk is full`);
    }
    this.#used += byteLength;
  }

  /** @internal */
  rename(from: string, to: string): void {
    this.put(to, this.files.get(from)!.bytes);
    this.files.delete(from);
  }
}

class MemorySource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;
  readonly #store: MemoryStore;
  #file: MemoryFile | undefined;

  constructor(store: MemoryStore, name: string, file: MemoryFile) {
    this.#store = store;
    this.name = name;
    this.#file = file;
    this.byteLength = file.bytes.length;
    this.identity = identityOf(file);
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    if (!this.#file) throw new Error(`internal: "${this.name}" was read after it was closed`);
    const part = this.#file.bytes.subarray(offset, offset + into.length);
    this.#store.bytesRead += into.length;
    into.set(part);
    if (part.length === into.length) return;
    const what = `it ends at byte ${this.#file.bytes.length}, wanted ${into.length - part.length} more`;
    throw new CheckpointError("changed", `Cannot read "${this.name}": ${what}`);
  }

  async checkUnchanged(): Promise<void> {
    const file = this.#store.files.get(this.name);
    if (file && identityOf(file) === this.identity) return;
    throw new CheckpointError("changed", `Cannot go on reading "${this.name}": it changed, wanted no change`);
  }

  async close(): Promise<void> {
    this.#file = undefined;
  }
}

function identityOf({ bytes, version }: MemoryFile): string {
  return `${bytes.length}:${version}`;
}

class MemorySink implements Sink {
  readonly name: string;
  readonly #store: MemoryStore;
  readonly #temporary: string;
  #state: "open" | "flushed" | "published" | "discarded" = "open";

  constructor(store: MemoryStore, name: string, temporary: string) {
    this.#store = store;
    this.name = name;
    this.#temporary = temporary;
  }

  #bytes(): Uint8Array {
    if (this.#state === "open") return this.#store.files.get(this.#temporary)!.bytes;
    throw new Error(`internal: "${this.name}" is ${this.#state}, wanted open`);
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    const into = this.#bytes();
    this.#store.charge(bytes.length, this.name);
    into.set(bytes, offset);
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    into.set(this.#bytes().subarray(offset, offset + into.length));
  }

  async flush(): Promise<void> {
    this.#bytes();
    this.#state = "flushed";
  }

  async publish(): Promise<void> {
    if (this.#state !== "flushed")
      throw new Error(`internal: "${this.name}" is ${this.#state}, wanted flushed`);
    this.#store.rename(this.#temporary, this.name);
    this.#state = "published";
  }

  async discard(): Promise<void> {
    if (this.#state === "published") return;
    this.#state = "discarded";
    this.#store.files.delete(this.#temporary);
  }
}
