/**
 * How far a launch has come, from what lies in its folder: nobody has to report anything, so this is right also when a
 * scheduler was asked to forget, and for parts that were started by hand.
 */
import { partRange } from "../build/build.ts";
import { readChildRecord } from "../build/child.ts";
import { completeShards, recordedOutlet } from "../build/state.ts";
import { type LockOwner, readLocks } from "../checkpoint/lock.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";

export interface BuildStatus {
  kind: "build";
  output: string;
  planDigest: string;
  /** chimera.json is there. */
  finished: boolean;
  shards: { done: number; total: number };
  bytes: { done: number; total: number };
  /** Of those that are done: which have left the folder, and where they are. */
  elsewhere?: { location: string; shards: number };
  parts: PartStatus[];
  /** Locks over shards, and whose they are. */
  owners: Worker[];
}

export interface PartStatus {
  index: number;
  shards: { done: number; total: number };
  bytes: { done: number; total: number };
  state: "done" | "running" | "stopped" | "open";
  /** Who builds it, or did when it died. */
  owner?: Worker;
}

export type Worker = Pick<LockOwner, "host" | "pid" | "state" | "from" | "to"> & { task?: string };

/** Reads the journal; nothing is written, and no repository asked. */
export async function buildStatus(
  target: OutputStore,
  plan: BuildPlan,
  { tasks }: { tasks: number },
): Promise<BuildStatus> {
  const child = await readChildRecord(target);
  const finished = child?.planDigest === plan.digest;
  const outlet = finished ? undefined : await recordedOutlet(target);
  // A record without its shard is that of one that has left the folder, in a build whose shards do.
  const outside = outlet === undefined ? undefined : { holds: () => true };
  const records = finished ? undefined : await completeShards(target, plan, outside);
  const isDone = ({ name }: { name: string }) => records?.has(name) ?? true;
  const owners = finished ? [] : (await readLocks(target)).map(workerOf);
  const sum = (shards: BuildPlan["shards"]) =>
    shards.reduce((bytes, { byteLength }) => bytes + byteLength, 0);
  const count = (shards: BuildPlan["shards"]) => ({
    shards: { done: shards.filter(isDone).length, total: shards.length },
    bytes: { done: sum(shards.filter(isDone)), total: sum(shards) },
  });
  const parts = Array.from({ length: tasks }, (_, index): PartStatus => {
    const { from, to } = partRange(plan, { index, count: tasks });
    const counted = count(plan.shards.slice(from, to));
    const owner = owners.find((each) => each.from < to && from < each.to);
    const isComplete = counted.shards.done === counted.shards.total;
    const held = owner?.state === "dead" ? "stopped" : "running";
    return {
      ...{ index, ...counted, state: isComplete ? "done" : owner ? held : "open" },
      ...(owner && !isComplete ? { owner } : {}),
    };
  });
  const { location: output } = target;
  const whole = count(plan.shards);
  const elsewhere =
    outlet === undefined ? undefined : { location: outlet, shards: await absent(target, plan, records!) };
  return {
    ...{ kind: "build", output, planDigest: plan.digest, finished, ...whole },
    ...(elsewhere ? { elsewhere } : {}),
    ...{ parts, owners },
  };
}

/** How many of the complete shards are not in the folder. */
async function absent(
  target: OutputStore,
  { shards }: BuildPlan,
  records: ReadonlyMap<string, unknown>,
): Promise<number> {
  const present = new Set((await target.list()).map(({ name }) => name));
  return shards.filter(({ name }) => records.has(name) && !present.has(name)).length;
}

function workerOf({ host, pid, state, from, to, task }: LockOwner): Worker {
  return { host, pid, state, from, to, ...(task === undefined ? {} : { task }) };
}
