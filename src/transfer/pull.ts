/**
 * Fetches what a plan says into a folder, piece by piece: stopped or killed, it goes on where it was. A shard gets its
 * name when all that is wanted of it is there, and when its hash is right where it is whole and the hash is known.
 */
import { createHash } from "node:crypto";
import { BuildError, CheckpointError, Interrupted } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import { mapLimited } from "../base/map-limited.ts";
import { acquireLock } from "../checkpoint/lock.ts";
import {
  endPull,
  leavePull,
  lengthOf,
  PartialFile,
  preparePull,
  type Run,
  removePulled,
  writePulledFile,
} from "../checkpoint/node-partial.ts";
import { openFolder, readPulled } from "../checkpoint/node-source.ts";
import { PULLED_NAME, type PulledRecord } from "../checkpoint/pulled.ts";
import { printable } from "../checkpoint/shown.ts";
import type { Source, Store } from "../checkpoint/source.ts";
import { underSignal } from "../checkpoint/stopping.ts";
import { openOutput } from "../checkpoint/stores.ts";
import { planWindows, type Window } from "../checkpoint/windows.ts";
import { type PullFile, type PullPlan, sizeOf } from "./pull-plan.ts";

export type PullEvent =
  | { kind: "started"; source: string; bytes: number; shards: number }
  | { kind: "progress"; bytesDone: number; bytesTotal: number; file: string }
  | { kind: "pulled"; file: string; byteLength: number; isWhole: boolean }
  | { kind: "finished"; folder: string; bytes: number };

export interface PullOptions {
  signal?: AbortSignal;
  onEvent?: (event: PullEvent) => void;
}

export interface PullReport {
  folder: string;
  source: string;
  /** Fetched now, and found from before. */
  fetchedBytes: number;
  foundBytes: number;
  isWhole: boolean;
}

/** Requests under way. */
const UNDER_WAY = 4;
const HASHED_BYTES = 4 << 20;

/** Throws CheckpointError, BuildError, Interrupted; what is complete is kept. */
export async function pull(plan: PullPlan, folder: string, options: PullOptions = {}): Promise<PullReport> {
  return underSignal(options.signal, () => pullInto(plan, folder, options));
}

async function pullInto(plan: PullPlan, folder: string, options: PullOptions): Promise<PullReport> {
  const target = openOutput(folder);
  await target.checkPlace();
  preparePull(target.location);
  const lock = await acquireLock(target, { from: 0, to: 1 }, { verb: "pull", doing: "working" });
  try {
    const before = readPulled(target.location);
    await requireOwn(plan, before, folder);
    const free = await target.freeBytes();
    if (free !== undefined && free < plan.bytes - presentBytes(plan, target.location))
      throw new BuildError(
        "disk-space",
        `Cannot pull into "${folder}": ${formatBytes(free)} are free, wanted ${formatBytes(plan.bytes)}`,
      );
    return await new Pulling(plan, { ...options, folder: target.location, before }).run();
  } finally {
    await lock.release();
    leavePull(target.location);
  }
}

/** Another checkpoint's folder is not written into. */
async function requireOwn(plan: PullPlan, before: PulledRecord | undefined, folder: string): Promise<void> {
  if (before === undefined || before.source === plan.source) return;
  throw new BuildError(
    "other-source",
    `Cannot pull into "${folder}": it holds parts of ${before.source}, wanted ${plan.source}`,
    { note: "The branch may have moved: name the commit, or take another folder" },
  );
}

function presentBytes({ shards }: PullPlan, folder: string): number {
  const whole = shards.filter(({ name, byteLength }) => lengthOf(folder, name) === byteLength);
  return whole.reduce((sum, { windows }) => sum + sizeOf(windows), 0);
}

class Pulling {
  readonly #plan: PullPlan;
  readonly #folder: string;
  readonly #before: PulledRecord | undefined;
  readonly #options: PullOptions;
  #done = 0;
  #found = 0;

  constructor(plan: PullPlan, options: PullOptions & { folder: string; before: PulledRecord | undefined }) {
    this.#plan = plan;
    this.#folder = options.folder;
    this.#before = options.before;
    this.#options = options;
  }

