/**
 * A job on this machine: so many processes at a time, retries by exit status, then the last steps. What a cluster does,
 * without one, and with the same commands.
 */
import { join } from "node:path";
import { Interrupted } from "../base/errors.ts";
import { isWorthRetrying, MOST_RETRIES, type TaskEnd } from "./exit-rules.ts";
import { type IndexEvent, type IndexesReport, type IndexRules, runIndexes } from "./index-runner.ts";
import { type LaunchJob, partArguments } from "./job.ts";
import { runLogged } from "./processes.ts";

export interface LocalOptions {
  parallel: number;
  /** Where logs go: 0.log, 1.log … and one for each step. */
  logs: string;
  signal?: AbortSignal;
  onEvent?: (event: LocalEvent) => void;
  /** Before the first repetition. Default: a second. */
  backoffMs?: number;
}

export type LocalEvent =
  | (IndexEvent & { log: string })
  | { kind: "step"; name: string; log: string }
  | { kind: "step-ended"; name: string; log: string; end: TaskEnd };

export interface LocalReport extends IndexesReport {
  /** Steps that succeeded, and the one that did not. */
  steps: string[];
  failedStep?: { name: string; log: string; end: TaskEnd };
}

const LONGEST_BACKOFF_MS = 30_000;

/** Parts that failed are in the report; the last steps are then left out. Throws Interrupted when the signal fired. */
export async function launchLocal(
  job: LaunchJob,
  { parallel, logs, signal, onEvent, backoffMs = 1000 }: LocalOptions,
): Promise<LocalReport> {
  const rules: IndexRules = {
    completions: job.tasks,
    parallelism: parallel,
    backoffLimitPerIndex: MOST_RETRIES,
    failurePolicy: [{ action: "FailIndex", exitCodes: { operator: "In", values: finalStatuses() } }],
    ...{ backoffMs, longestBackoffMs: LONGEST_BACKOFF_MS },
  };
  const { program, cwd } = job;
  const run = (args: readonly string[], log: string) =>
    runLogged([...program, ...args], { cwd, log, ...(signal ? { signal } : {}) });
  const logOf = (index: number) => join(logs, `${index}.log`);
  const report: LocalReport = {
    ...(await runIndexes(rules, (index) => run(partArguments(job, index), logOf(index)), {
      ...(signal ? { signal } : {}),
      onEvent: (event) => onEvent?.({ ...event, log: logOf(event.index) }),
    })),
    steps: [],
  };
  const stopped = () =>
    new Interrupted("The launch was stopped; what is complete is kept: run the same command again to go on");
  if (signal?.aborted) throw stopped();
  if (report.failed.length > 0) return report;
  for (const { name, command } of job.finish) {
    const log = join(logs, `${name}.log`);
    onEvent?.({ kind: "step", name, log });
    const end = await run(command, log);
    onEvent?.({ kind: "step-ended", name, log, end });
    if (signal?.aborted) throw stopped();
    if (end.status !== 0) return { ...report, failedStep: { name, log, end } };
    report.steps.push(name);
  }
  return report;
}

/** Every status that is not worth another try: the runner knows no rule by function. */
function finalStatuses(): number[] {
  return Array.from({ length: 256 }, (_, status) => status).filter(
    (status) => status !== 0 && !isWorthRetrying({ status }),
  );
}
