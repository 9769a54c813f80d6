/** Finishing where nothing says when the parts are done: tried again until they are. */
import { setTimeout as sleep } from "node:timers/promises";
import { BuildError, Interrupted } from "../base/errors.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { type BuildOptions, type BuildReport, build } from "./build.ts";

/** What the other parts mend: shards that are missing, and the lock of whoever builds one. */
const OPEN: ReadonlySet<string> = new Set(["parts-missing", "locked"]);

/**
 * Finishes a build in parts as soon as all are there. Throws what build() throws: "parts-missing" when `seconds` are over.
 *
 * @param everySeconds between two looks into the folder
 */
export async function finishWhenReady(
  plan: BuildPlan,
  location: string,
  {
    seconds,
    everySeconds = 5,
    ...options
  }: Omit<BuildOptions, "part" | "finish" | "force"> & { seconds: number; everySeconds?: number },
): Promise<BuildReport> {
  const deadline = performance.now() + 1000 * seconds;
  for (;;) {
    try {
      return await build(plan, location, { ...options, finish: true });
    } catch (error) {
      const isOpen = error instanceof BuildError && OPEN.has(error.code);
      const left = deadline - performance.now();
      if (!isOpen || left <= 0) throw error;
      const wait = Math.min(1000 * everySeconds, left);
      await sleep(wait, undefined, options.signal ? { signal: options.signal } : {}).catch(() => {
        throw new Interrupted("Waiting for the parts was stopped: run the same command again to go on");
      });
    }
  }
}