  async run(): Promise<PullReport> {
    const { source, bytes, shards, others, store } = this.#plan;
    const { onEvent } = this.#options;
    onEvent?.({ kind: "started", source, bytes, shards: shards.length });
    await this.#requireSame();
    // Before the first shard has its name: nobody may take a hole for weights, nor go on with another commit.
    const kept = this.#writeRecord();
    for (const { name, byteLength } of others) {
      this.#checkStop();
      const isOurs = this.#before !== undefined && lengthOf(this.#folder, name) === byteLength;
      if (isOurs) this.#found += byteLength;
      else writePulledFile(this.#folder, name, await readOther(store, { name, byteLength }));
      this.#tell(byteLength, name);
    }
    for (const file of shards) await this.#pullShard(file, kept.get(file.name));
    const isWhole = kept.size === 0;
    endPull(this.#folder);
    if (isWhole) removePulled(this.#folder);
    onEvent?.({ kind: "finished", folder: this.#folder, bytes });
    const fetchedBytes = this.#done - this.#found;
    return { folder: this.#folder, source, fetchedBytes, foundBytes: this.#found, isWhole };
  }

  /** Lists what will be there of each shard of which a part is wanted; with what was there before. */
  #writeRecord(): Map<string, Run[]> {
    const runs = new Map<string, Run[]>();
    for (const { name, byteLength, windows, isWhole } of this.#plan.shards) {
      const old = this.#before?.shards[name];
      const isThere = lengthOf(this.#folder, name) === byteLength;
      if (isWhole || (isThere && old === undefined)) continue;
      runs.set(
        name,
        joined([...windows.map(({ from, to }): Run => [from, to]), ...((isThere && old) || [])]),
      );
    }
    // A shard that was partial stays listed as it was until it has its new content.
    const said = { ...Object.fromEntries(runs) };
    for (const [name, old] of Object.entries(this.#before?.shards ?? {}))
      if (lengthOf(this.#folder, name) !== undefined) said[name] = old;
    this.#write(said);
    return runs;
  }

  /**
   * Shards that lie there without a record of ours: of a pull that ended, or of another checkpoint, whose shards have
   * the same names and sizes as a rule.
   */
  async #requireSame(): Promise<void> {
    if (this.#before !== undefined) return;
    for (const { name, byteLength } of this.#plan.shards) {
      if (lengthOf(this.#folder, name) !== byteLength) continue;
      const [theirs, ours] = [await this.#plan.store.open(name), await openFolder(this.#folder).open(name)];
      try {
        const isSame =
          theirs.sha256 !== undefined &&
          (await this.#hashOf({ byteLength, read: (into, at) => ours.read(into, at) })) === theirs.sha256;
        if (isSame) continue;
      } finally {
        await Promise.all([theirs.close(), ours.close()]);
      }
      const what = theirs.sha256 === undefined ? "which may be another's" : "which is another's";
      throw new BuildError(
        "other-source",
        `Cannot pull into "${this.#folder}": it holds "${name}", ${what}, wanted what ${this.#plan.source} has`,
        { note: "Take another folder, or remove what is there" },
      );
    }
  }

  #write(shards: Record<string, Run[]>): void {
    const record: PulledRecord = { version: 1, source: this.#plan.source, shards };
    writePulledFile(this.#folder, PULLED_NAME, `${JSON.stringify(record)}\n`);
  }

  async #pullShard(file: PullFile, runs: Run[] | undefined): Promise<void> {
    this.#checkStop();
    const { name, byteLength, windows, isWhole } = file;
    const old = this.#before?.shards[name];
    const isThere = lengthOf(this.#folder, name) === byteLength;
    if (isThere && (old === undefined || covers(old, windows))) {
      this.#found += sizeOf(windows);
      this.#tell(sizeOf(windows), name);
      return;
    }
    const source = await this.#plan.store.open(name);
    const stop = () => void source.close().catch(() => {}); // requests that are under way end
    this.#options.signal?.addEventListener("abort", stop);
    try {
      const partial = new PartialFile(this.#folder, {
        ...{ name, byteLength, identity: source.identity },
        known: isThere ? old : undefined,
      });
      try {
        await this.#fetch(file, { source, partial });
        if (isWhole) await this.#check(source, partial);
        await source.checkUnchanged();
      } catch (error) {
        partial.close();
        this.#checkStop();
        throw error;
      }
      partial.publish();
    } finally {
      this.#options.signal?.removeEventListener("abort", stop);
      await source.close();
    }
    if (old !== undefined || runs !== undefined) this.#listNow(name, runs);
    this.#options.onEvent?.({ kind: "pulled", file: name, byteLength, isWhole });
  }

  /** What is there of a shard, now that it has its name. */
  #listNow(name: string, runs: Run[] | undefined): void {
    const shards = { ...(readPulled(this.#folder)?.shards ?? {}) };
    if (runs === undefined) delete shards[name];
    else shards[name] = runs;
    this.#write(shards);
  }

  async #fetch(
    { name, windows }: PullFile,
    { source, partial }: { source: Source; partial: PartialFile },
  ): Promise<void> {
    const there = joined(partial.runs);
    const missing = planWindows(windows.flatMap((window) => without(window, there)));
    const present = Math.max(0, sizeOf(windows) - sizeOf(missing));
    this.#found += present;
    this.#tell(present, name);
    await mapLimited(missing, UNDER_WAY, async ({ from, to }) => {
      this.#checkStop();
      const bytes = new Uint8Array(to - from);
      await source.read(bytes, from);
      await partial.add(bytes, from);
      this.#tell(bytes.length, name);
    });
  }

  /** A whole shard is what the store says it is. */
  async #check({ sha256, byteLength, name }: Source, partial: PartialFile): Promise<void> {
    if (sha256 === undefined) return;
    const found = await this.#hashOf({
      byteLength,
      read: async (into, offset) => partial.read(into, offset),
    });
    if (found === sha256) return;
    partial.forget();
    throw new CheckpointError("damaged", `Cannot use "${name}": its SHA-256 is ${found}, wanted ${sha256}`, {
      note: "It was damaged on its way or where it lies; pull again",
    });
  }

  async #hashOf({
    byteLength,
    read,
  }: Pick<Source, "byteLength"> & { read: Source["read"] }): Promise<string> {
    const hash = createHash("sha256");
    const buffer = new Uint8Array(Math.min(HASHED_BYTES, byteLength));
    for (let from = 0; from < byteLength; from += buffer.length) {
      this.#checkStop();
      const some = buffer.subarray(0, Math.min(buffer.length, byteLength - from));
      await read(some, from);
      hash.update(some);
      await new Promise((resume) => setImmediate(resume)); // a signal gets its turn
    }
    return hash.digest("hex");
  }

  #tell(bytes: number, file: string): void {
    this.#done += bytes;
    this.#options.onEvent?.({ kind: "progress", bytesDone: this.#done, bytesTotal: this.#plan.bytes, file });
  }

  #checkStop(): void {
    if (this.#options.signal?.aborted)
      throw new Interrupted("What is complete is kept: the same command goes on from there");
  }
}

/** A file beside the shards, of the length that it is to have. */
async function readOther(
  store: Store,
  { name, byteLength }: { name: string; byteLength: number },
): Promise<Uint8Array> {
  const content = await store.readSmall(name, byteLength);
  if (content?.length === byteLength) return content;
  const what = content ? `${content.length} bytes came, wanted ${byteLength}` : "it is not there";
  throw new CheckpointError("bad-answer", `Cannot pull "${printable(name)}": ${what}`);
}

/** Runs without gaps or overlaps, ascending. */
export function joined(runs: readonly Run[]): Run[] {
  const whole: Run[] = [];
  for (const [from, to] of [...runs].sort((a, b) => a[0] - b[0])) {
    const last = whole.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else whole.push([from, to]);
  }
  return whole;
}

/** What of a window lies in no run. */
function without({ from, to }: Window, runs: readonly Run[]): { offset: number; byteLength: number }[] {
  const missing: { offset: number; byteLength: number }[] = [];
  let at = from;
  for (const [start, end] of runs) {
    if (end <= at || start >= to) continue;
    if (start > at) missing.push({ offset: at, byteLength: start - at });
    at = end;
  }
  if (at < to) missing.push({ offset: at, byteLength: to - at });
  return missing;
}

/** Whether runs, joined, hold all windows. */
function covers(runs: readonly Run[], windows: readonly Window[]): boolean {
  return windows.every(({ from, to }) => runs.some((run) => run[0] <= from && run[1] >= to));
}
