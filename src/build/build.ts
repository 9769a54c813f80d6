/**
 * Running a plan: check the folder, take the lock, build what is missing, finish.
 *
 * Everything that lies under a final name is complete; everything else is in the state folder, which goes
 * when the child is finished. So a build that was killed goes on from what is complete and ends with the
 * same bytes, and `chimera.json`, written last, marks a whole child.
 */
import { createHash } from "node:crypto";
import { BuildError, Interrupted } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import { realLocation } from "../checkpoint/node.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import { openOutput, openStore } from "../checkpoint/stores.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { availableParallelism } from "node:os";
import type { ShardTask } from "./assemble-shard.ts";
import { CHILD_NAME, type ChildRecord, childRecord, readChildRecord } from "./child.ts";
import type { BuildEvent } from "./events.ts";
import { acquireLock } from "./lock.ts";
import { modelCard } from "./model-card.ts";
import { otherFiles } from "./other-files.ts";
import { runPool } from "./pool.ts";
import { beginState, completeShards, removeLeftovers, type ShardRecord, STATE_FOLDER, stateDigest } from "./state.ts";

export interface BuildOptions {
  /** Worker threads. Default: one per core, at most one per shard. */
  workers?: number;
  /** Build only part `index` (from 0) of `count`; finishing is then another call, with `finish: true`. */
  part?: { index: number; count: number };
  /** Build nothing, only finish: throws BuildError "parts-missing" while shards are missing. */
  finish?: boolean;
  /** Replace what another build of ours left in the folder. Files of others are never touched. */
  force?: boolean;
  /** Check everything, write nothing. */
  dryRun?: boolean;
  signal?: AbortSignal;
  onEvent?: (event: BuildEvent) => void;
  kernels?: "auto" | "wasm" | "scalar";
}

export interface BuildReport {
  location: string;
  /** False for a part, a dry run, or when shards of other parts are still missing. */
  finished: boolean;
  shards: { total: number; written: number; resumed: number };
  /** Bytes written by this call. */
  writtenBytes: number;
  seconds: number;
  planDigest: string;
}

/**
 * Builds a child into a folder. Resumes by itself an unfinished build of the same plan.
 *
 * Throws BuildError ("not-empty", "other-build", "inside-parent", "locked", "disk-space", "disk-full",
 * "not-finite"), CheckpointError ("changed", "not-finite", "bad-scale", …), or Interrupted when the signal
 * fired; what was complete is kept in each case.
 */
export async function build(plan: BuildPlan, location: string, options: BuildOptions = {}): Promise<BuildReport> {
  const startedAt = performance.now();
  const target = openOutput(location);
  const emit = options.onEvent ?? (() => {});
  const range = partRange(plan, options.part);
  refuseParents(plan, target);
  if (await prepareTarget(target, plan, options)) return report({ finished: true, resumed: plan.shards.length });
  const wanted = options.finish ? [] : plan.shards.slice(range.from, range.to);
  const before = await completeShards(target, plan);
  await checkSpace(target, plan, { wanted: wanted.filter(({ name }) => !before.has(name)) });
  if (options.dryRun) return report({ finished: false, resumed: before.size });

  await beginState(target, plan);
  // Finishing touches everything, so it holds the lock of everything.
  const lock = await acquireLock(target, options.finish ? { from: 0, to: plan.shards.length } : range);
  try {
    const done = await completeShards(target, plan);
    const missing = wanted.filter(({ name }) => !done.has(name));
    await removeLeftovers(target, wanted.map(({ name }) => name));
    const written = await buildShards(plan, missing, { target, options, emit, done, wanted });
    const records = await completeShards(target, plan);
    const absent = plan.shards.filter(({ name }) => !records.has(name)).map(({ name }) => name);
    if (options.finish && absent.length > 0) throw partsMissing(plan, target, absent);
    if (options.signal?.aborted) throw new Interrupted("The build was stopped; what is complete is kept");
    const finished = absent.length === 0 && options.part === undefined;
    if (finished) {
      emit({ kind: "finishing" });
      await finishChild(plan, target, records);
    }
    const result = report({ finished, resumed: wanted.length - missing.length, written });
    const { seconds } = result;
    if (finished) {
      emit({ kind: "finished", location: target.location, shards: plan.shards.length, bytes: plan.totals.writeBytes, seconds });
    }
    return result;
  } finally {
    await lock.release();
  }

  function report(done: { finished: boolean; resumed: number; written?: readonly ShardRecord[] }): BuildReport {
    const written = done.written ?? [];
    return {
      location: target.location,
      finished: done.finished,
      shards: { total: plan.shards.length, written: written.length, resumed: done.resumed },
      writtenBytes: written.reduce((sum, { byteLength }) => sum + byteLength, 0),
      seconds: (performance.now() - startedAt) / 1000,
      planDigest: plan.digest,
    };
  }
}

