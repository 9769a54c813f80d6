/**
 * A checkpoint that a server of static files holds. What it holds is known from a list beforehand, sizes and
 * hashes included.
 *
 * A file that is not large is fetched whole, once, and held against its hash; it lies in shared memory where
 * there is any, so that threads need not fetch it again. Of a larger one ranges are fetched as they are read.
 */
import { createHash } from "node:crypto";
import { CheckpointError } from "../base/errors.ts";
import { sharedMemory } from "../base/shared-memory.ts";
import type { Source, Store, StoreEntry } from "../checkpoint/source.ts";
import type { ListedFile } from "./models-file.ts";

/** Up to here a file is fetched whole. */
const WHOLE_BYTES = 64 << 20;

export interface HttpStoreOptions {
  /** Of its folder, with "/" at its end. */
  url: string;
  files: readonly ListedFile[];
  wholeBytes?: number;
  /** Files that are here already. */
  cached?: ReadonlyMap<string, SharedArrayBuffer>;
  fetch?: typeof fetch;
  /** Called before reads from memory, which would otherwise never let a message in. */
  pause?: () => Promise<void>;
}

export class HttpStore implements Store {
  readonly location: string;
  readonly label: string;
  readonly url: string;
  readonly files: ReadonlyMap<string, ListedFile>;
  readonly #whole = new Map<string, Promise<SharedArrayBuffer>>();
  readonly #here: Map<string, SharedArrayBuffer>;
  readonly #wholeBytes: number;
  readonly #fetch: typeof fetch;
  readonly #pause: () => Promise<void>;

  constructor(location: string, options: HttpStoreOptions) {
    this.location = location;
    this.label = location.split("/").at(-1)!;
    this.url = options.url;
    this.files = new Map(options.files.map((file) => [file.name, file]));
    this.#wholeBytes = options.wholeBytes ?? WHOLE_BYTES;
    this.#here = new Map(options.cached);
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#pause = options.pause ?? (async () => {});
  }

  /** What has been fetched whole so far. */
  get cached(): ReadonlyMap<string, SharedArrayBuffer> {
    return this.#here;
  }

