/**
 * Running a plan: check the folder, take the lock, build what is missing, finish.
 *
 * Everything that lies under a final name is complete; everything else is in the state folder, which goes
 * when the child is finished. So a build that was killed goes on from what is complete and ends with the
 * same bytes, and `chimera.json`, written last, marks a whole child.
 */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { BuildError, CheckpointError, Interrupted } from "../base/errors.ts";
import { acquireLock } from "../checkpoint/lock.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import { tidying, underSignal } from "../checkpoint/stopping.ts";
import { openOutput, openStore } from "../checkpoint/stores.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { ShardTask } from "./assemble-shard.ts";
import { CHILD_NAME, type ChildRecord, childRecord } from "./child.ts";
import type { DirectOptions, DirectReport } from "./direct.ts";
import type { BuildEvent } from "./events.ts";
import { cardFacts, modelCard, statedLicence } from "./model-card.ts";
import { otherFiles } from "./other-files.ts";
import type { FinishedShard, Outlet } from "./outlet.ts";
import { runPool } from "./pool.ts";
import { checkParents } from "./sources.ts";
import {
  beginState,
  completeShards,
  readState,
  recordFiles,
  recordOutlet,
  removeLeftovers,
  type ShardRecord,
} from "./state.ts";
import {
  checkSpace,
  inspectTarget,
  isComplete,
  otherBuild,
  reclaimable,
  refuseParents,
  removeOurs,
  sweep,
} from "./target-folder.ts";

export interface BuildOptions {
  /**
   * Worker threads, of 40 MiB of buffers each, and of parents that lie elsewhere up to 128 MiB of what was fetched.
   * Default: one per core, at most one per shard.
   */
  workers?: number;
  /** Build only part `index` (from 0) of `count`; finishing is then another call, with `finish: true`. Not with `force`. */
  part?: { index: number; count: number };
  /** Build nothing, only finish: throws BuildError "parts-missing" while shards are missing. */
  finish?: boolean;
  /** Replace what another build of ours left in the folder. Files of others are never touched. */
  force?: boolean;
  /** Check everything, write nothing. */
  dryRun?: boolean;
  /** Stops the workers between two pieces; the build can be resumed. */
  signal?: AbortSignal;
  /** Called on the caller's thread. What it throws ends the build, which can be resumed. */
  onEvent?: (event: BuildEvent) => void;
  /** For a location that is no folder: where shards are put together. Default: the system's folder for temporary files. */
  staging?: string;
  /** Takes shards elsewhere as they are finished; the build ends it. */
  outlet?: Outlet;
  /** "auto": WASM where it runs. Both give the same bytes. */
  kernels?: "auto" | "wasm" | "scalar";
  /** Reads parents and writes shards past the system's cache, where the file systems can. */
  direct?: DirectOptions;
}

export interface BuildReport {
  /** Absolute path of the child's folder, or s3://… */
  location: string;
  /** False for a part, a dry run, or when shards of other parts are still missing. */
  finished: boolean;
  /** Of the whole child; written by this call; found complete by it, of its part. */
  shards: { total: number; written: number; resumed: number };
  /** Bytes written by this call. */
  writtenBytes: number;
  seconds: number;
  planDigest: string;
  /** With `direct`: what went past the cache. */
  direct?: DirectReport;
}

/**
 * Builds a child into a folder: assembly.md section 5. Resumes by itself an unfinished build of the same plan
 * and ends with the bytes of an undisturbed one, whatever the number of workers.
 *
 * @param plan from `planRecipe` or `loadPlan`
 * @param location folder of the child: new, empty, or an unfinished build of this plan
 * @throws BuildError by `code`: "not-a-folder", "not-empty", "other-build", "other-parents", "inside-parent", "damaged" (the
 *   folder); "locked" (another build runs there); "parts-missing"; "disk-space" (before), "disk-full" (during)
 * @throws CheckpointError by `code`: "missing", "changed" (a parent), "not-finite", "bad-scale" … (its data)
 * @throws Interrupted when the signal fired
 * @throws TypeError, RangeError for options that contradict each other, or a part that is none
 *
 * Shards that were complete are kept in each case.
 */
export async function build(
  plan: BuildPlan,
  location: string,
  options: BuildOptions = {},
): Promise<BuildReport> {
  try {
    return await underSignal(options.signal, () => runBuild(plan, location, options));
  } catch (error) {
    // Of a request that was under way.
    throw error instanceof Interrupted ? stoppedBuild() : error;
  } finally {
    await options.outlet?.stop();
  }
}