/** Shards of a part: contiguous, as even as can be. A part of more parts than shards may be empty. */
export function partRange(plan: BuildPlan, part: BuildOptions["part"]): { from: number; to: number } {
  const total = plan.shards.length;
  if (!part) return { from: 0, to: total };
  const { index, count } = part;
  if (!Number.isInteger(count) || !Number.isInteger(index) || index < 0 || index >= count) {
    throw new RangeError(`Cannot build part ${index} of ${count}: wanted a part from 0 to ${count - 1}`);
  }
  return { from: Math.floor((index * total) / count), to: Math.floor(((index + 1) * total) / count) };
}

/** The output may not be a parent, nor lie inside one. */
function refuseParents(plan: BuildPlan, target: OutputStore): void {
  const out = realLocation(target.location);
  for (const { name, location } of plan.parents) {
    const parent = realLocation(location);
    if (out !== parent && !out.startsWith(`${parent}/`)) continue;
    const what = out === parent ? "it is" : "it lies inside";
    throw new BuildError("inside-parent", `Cannot build in "${target.location}": ${what} parent "${name}", wanted another folder`);
  }
}

/** Checks what the folder holds. True when the very child is there already. */
async function prepareTarget(target: OutputStore, plan: BuildPlan, options: BuildOptions): Promise<boolean> {
  const child = await readChildRecord(target);
  const unfinished = await stateDigest(target);
  const mine = unfinished === plan.digest || child?.planDigest === plan.digest;
  if (child && unfinished === undefined && mine && !options.force) {
    await requireWhole(target, child);
    return true;
  }
  const ours = new Set<string>([CHILD_NAME, ...plan.shards.map(({ name }) => name)]);
  for (const { name } of child?.shards ?? []) ours.add(name);
  for (const name of Object.keys(child?.files ?? {})) ours.add(name);
  const isOurs = child !== undefined || unfinished !== undefined;
  const entries = await target.list();
  // While finishing, files appear before chimera.json does: ours, if the state says so.
  const strange = entries.find(({ name }) => !isOurs || (!ours.has(name) && unfinished === undefined));
  if (strange) {
    throw new BuildError("not-empty", `Cannot build in "${target.location}": it holds "${strange.name}", wanted an empty folder`, {
      note: "A build never touches files that are not its own",
    });
  }
  if (isOurs && !mine && !options.force) {
    const what = child && unfinished === undefined ? "a finished child" : "an unfinished build";
    const digests = `${(unfinished ?? child?.planDigest)?.slice(0, 12)}…, wanted ${plan.digest.slice(0, 12)}…`;
    throw new BuildError("other-build", `Cannot build in "${target.location}": it holds ${what} of plan ${digests}`, {
      note: "Recipe or parents have changed. Take another folder, or --force to replace it",
    });
  }
  if (isOurs && options.force && !options.dryRun) await removeOurs(target, child, unfinished, plan);
  return false;
}

/** A finished child that lost a file since has no journal any more to go on from. */
async function requireWhole(target: OutputStore, child: ChildRecord): Promise<void> {
  const present = new Map((await target.list()).map(({ name, byteLength }) => [name, byteLength]));
  const shard = child.shards.find(({ name, byteLength }) => present.get(name) !== byteLength);
  const lost = shard?.name ?? Object.keys(child.files).find((name) => !present.has(name));
  if (lost === undefined) return;
  throw new BuildError("damaged", `Cannot use "${target.location}": its file "${lost}" is missing or has another size`, {
    note: "The child was finished and changed since; --force builds it again",
  });
}

async function removeOurs(
  target: OutputStore,
  child: ChildRecord | undefined,
  unfinished: string | undefined,
  plan: BuildPlan,
): Promise<void> {
  // A live build must not lose its state to an impatient second one.
  if (unfinished !== undefined) await (await acquireLock(target, { from: 0, to: plan.shards.length })).release();
  await target.remove(CHILD_NAME);
  for (const name of Object.keys(child?.files ?? {})) await target.remove(name);
  for (const { name } of child?.shards ?? []) await target.remove(name);
  for (const { name } of await target.listUnder(`${STATE_FOLDER}/`)) {
    const shard = /^\.chimera\/(.+\.safetensors)\.json$/.exec(name)?.[1];
    if (shard) await target.remove(shard);
  }
  await target.removeState();
}

