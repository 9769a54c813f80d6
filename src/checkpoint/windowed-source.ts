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
import { type Held, threadBudget, type WindowBudget } from "./window-budget.ts";
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
  /** What it may hold, with others. Default: that of the thread. */
  budget?: WindowBudget;
  /** Asks again; throws CheckpointError when the content is another. */
  checkUnchanged?: (() => Promise<void>) | undefined;
  close?: () => Promise<void>;
}

interface Fetched extends Held {
  content: Promise<Uint8Array>;
}

/** Windows that are on their way beside the one that is waited for. */
const AHEAD = 3;
/** Of an ordinary shard; what of a larger file may pass for its header. */
const LARGE_HEADER = 1 << 20;
/** Bytes of a thread that wait for those before them to be hashed. */
const MOST_EARLY = 32 << 20;

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
  readonly #budget: WindowBudget;
  /** Windows that gave way before they were read to their end: fetched again they would again. */
  readonly #crowdedOut = new Set<Window>();
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
    this.#budget = options.budget ?? threadBudget();
  }

  expect(extents: readonly Extent[]): void {
    const windows = planWindows(extents, this.#windowBytes);
    const first = windows[0];
    const end = windows.reduce((sum, { from, to }) => sum + to - from, 0);
    // All but the header is as good as all of it: its few bytes buy the check of the hash.
    const mostHeader = Math.min(this.#windowBytes, Math.max(LARGE_HEADER, this.byteLength / 64));
    const isWhole = first !== undefined && first.from <= mostHeader && first.from + end === this.byteLength;
    this.#check?.end();
    this.#check = undefined;
    if (isWhole && this.sha256 !== undefined) {
      first.from = 0;
      this.#check = new WholeCheck(this.byteLength);
    }
    this.#windows = windows;
    this.#forget();
  }

  #forget(): void {
    for (const held of this.#fetched.values()) this.#budget.remove(held);
    this.#fetched.clear();
    this.#crowdedOut.clear();
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < into.length; ) {
      const position = offset + at;
      const index = this.#indexAt(position);
      const window = this.#windows[index];
      if (window && position >= window.from && !this.#crowdedOut.has(window)) {
        const end = Math.min(window.to, offset + into.length);
        const bytes = await this.#load(index, end === window.to);
        into.set(bytes.subarray(position - window.from, end - window.from), at);
        at = end - offset;
      } else if (window && position >= window.from) {
        const end = Math.min(window.to, offset + into.length);
        await this.#reader.read(into.subarray(at, end - offset), position, this.#stop.signal);
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

  async #load(index: number, isEnd: boolean): Promise<Uint8Array> {
    const window = this.#windows[index]!;
    const fetched = this.#fetched.get(window) ?? this.#begin(window, { isWaitedFor: true });
    this.#budget.touch(fetched);
    for (const next of this.#windows.slice(index + 1, index + 1 + this.#ahead)) {
      if (this.#fetched.has(next) || this.#crowdedOut.has(next)) continue;
      if (!this.#budget.hasRoom(next.to - next.from)) break;
      this.#begin(next, { isWaitedFor: false });
    }
    const bytes = await fetched.content;
    fetched.isSpent ||= isEnd;
    return bytes;
  }

  #begin(window: Window, { isWaitedFor }: { isWaitedFor: boolean }): Fetched {
    const bytes = window.to - window.from;
    if (isWaitedFor) this.#budget.makeRoom(bytes);
    const fetched: Fetched = {
      ...{ bytes, isHere: false, isSpent: false, used: 0 },
      content: this.#fetch(window),
      drop: () => {
        this.#fetched.delete(window);
        if (!fetched.isSpent) this.#crowdedOut.add(window);
      },
    };
    fetched.content.then(
      () => {
        fetched.isHere = true;
      },
      () => {
        // Whoever reads it hears of it.
        this.#budget.remove(fetched);
        if (this.#fetched.get(window) === fetched) this.#fetched.delete(window);
      },
    );
    this.#fetched.set(window, fetched);
    this.#budget.add(fetched);
    return fetched;
  }

  async #fetch({ from, to }: Window): Promise<Uint8Array> {
    const check = this.#check;
    const bytes = new Uint8Array(to - from);
    await this.#reader.read(bytes, from, this.#stop.signal);
    check?.add(bytes, from);
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
    this.#forget();
    this.#check?.end();
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
  /** Of all files of the thread. */
  static #earlyBytes = 0;
  #hasEnded = false;
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
    if (this.#hasEnded || from < this.position || this.#early.has(from)) return; // fetched once more
    if (from > this.position && WholeCheck.#earlyBytes + bytes.length > MOST_EARLY) return;
    this.#early.set(from, bytes);
    WholeCheck.#earlyBytes += bytes.length;
    for (let next = this.#early.get(this.position); next; next = this.#early.get(this.position)) {
      this.#early.delete(this.position);
      WholeCheck.#earlyBytes -= next.length;
      this.#hash.update(next);
      this.position += next.length;
    }
  }

  /** It is no longer of use: what waited for its turn goes. */
  end(): void {
    this.#hasEnded = true;
    for (const bytes of this.#early.values()) WholeCheck.#earlyBytes -= bytes.length;
    this.#early.clear();
  }

  digest(): string {
    this.#digest ??= this.#hash.digest("hex");
    return this.#digest;
  }
}
