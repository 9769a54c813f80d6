/**
 * Runs indexes 0 … N-1 with the rules of a Kubernetes Job in Indexed mode: so many at a time, each again until it succeeds,
 * fails for good, or has failed too often. `launch local` uses it as it is; tests play a manifest's own rules with it.
 *
 * Rules of the Job controller that it follows (kubernetes.io, "Jobs"): the first rule of the failure policy that fits
 * decides; "Ignore" counts nothing and runs the index again; "FailIndex" fails it at once; "Count" counts towards its
 * limit; more failed indexes than `maxFailedIndexes` end the Job, "FailJob" does so at once; the time before another try
 * doubles with each failure of the index.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { TaskEnd } from "./exit-rules.ts";

export interface FailureRule {
  action: "FailIndex" | "FailJob" | "Ignore" | "Count";
  /** Either one: of the end that a rule is for. */
  exitCodes?: { operator: "In" | "NotIn"; values: readonly number[] };
  isDisruption?: boolean;
}

export interface IndexRules {
  completions: number;
  parallelism: number;
  backoffLimitPerIndex: number;
  /** Undefined: any number. */
  maxFailedIndexes?: number;
  failurePolicy: readonly FailureRule[];
  /** Before the first repetition; doubled with each failure up to the longest. */
  backoffMs: number;
  longestBackoffMs: number;
}

export type IndexEvent =
  | { kind: "started"; index: number; attempt: number }
  | { kind: "ended"; index: number; attempt: number; end: TaskEnd; then: IndexOutcome };

export type IndexOutcome = "succeeded" | "again" | "failed";

export interface IndexesReport {
  succeeded: number[];
  /** In the order in which they failed, with their last end. */
  failed: { index: number; end: TaskEnd }[];
  /** Those that were not decided when the job was ended, by a failure or by the signal. */
  open: number[];
  /** Runs in all. */
  runs: number;
}

/** `start` runs one index and resolves with its end; it never throws for what the task does. */
export async function runIndexes(
  rules: IndexRules,
  start: (index: number, attempt: number) => Promise<TaskEnd>,
  { signal, onEvent }: { signal?: AbortSignal; onEvent?: (event: IndexEvent) => void } = {},
): Promise<IndexesReport> {
  const report: IndexesReport = { succeeded: [], failed: [], open: [], runs: 0 };
  const waiting = Array.from({ length: rules.completions }, (_, index) => index);
  const ending = new AbortController();
  const end = () => ending.abort();
  if (signal?.aborted) end();
  signal?.addEventListener("abort", end, { once: true });

  /** One index until it is decided. Its place stays its own between two tries, as a pod's does not; nothing else hangs on that. */
  const decide = async (index: number): Promise<void> => {
    for (let attempt = 0, failures = 0; !ending.signal.aborted; attempt++) {
      report.runs++;
      onEvent?.({ kind: "started", index, attempt });
      const ended = await start(index, attempt);
      const [then, counts] = outcomeOf(ended, rules, failures);
      if (counts) failures++;
      const isStopped = ending.signal.aborted && then === "again";
      onEvent?.({ kind: "ended", index, attempt, end: ended, then });
      if (then === "succeeded") return void report.succeeded.push(index);
      if (then === "failed") {
        report.failed.push({ index, end: ended });
        const isTooMany = report.failed.length > (rules.maxFailedIndexes ?? Number.POSITIVE_INFINITY);
        if (isTooMany || actionOf(ended, rules) === "FailJob") end();
        return;
      }
      if (isStopped) break;
      const wait = Math.min(rules.backoffMs * 2 ** Math.max(0, failures - 1), rules.longestBackoffMs);
      if (wait > 0) await sleep(wait, undefined, { signal: ending.signal }).catch(() => {});
    }
    report.open.push(index);
  };
  const place = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (ending.signal.aborted) report.open.push(next);
      else await decide(next);
    }
  };
  try {
    const places = Math.max(1, Math.min(rules.parallelism, rules.completions));
    await Promise.all(Array.from({ length: places }, place));
  } finally {
    signal?.removeEventListener("abort", end);
  }
  report.open.sort((a, b) => a - b);
  return report;
}

function actionOf(end: TaskEnd, { failurePolicy }: IndexRules): FailureRule["action"] {
  return failurePolicy.find((rule) => fits(rule, end))?.action ?? "Count";
}

function fits({ exitCodes, isDisruption }: FailureRule, end: TaskEnd): boolean {
  if (isDisruption) return end.isDisrupted === true;
  if (!exitCodes) return false;
  // A container that a signal ended has a status, too: 128 + the signal's number. The caller says it.
  if (end.status === null || end.status === 0) return false;
  return exitCodes.values.includes(end.status) === (exitCodes.operator === "In");
}

function outcomeOf(
  end: TaskEnd,
  rules: IndexRules,
  failures: number,
): [outcome: IndexOutcome, counts: boolean] {
  if (end.status === 0) return ["succeeded", false];
  switch (actionOf(end, rules)) {
    case "Ignore":
      return ["again", false];
    case "FailIndex":
    case "FailJob":
      return ["failed", true];
    case "Count":
      return [failures >= rules.backoffLimitPerIndex ? "failed" : "again", true];
  }
}