/** Room for what small files come to; they are copied last. */
const SMALL_FILES_BYTES = 64e6;

async function checkSpace(
  target: OutputStore,
  plan: BuildPlan,
  { wanted }: { wanted: readonly { byteLength: number }[] },
): Promise<void> {
  const needed = wanted.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const free = await target.freeBytes();
  // A child of the small kind needs no room to spare.
  const spare = Math.min(SMALL_FILES_BYTES, plan.totals.writeBytes);
  if (free === undefined || needed === 0 || free >= needed + spare) return;
  throw new BuildError(
    "disk-space",
    `Cannot build in "${target.location}": ${formatBytes(free)} are free, wanted ${formatBytes(needed + spare)}`,
    { note: `${needed + spare - free} bytes are missing` },
  );
}

interface ShardsContext {
  target: OutputStore;
  options: BuildOptions;
  emit: (event: BuildEvent) => void;
  done: ReadonlyMap<string, ShardRecord>;
  wanted: BuildPlan["shards"];
}

async function buildShards(
  plan: BuildPlan,
  missing: BuildPlan["shards"],
  { target, options, emit, done, wanted }: ShardsContext,
): Promise<ShardRecord[]> {
  const bytesTotal = wanted.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const resumed = wanted.filter(({ name }) => done.has(name));
  const resumedBytes = resumed.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const workers = Math.max(1, Math.min(options.workers ?? availableParallelism(), missing.length));
  const counts = { shards: resumed.length, bytes: resumedBytes };
  emit({ kind: "started", shards: wanted.length, bytes: bytesTotal, workers, resumed: counts });
  const written: ShardRecord[] = [];
  let bytesDone = resumedBytes;
  let toldAt = 0;
  const tell = () => {
    toldAt = performance.now();
    const shardsDone = resumed.length + written.length;
    emit({ kind: "progress", bytesDone, bytesTotal, shardsDone, shardsTotal: wanted.length });
  };
  await runPool(missing.map((shard) => taskOf(plan, shard)), {
    setup: {
      parents: plan.parents,
      output: plan.output,
      planDigest: plan.digest,
      location: target.location,
      kernels: options.kernels ?? "auto",
      hash: true,
    },
    workers,
    ...(options.signal ? { signal: options.signal } : {}),
    onBytes: (bytes) => {
      bytesDone += bytes;
      if (performance.now() - toldAt >= 100) tell();
    },
    onRecord: (record, seconds) => {
      written.push(record);
      const { shard, byteLength, sha256 } = record;
      emit({ kind: "shard-written", shard, byteLength, sha256, seconds });
      tell();
    },
  });
  return written;
}

/** A shard with just the merges it needs: what travels to a worker. */
export function taskOf(plan: BuildPlan, shard: BuildPlan["shards"][number]): ShardTask {
  const merges: ShardTask["merges"] = {};
  for (const { action } of shard.tensors) {
    if (action.kind === "merge") merges[action.merge] = plan.merges[action.merge]!;
  }
  return { shard, merges };
}

function partsMissing(plan: BuildPlan, target: OutputStore, absent: readonly string[]): BuildError {
  const shown = absent.slice(0, 5).join(", ") + (absent.length > 5 ? ", …" : "");
  return new BuildError(
    "parts-missing",
    `Cannot finish "${target.location}": ${absent.length} of ${plan.shards.length} shards are missing (${shown})`,
    { note: "Build the parts that are missing, or run the build without --finish" },
  );
}

/** All that is not a shard, then the child's record, and the state folder goes. */
async function finishChild(
  plan: BuildPlan,
  target: OutputStore,
  records: ReadonlyMap<string, ShardRecord>,
): Promise<void> {
  const stores = plan.parents.map(({ location }) => openStore(location));
  const files = await otherFiles(plan, stores);
  files.set("README.md", new TextEncoder().encode(modelCard(plan, { licence: undefined })));
  const hashes = new Map<string, string>();
  for (const [name, bytes] of files) {
    await target.writeSmall(name, bytes);
    hashes.set(name, createHash("sha256").update(bytes).digest("hex"));
  }
  const record = childRecord(plan, records, hashes);
  await target.writeSmall(CHILD_NAME, new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`));
  await target.removeState();
}
