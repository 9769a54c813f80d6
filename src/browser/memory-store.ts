/**
 * A folder in memory: where a child is built that no disk holds. It behaves as a folder does: temporary names lie in
 * the state folder, a published file replaces one of its name, an open source notices that.
 *
 * Files lie in shared memory where there is any, so that threads read them too.
 */
import { BuildError, CheckpointError } from "../base/errors.ts";
import { sharedMemory } from "../base/shared-memory.ts";
import {
  type OutputStore,
  type Sink,
  type Source,
  STATE_FOLDER,
  type StoreEntry,
} from "../checkpoint/source.ts";

interface MemoryFile {
  bytes: Uint8Array;
  version: number;
}

export interface MemoryStoreOptions {
  /** Files that are there from the start, the bytes not copied. */
  files?: ReadonlyMap<string, SharedArrayBuffer>;
  /** Called before reads and writes, which would otherwise never let a message in. */
  pause?: () => Promise<void>;
}

export class MemoryStore implements OutputStore {
  readonly location: string;
  readonly label: string;
  readonly #files = new Map<string, MemoryFile>();
  readonly #pause: () => Promise<void>;
  #versions = 0;
  #isPrepared = false;

  constructor(location: string, { files, pause = async () => {} }: MemoryStoreOptions = {}) {
    this.location = location;
    this.label = location.split("/").at(-1)!;
    this.#pause = pause;
    for (const [name, bytes] of files ?? []) this.#put(name, new Uint8Array(bytes));
  }

  /** Every file that has its name, for another thread. */
  get files(): ReadonlyMap<string, SharedArrayBuffer> {
    const named = [...this.#files].filter(([name]) => !name.includes("/"));
    return new Map(named.map(([name, { bytes }]) => [name, bytes.buffer as SharedArrayBuffer]));
  }

  #put(name: string, bytes: Uint8Array): void {
    this.#files.set(name, { bytes, version: ++this.#versions });
  }

  async list(): Promise<StoreEntry[]> {
    return this.listUnder("");
  }

  async listUnder(prefix: string): Promise<StoreEntry[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    return [...this.#files]
      .filter(([name]) => name.startsWith(prefix) && !name.slice(folder.length).includes("/"))
      .map(([name, { bytes }]) => ({ name, byteLength: bytes.length }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async open(name: string): Promise<Source> {
    const file = this.#files.get(name);
    if (file) return new MemorySource(name, file, { now: () => this.#files.get(name), pause: this.#pause });
    throw new CheckpointError("missing", `Cannot open "${name}" of "${this.label}": there is no such file`);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const bytes = this.#files.get(name)?.bytes;
    if (bytes && bytes.length > limitBytes) {
      const what = `it holds ${bytes.length} bytes, wanted at most ${limitBytes}`;
      throw new CheckpointError("too-large", `Cannot read "${name}" of "${this.label}": ${what}`);
    }
    return bytes?.slice();
  }

  async checkPlace(): Promise<void> {}

  async strangers(): Promise<string[]> {
    return [];
  }

  async prepare(): Promise<void> {
    this.#isPrepared = true;
  }

  async create(name: string, byteLength: number): Promise<Sink> {
    const temporary = this.#temporary(name, byteLength);
    return new MemorySink(name, this.#files.get(temporary)!.bytes, {
      publish: () => this.#rename(temporary, name),
      discard: () => this.#files.delete(temporary),
      pause: this.#pause,
    });
  }

  async writeSmall(name: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.#temporary(name, bytes.length);
    this.#files.get(temporary)!.bytes.set(bytes);
    this.#rename(temporary, name);
  }

  async claim(name: string, text: string): Promise<boolean> {
    if (this.#files.has(name)) return false;
    await this.writeSmall(name, new TextEncoder().encode(text));
    return true;
  }

  async remove(name: string): Promise<void> {
    this.#files.delete(name);
  }

  async removeState(): Promise<void> {
    for (const name of [...this.#files.keys()])
      if (name.startsWith(`${STATE_FOLDER}/`)) this.#files.delete(name);
    this.#isPrepared = false;
  }

  async freeBytes(): Promise<number | undefined> {
    return undefined;
  }

  #temporary(name: string, byteLength: number): string {
    if (!this.#isPrepared)
      throw new BuildError("write-failed", `Cannot write "${name}": prepare() was not called`);
    const temporary = `${STATE_FOLDER}/${name.slice(name.lastIndexOf("/") + 1)}.${this.#versions}.tmp`;
    this.#put(temporary, this.#allocate(name, byteLength));
    return temporary;
  }

  #allocate(name: string, byteLength: number): Uint8Array {
    try {
      return new Uint8Array(sharedMemory(byteLength));
    } catch (cause) {
      const what = `there is no memory for its ${byteLength} bytes`;
      throw new BuildError("disk-full", `Cannot write "${name}" of "${this.label}": ${what}`, { cause });
    }
  }

  #rename(from: string, to: string): void {
    this.#put(to, this.#files.get(from)!.bytes);
    this.#files.delete(from);
  }
}

class MemorySource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;
  readonly #now: () => MemoryFile | undefined;
  readonly #pause: () => Promise<void>;
  #bytes: Uint8Array | undefined;

  constructor(
    name: string,
    file: MemoryFile,
    { now, pause }: { now: () => MemoryFile | undefined; pause: () => Promise<void> },
  ) {
    this.name = name;
    this.byteLength = file.bytes.length;
    this.identity = identityOf(file);
    this.#bytes = file.bytes;
    this.#now = now;
    this.#pause = pause;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    await this.#pause();
    if (!this.#bytes) throw new Error(`internal: "${this.name}" was read after it was closed`);
    const part = this.#bytes.subarray(offset, offset + into.length);
    into.set(part);
    if (part.length === into.length) return;
    const what = `it ends at byte ${this.byteLength}, wanted ${into.length - part.length} more`;
    throw new CheckpointError("changed", `Cannot read "${this.name}": ${what}`);
  }

  async checkUnchanged(): Promise<void> {
    const file = this.#now();
    if (file && identityOf(file) === this.identity) return;
    throw new CheckpointError("changed", `Cannot go on reading "${this.name}": it changed, wanted no change`);
  }

  async close(): Promise<void> {
    this.#bytes = undefined;
  }
}

function identityOf({ bytes, version }: MemoryFile): string {
  return `${bytes.length}:${version}`;
}

interface SinkEnds {
  publish: () => void;
  discard: () => void;
  pause: () => Promise<void>;
}

class MemorySink implements Sink {
  readonly name: string;
  readonly #bytes: Uint8Array;
  readonly #ends: SinkEnds;
  #state: "open" | "flushed" | "published" | "discarded" = "open";

  constructor(name: string, bytes: Uint8Array, ends: SinkEnds) {
    this.name = name;
    this.#bytes = bytes;
    this.#ends = ends;
  }

  #require(state: "open" | "flushed"): void {
    if (this.#state !== state) throw new Error(`internal: "${this.name}" is ${this.#state}, wanted ${state}`);
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    this.#require("open");
    this.#bytes.set(bytes, offset); // before the pause: the caller goes on with its buffer when this settles
    await this.#ends.pause();
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    this.#require("open");
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  async flush(): Promise<void> {
    this.#require("open");
    this.#state = "flushed";
  }

  async publish(): Promise<void> {
    this.#require("flushed");
    this.#ends.publish();
    this.#state = "published";
  }

  async discard(): Promise<void> {
    if (this.#state === "published") return;
    this.#state = "discarded";
    this.#ends.discard();
  }
}