  async list(): Promise<StoreEntry[]> {
    return [...this.files.values()]
      .map(({ name, byteLength }) => ({ name, byteLength }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async open(name: string): Promise<Source> {
    const file = this.files.get(name);
    if (!file) {
      const what = "the list of its files does not name it";
      throw new CheckpointError("missing", `Cannot open "${name}" of "${this.label}": ${what}`);
    }
    if (file.byteLength > this.#wholeBytes)
      return new RangeSource(file, (range) => this.#get(name, { range }));
    return new WholeSource(file, await this.#wholeFile(file), this.#pause);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const file = this.files.get(name);
    if (!file) return undefined;
    if (file.byteLength > limitBytes) {
      const what = `it holds ${file.byteLength} bytes, wanted at most ${limitBytes}`;
      throw new CheckpointError("too-large", `Cannot read "${name}" of "${this.label}": ${what}`);
    }
    return new Uint8Array(await this.#wholeFile(file)).slice();
  }

  async #wholeFile(file: ListedFile): Promise<SharedArrayBuffer> {
    const here = this.#here.get(file.name);
    if (here) return here;
    const fetching = this.#whole.get(file.name) ?? this.#fetchFresh(file);
    this.#whole.set(file.name, fetching);
    try {
      const bytes = await fetching;
      this.#here.set(file.name, bytes);
      return bytes;
    } finally {
      this.#whole.delete(file.name); // one that failed is asked for again
    }
  }

  /** What the browser has kept of an earlier visit may be older than the list: then it is asked of the server. */
  async #fetchFresh(file: ListedFile): Promise<SharedArrayBuffer> {
    try {
      return await this.#fetchWhole(file, "default");
    } catch (error) {
      if (!(error instanceof CheckpointError && error.code === "changed")) throw error;
      return this.#fetchWhole(file, "reload");
    }
  }

  async #fetchWhole(file: ListedFile, cache: Caching): Promise<SharedArrayBuffer> {
    const { name, byteLength, sha256 } = file;
    const { bytes } = await this.#get(name, { cache });
    const found = createHash("sha256").update(bytes).digest("hex");
    if (found !== sha256) {
      const what = `its SHA-256 is ${found}, wanted ${sha256}`;
      throw new CheckpointError("changed", `Cannot read "${name}" of "${this.label}": ${what}`);
    }
    const shared = sharedMemory(byteLength);
    new Uint8Array(shared).set(bytes);
    return shared;
  }

  /** A file, or a range of one. Throws CheckpointError unless the server gives so many bytes, no more and no less. */
  async #get(name: string, { range, cache = "default" }: Wish): Promise<Answer> {
    const fail = (code: string, what: string, cause?: unknown): never => {
      const message = `Cannot read "${name}" of "${this.label}": ${what}`;
      throw new CheckpointError(code, message, { cause });
    };
    const wanted = range ? range.to - range.from : this.files.get(name)!.byteLength;
    const headers = range ? { Range: `bytes=${range.from}-${range.to - 1}` } : {};
    const init = { headers, cache };
    let response: Response | undefined;
    let bytes = new Uint8Array();
    try {
      response = await this.#fetch(new URL(encodeURIComponent(name), this.url), init);
      if (response.ok) bytes = new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      fail("read-failed", `the server cannot be reached (${(error as Error).message})`, error);
    }
    const { status } = response!;
    if (status === 404) fail("missing", "the server has no such file (status 404)");
    if (!response!.ok) fail("read-failed", `the server answers with status ${status}, wanted 200`);
    if (range && status !== 206)
      fail("read-failed", `the server answers with status ${status}, wanted 206: it gives no ranges`);
    if (bytes.length !== wanted) fail("changed", `the server gives ${bytes.length} bytes, wanted ${wanted}`);
    return { bytes, etag: response!.headers.get("ETag") };
  }
}

interface ByteRange {
  from: number;
  to: number;
}

type Caching = "default" | "reload";

interface Wish {
  range?: ByteRange;
  cache?: Caching;
}

interface Answer {
  bytes: Uint8Array;
  etag: string | null;
}

abstract class ListedSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;

  constructor({ name, byteLength, sha256 }: ListedFile) {
    this.name = name;
    this.byteLength = byteLength;
    this.identity = `${byteLength}:${sha256}`;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const lacking = offset + into.length - this.byteLength;
    if (lacking > 0) {
      const what = `it ends at byte ${this.byteLength}, wanted ${lacking} more`;
      throw new CheckpointError("changed", `Cannot read "${this.name}": ${what}`);
    }
    await this.fill(into, offset);
  }

  protected abstract fill(into: Uint8Array, offset: number): Promise<void>;
  abstract checkUnchanged(): Promise<void>;
  abstract close(): Promise<void>;
}

class WholeSource extends ListedSource {
  readonly #bytes: Uint8Array;
  readonly #pause: () => Promise<void>;

  constructor(file: ListedFile, bytes: SharedArrayBuffer, pause: () => Promise<void>) {
    super(file);
    this.#bytes = new Uint8Array(bytes);
    this.#pause = pause;
  }

  protected async fill(into: Uint8Array, offset: number): Promise<void> {
    await this.#pause();
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  async checkUnchanged(): Promise<void> {} // it is ours

  async close(): Promise<void> {}
}

class RangeSource extends ListedSource {
  readonly #get: (range: ByteRange) => Promise<Answer>;
  /** Of the first answer; all others must have it. */
  #etag: string | null | undefined;

  constructor(file: ListedFile, get: (range: ByteRange) => Promise<Answer>) {
    super(file);
    this.#get = get;
  }

  protected async fill(into: Uint8Array, offset: number): Promise<void> {
    if (into.length === 0) return;
    const { bytes, etag } = await this.#get({ from: offset, to: offset + into.length });
    this.#etag ??= etag;
    if (etag !== this.#etag) {
      const what = `its ETag was ${this.#etag} and is ${etag}, wanted no change`;
      throw new CheckpointError("changed", `Cannot go on reading "${this.name}": ${what}`);
    }
    into.set(bytes);
  }

  async checkUnchanged(): Promise<void> {
    if (this.byteLength > 0) await this.fill(new Uint8Array(1), 0);
  }

  async close(): Promise<void> {}
}
