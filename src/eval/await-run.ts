/** A run that another process makes: looked for until it is complete. For whoever reports when all parts are done. */
import { setTimeout as sleep } from "node:timers/promises";
import { EvaluationError, Interrupted } from "../base/errors.ts";
import { shown } from "../checkpoint/shown.ts";
import type { RunConfig } from "./run-config.ts";
import { type FinishedRun, isRunFolder, otherRun, readRun, readRunHead } from "./run-folder.ts";

/** How long runs are waited for, all of them together. */
export interface Patience {
  /** As performance.now() tells time. */
  deadline: number;
  /** Between two looks. Default 5. */
  everySeconds?: number;
}

export function patience(seconds: number): Patience {
  return { deadline: performance.now() + 1000 * seconds };
}

/** Throws EvaluationError "parts-missing" when the time is over, "other-run" where the folder will never hold this one. */
export async function awaitRun(
  folder: string,
  wanted: RunConfig,
  { deadline, everySeconds = 5 }: Patience,
  signal?: AbortSignal,
): Promise<FinishedRun> {
  for (;;) {
    if (isRunFolder(folder)) {
      const { config, summary } = await readRunHead(folder);
      if (config.digest !== wanted.digest) throw otherRun(folder, config, wanted);
      if (summary?.complete) return readRun(folder);
    }
    const left = deadline - performance.now();
    if (left <= 0) throw absent(folder, wanted);
    await sleep(Math.min(1000 * everySeconds, left), undefined, signal ? { signal } : {}).catch(() => {
      throw new Interrupted("Waiting for the parts was stopped: run the same command again to go on");
    });
  }
}

function absent(folder: string, { name }: RunConfig): EvaluationError {
  const what = `the run of "${shown(name)}" is not complete in "${shown(folder)}"`;
  return new EvaluationError("parts-missing", `Cannot report: ${what}, wanted all runs`, {
    note: "Run the parts that are missing, or the command without --part and --wait, which asks what is open",
  });
}