async function runBuild(plan: BuildPlan, location: string, options: BuildOptions): Promise<BuildReport> {
  const startedAt = performance.now();
  refuseContradictions(options);
  const target = openOutput(location, { staging: options.staging });
  const emit = options.onEvent ?? (() => {});
  const { outlet } = options;
  const range = partRange(plan, options.part);
  const direct = options.direct && {
    readBytes: 0,
    directReadBytes: 0,
    writtenBytes: 0,
    directWrittenBytes: 0,
  };
  await target.checkPlace();
  refuseParents(plan, target);
  const found = await inspectTarget(target, plan, options);
  if (found.complete) {
    // Parts would all send the same: the one that finishes does.
    if (outlet && !options.dryRun && !options.part) await sendChild(target, found.child!, outlet);
    if (found.unfinished !== undefined && !options.dryRun) await sweep(target, plan);
    return report({ finished: true, resumed: plan.shards.length });
  }
  const wanted = options.finish ? [] : plan.shards.slice(range.from, range.to);
  const before = found.replace ? new Map<string, ShardRecord>() : await completeShards(target, plan, outlet);
  if (options.finish) requireAll(plan, target, before);
  const open = wanted.filter(({ name }) => !before.has(name));
  await checkParents(
    plan.parents,
    open.map((shard) => taskOf(plan, shard)),
  );
  const inWork = options.workers ?? availableParallelism();
  const most = outlet?.mostLocal ?? (target.staging === undefined ? undefined : inWork);
  await checkSpace(target, plan, { wanted: open, reclaimed: await reclaimable(target, found), most });
  if (options.dryRun) return report({ finished: false, resumed: wanted.length - open.length });
  if (found.replace) await removeOurs(target, plan, found);
  if (options.part && wanted.length === 0) return report({ finished: false, resumed: 0 });

  if (!(await beginState(target, plan)))
    throw otherBuild(target, plan, { unfinished: await readState(target) });
  // Finishing touches everything, so it holds the lock of everything.
  const lock = await acquireLock(target, options.finish ? { from: 0, to: plan.shards.length } : range);
  try {
    if (await isComplete(target, plan, outlet)) {
      await target.removeState(); // finished by another since
      return report({ finished: true, resumed: plan.shards.length });
    }
    const done = await completeShards(target, plan, outlet);
    const missing = wanted.filter(({ name }) => !done.has(name));
    await removeLeftovers(
      target,
      wanted.map(({ name }) => name),
    );
    await checkSpace(target, plan, { wanted: missing, reclaimed: 0, most });
    if (outlet) {
      await recordOutlet(target, outlet);
      // A part may have ended before its last shards were there: finishing sends what is left.
      const own = options.finish ? plan.shards : wanted;
      outlet.begin(target, await localShards(target, own, { done, outlet }));
    }
    const written = await buildShards(plan, missing, { target, options, emit, done, wanted, direct }).catch(
      async (error) => {
        await tidying(async () => {
          await removeLeftovers(
            target,
            wanted.map(({ name }) => name),
          ); // of a worker that died
          // Of parents that cannot be used and no whole shard nothing is left. Other parts may be at work.
          const isBarren = !options.part && (await completeShards(target, plan, outlet)).size === 0;
          if (isBarren && isOfParents(error)) await target.removeState();
        });
        throw error;
      },
    );
    if (options.signal?.aborted) throw stoppedBuild();
    await outlet?.drain();
    if (options.part) return report({ finished: false, resumed: wanted.length - missing.length, written });
    const records = await completeShards(target, plan, outlet);
    requireAll(plan, target, records);
    emit({ kind: "finishing" });
    await finishChild(plan, target, { records, outlet });
    const result = report({ finished: true, resumed: wanted.length - missing.length, written });
    const [shards, bytes, { seconds }] = [plan.shards.length, plan.totals.writeBytes, result];
    emit({ kind: "finished", location: target.location, shards, bytes, seconds });
    return result;
  } finally {
    await lock.release();
  }

  function report(done: {
    finished: boolean;
    resumed: number;
    written?: readonly ShardRecord[];
  }): BuildReport {
    const written = done.written ?? [];
    return {
      location: target.location,
      finished: done.finished,
      shards: { total: plan.shards.length, written: written.length, resumed: done.resumed },
      writtenBytes: written.reduce((sum, { byteLength }) => sum + byteLength, 0),
      seconds: (performance.now() - startedAt) / 1000,
      planDigest: plan.digest,
      ...(direct ? { direct } : {}),
    };
  }
}

function stoppedBuild(): Interrupted {
  return new Interrupted(
    "The build was stopped; what is complete is kept: run the same command again to go on",
  );
}

function refuseContradictions({ part, finish, force }: BuildOptions): void {
  if (part && finish)
    throw new TypeError("Cannot build a part and finish at once, wanted one of part and finish");
  if (force && (part || finish)) {
    const object = part ? "build a part" : "finish";
    throw new TypeError(`Cannot ${object} with force: it would remove the shards of the other parts`);
  }
}

