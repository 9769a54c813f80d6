/** Finishing where nothing says when the parts are done: tried again until they are. */
import { setTimeout as sleep } from "node:timers/promises";
import { BuildError, CheckpointError, Interrupted } from "../base/errors.ts";
import { openOutput } from "../checkpoint/stores.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { type BuildOptions, type BuildReport, build } from "./build.ts";
import { readChildRecord } from "./child.ts";
import type { Outlet } from "./outlet.ts";
import { completeShards } from "./state.ts";

/** What the other parts mend: shards that are missing, and the lock of whoever builds one. */
const OPEN: ReadonlySet<string> = new Set(["parts-missing", "locked"]);

export interface WaitOptions extends Omit<BuildOptions, "part" | "finish" | "force" | "outlet"> {
  seconds: number;
  /** Between two looks into the folder. */
  everySeconds?: number;
  /** Where shards go besides; opened for each try, of which there is none before every shard is built. */
  openOutlet?: () => Promise<Outlet>;
}

/** Finishes a build in parts as soon as all are there. Throws what build() throws: "parts-missing" when `seconds` are over. */
export async function finishWhenReady(
  plan: BuildPlan,
  location: string,
  { seconds, everySeconds = 5, openOutlet, ...options }: WaitOptions,
): Promise<BuildReport> {
  const deadline = performance.now() + 1000 * seconds;
  for (let isFirst = true; ; isFirst = false) {
    const isLast = performance.now() >= deadline;
    let pause = 1000 * everySeconds;
    try {
      const isReady = await isBuilt(plan, location, openOutlet !== undefined);
      // Parts that are built may still upload for long, and a repository is not to be asked all the time.
      if (openOutlet && isReady) pause *= 12;
      // The first try tells what no waiting mends, the last one what is missing.
      if (isFirst || isLast || isReady) {
        const outlet = await openOutlet?.();
        return await build(plan, location, { ...options, finish: true, ...(outlet ? { outlet } : {}) });
      }
    } catch (error) {
      // In a day's waiting a server may be away for a while.
      const isAway = !isFirst && error instanceof CheckpointError && error.code === "unreachable";
      const isOpen = error instanceof BuildError && OPEN.has(error.code);
      if (isLast || !(isOpen || isAway)) throw error;
    }
    const wait = Math.max(0, Math.min(pause, deadline - performance.now()));
    await sleep(wait, undefined, options.signal ? { signal: options.signal } : {}).catch(() => {
      throw new Interrupted("Waiting for the parts was stopped: run the same command again to go on");
    });
  }
}

/** By a look that costs little: the names of shards, or, where these leave the folder, their records. */
async function isBuilt(plan: BuildPlan, location: string, isLeaving: boolean): Promise<boolean> {
  const target = openOutput(location);
  if (isLeaving) {
    const records = await completeShards(target, plan, { holds: () => true });
    return records.size === plan.shards.length || (await readChildRecord(target)) !== undefined;
  }
  const present = new Map((await target.list()).map(({ name, byteLength }) => [name, byteLength]));
  return plan.shards.every(({ name, byteLength }) => present.get(name) === byteLength);
}
