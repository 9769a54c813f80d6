/**
 * A source whose bytes are dear to ask for: on a server, or on a disk that is read past the system's cache. What its
 * reader has said it will read is fetched in windows, some of them ahead; all else is asked for as it is read.
 *
 * A file that is fetched whole is checked against its hash, where its store has told one.
 */
import { createHash } from "node:crypto";
import { CheckpointError } from "../base/errors.ts";
import { printable } from "./shown.ts";
import type { Source } from "./source.ts";
import { type Extent, planWindows, WINDOW_BYTES, type Window } from "./windows.ts";

/** Who brings bytes. Several reads may be under way. */
export interface WindowReader {
  /** Fills `into` from `offset`. Throws CheckpointError, or Interrupted when the signal fired. */
  read(into: Uint8Array, offset: number, signal?: AbortSignal): Promise<void>;
}

export interface WindowedOptions {
  name: string;
  byteLength: number;
  identity: string;
  /** Of the whole content, in hex. */
  sha256?: string | undefined;
  reader: WindowReader;
  /** A read at the most. */
  windowBytes?: number;
  /** Reads that are under way beside the one that is waited for. */
  ahead?: number;
  /** Asks again; throws CheckpointError when the content is another. */
  checkUnchanged?: (() => Promise<void>) | undefined;
  close?: () => Promise<void>;
}

interface Fetched extends Window {
  bytes: Promise<Uint8Array>;
  /** When it was last wanted, or foreseen. */
  used: number;
}

/** Windows that are on their way beside the one that is waited for. */
const AHEAD = 3;
/** Windows that are kept, for a tensor may be read twice. */
const KEPT = 8;
/** Of an ordinary shard; what of a larger file may pass for its header. */
const LARGE_HEADER = 1 << 20;
/** Bytes that wait for those before them to be hashed. */
const MOST_EARLY = 128 << 20;

export class WindowedSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;
  readonly sha256: string | undefined;
  readonly #reader: WindowReader;
  readonly #options: WindowedOptions;
  readonly #windowBytes: number;
  readonly #ahead: number;
  readonly #stop = new AbortController();
  #windows: Window[] = [];
  readonly #fetched = new Map<Window, Fetched>();
  #clock = 0;
  #check: WholeCheck | undefined;

  constructor(options: WindowedOptions) {
    this.name = options.name;
    this.byteLength = options.byteLength;
    this.identity = options.identity;
    this.sha256 = options.sha256;
    this.#reader = options.reader;
    this.#options = options;
    this.#windowBytes = options.windowBytes ?? WINDOW_BYTES;
    this.#ahead = options.ahead ?? AHEAD;
  }

  expect(extents: readonly Extent[]): void {
    const windows = planWindows(extents, this.#windowBytes);
    const first = windows[0];
    const end = windows.reduce((sum, { from, to }) => sum + to - from, 0);
    // All but the header is as good as all of it: its few bytes buy the check of the hash.
    const mostHeader = Math.min(this.#windowBytes, Math.max(LARGE_HEADER, this.byteLength / 64));
    const isWhole = first !== undefined && first.from <= mostHeader && first.from + end === this.byteLength;
    this.#check = undefined;
    if (isWhole && this.sha256 !== undefined) {
      first.from = 0;
      this.#check = new WholeCheck(this.byteLength);
    }
    this.#windows = windows;
    this.#fetched.clear();
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < into.length; ) {
      const position = offset + at;
      const index = this.#indexAt(position);
      const window = this.#windows[index];
      if (window && position >= window.from) {
        const end = Math.min(window.to, offset + into.length);
        const bytes = await this.#load(index);
        into.set(bytes.subarray(position - window.from, end - window.from), at);
        at = end - offset;
      } else {
        const end = Math.min(window?.from ?? Number.POSITIVE_INFINITY, offset + into.length);
        await this.#reader.read(into.subarray(at, end - offset), position, this.#stop.signal);
        at = end - offset;
      }
    }
  }

  /** The first window that ends behind a position. */
  #indexAt(position: number): number {
    let [low, high] = [0, this.#windows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#windows[middle]!.to > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  async #load(index: number): Promise<Uint8Array> {
    for (const window of this.#windows.slice(index, index + 1 + this.#ahead)) this.#begin(window);
    return this.#fetched.get(this.#windows[index]!)!.bytes;
  }

  /** Begins to fetch a window, or keeps it from giving way to those that are begun next. */
  #begin(window: Window): void {
    const known = this.#fetched.get(window);
    if (known) {
      known.used = ++this.#clock;
      return;
    }
    const bytes = this.#fetch(window);
    bytes.catch(() => this.#fetched.delete(window)); // whoever reads it hears of it
    this.#fetched.set(window, { ...window, bytes, used: ++this.#clock });
    let held = 0;
    for (const { from, to } of this.#fetched.values()) held += to - from;
    const oldest = [...this.#fetched].sort(([, a], [, b]) => a.used - b.used);
    for (const [key, { from, to }] of oldest.slice(0, -1 - this.#ahead)) {
      if (held <= KEPT * this.#windowBytes) break;
      held -= to - from;
      this.#fetched.delete(key);
    }
  }

  async #fetch({ from, to }: Window): Promise<Uint8Array> {
    const bytes = new Uint8Array(to - from);
    await this.#reader.read(bytes, from, this.#stop.signal);
    this.#check?.add(bytes, from);
    return bytes;
  }

  async checkUnchanged(): Promise<void> {
    const found = await this.#wholeDigest();
    if (found !== undefined && found !== this.sha256) {
      const hashes = `its SHA-256 is ${found}, wanted ${this.sha256}`;
      throw new CheckpointError("damaged", `Cannot use "${printable(this.name)}": ${hashes}`, {
        note: "It was damaged on its way, or where it lies; run the same command again",
      });
    }
    await this.#options.checkUnchanged?.();
  }

  /** Of the whole, once all of it was read. What came long before its turn is fetched again. */
  async #wholeDigest(): Promise<string | undefined> {
    const check = this.#check;
    if (!check?.hasSeenAll) return undefined;
    while (!check.isComplete) await this.#fetch(this.#windows[this.#indexAt(check.position)]!);
    return check.digest();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#fetched.clear();
    await this.#options.close?.();
  }
}

/** Hashes windows in their order, whatever order they come in. Few are held until it is their turn. */
class WholeCheck {
  readonly #hash = createHash("sha256");
  readonly #byteLength: number;
  readonly #early = new Map<number, Uint8Array>();
  readonly #seen = new Set<number>();
  #seenBytes = 0;
  #earlyBytes = 0;
  #digest: string | undefined;
  /** Up to here it is hashed. */
  position = 0;

  constructor(byteLength: number) {
    this.#byteLength = byteLength;
  }

  get hasSeenAll(): boolean {
    return this.#seenBytes === this.#byteLength;
  }

  get isComplete(): boolean {
    return this.position === this.#byteLength;
  }

  add(bytes: Uint8Array, from: number): void {
    if (!this.#seen.has(from)) this.#seenBytes += bytes.length;
    this.#seen.add(from);
    if (from < this.position || this.#early.has(from)) return; // fetched once more
    if (from > this.position && this.#earlyBytes + bytes.length > MOST_EARLY) return;
    this.#early.set(from, bytes);
    this.#earlyBytes += bytes.length;
    for (let next = this.#early.get(this.position); next; next = this.#early.get(this.position)) {
      this.#early.delete(this.position);
      this.#earlyBytes -= next.length;
      this.#hash.update(next);
      this.position += next.length;
    }
  }

  digest(): string {
    this.#digest ??= this.#hash.digest("hex");
    return this.#digest;
  }
}