/** What the same build would meet again. */
function isOfParents(error: unknown): boolean {
  return error instanceof CheckpointError || (error instanceof BuildError && error.code === "not-finite");
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

interface ShardsContext {
  target: OutputStore;
  options: BuildOptions;
  emit: (event: BuildEvent) => void;
  done: ReadonlyMap<string, ShardRecord>;
  wanted: BuildPlan["shards"];
  /** Counted here. */
  direct: DirectReport | undefined;
}

async function buildShards(
  plan: BuildPlan,
  missing: BuildPlan["shards"],
  { target, options, emit, done, wanted, direct }: ShardsContext,
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
  await runPool(
    missing.map((shard) => taskOf(plan, shard)),
    {
      setup: {
        parents: plan.parents,
        output: plan.output,
        planDigest: plan.digest,
        location: target.location,
        staging: options.staging,
        kernels: options.kernels ?? "auto",
        hash: true,
        direct: options.direct,
      },
      workers,
      ...(options.signal ? { signal: options.signal } : {}),
      ...(options.outlet ? { room: () => options.outlet!.room() } : {}),
      onBytes: (bytes) => {
        bytesDone += bytes;
        if (performance.now() - toldAt >= 100) tell();
      },
      onDirect: (report) => {
        for (const key of Object.keys(report) as (keyof DirectReport)[])
          if (direct) direct[key] += report[key];
      },
      onRecord: (record, seconds) => {
        written.push(record);
        options.outlet?.add(record);
        const { shard, byteLength, sha256 } = record;
        emit({ kind: "shard-written", shard, byteLength, sha256, seconds });
        tell();
      },
    },
  );
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

/** Throws BuildError "parts-missing" unless every shard is complete. */
function requireAll(plan: BuildPlan, target: OutputStore, records: ReadonlyMap<string, ShardRecord>): void {
  const absent = plan.shards.filter(({ name }) => !records.has(name)).map(({ name }) => name);
  if (absent.length === 0) return;
  const shown = absent.slice(0, 5).join(", ") + (absent.length > 5 ? ", …" : "");
  throw new BuildError(
    "parts-missing",
    `Cannot finish "${target.location}": ${absent.length} of ${plan.shards.length} shards are missing (${shown})`,
    { note: "Build the parts that are missing, or run the build without --finish" },
  );
}

/** All that is not a shard, then the child's record, and the state folder goes. */
async function finishChild(
  plan: BuildPlan,
  target: OutputStore,
  { records, outlet }: { records: ReadonlyMap<string, ShardRecord>; outlet: Outlet | undefined },
): Promise<void> {
  const stores = plan.parents.map(({ location }) => openStore(location));
  const files = await otherFiles(plan, stores);
  const card = modelCard(plan, { licence: await statedLicence(stores), ...cardFacts(plan, files) });
  files.set("README.md", new TextEncoder().encode(card));
  const hashes = new Map<string, string>();
  await recordFiles(target, [...files.keys()]);
  for (const [name, bytes] of files) {
    await target.writeSmall(name, bytes);
    hashes.set(name, createHash("sha256").update(bytes).digest("hex"));
  }
  const record = childRecord(plan, records, hashes);
  const text = new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`);
  await outlet?.finish(new Map([...files, [CHILD_NAME, text]]));
  await target.writeSmall(CHILD_NAME, text);
  await target.removeState();
}

/** Complete shards in the folder that are not elsewhere. What is in both goes, where it is not to stay. */
async function localShards(
  target: OutputStore,
  wanted: readonly { name: string }[],
  { done, outlet }: { done: ReadonlyMap<string, FinishedShard>; outlet: Outlet },
): Promise<FinishedShard[]> {
  const present = new Set((await target.list()).map(({ name }) => name));
  const local: FinishedShard[] = [];
  for (const { name } of wanted) {
    const shard = present.has(name) ? done.get(name) : undefined;
    if (!shard) continue;
    if (!outlet.holds(shard)) local.push(shard);
    else if (Number.isFinite(outlet.mostLocal)) await target.remove(name);
  }
  return local;
}

/** Of a child that is complete in the folder, but for what is there already. */
async function sendChild(target: OutputStore, child: ChildRecord, outlet: Outlet): Promise<void> {
  const done = new Map(child.shards.map(({ name, ...rest }) => [name, { shard: name, ...rest }]));
  outlet.begin(target, await localShards(target, child.shards, { done, outlet }));
  const files = new Map<string, Uint8Array>();
  for (const name of [...Object.keys(child.files), CHILD_NAME]) {
    const bytes = await target.readSmall(name, 500_000_000);
    if (bytes) files.set(name, bytes);
  }
  await outlet.finish(files);
}
