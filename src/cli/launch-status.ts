/** chimera launch status: how far a launch is, from its folder, and what Slurm says of it. */
import type { Command } from "commander";
import { BuildError } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import type { LaunchRecord, SlurmSubmission } from "../launch/job.ts";
import type { QueueEntry } from "../launch/slurm.ts";
import type { BuildStatus, PartStatus } from "../launch/status.ts";
import { UsageError } from "./exit.ts";
import { jsonOption } from "./launch.ts";
import { clean, note, paint, paintError, print, printJson, table } from "./terminal.ts";

export function addStatus(launch: Command): void {
  launch
    .command("status")
    .description("say how far a launch is: shards, bytes, which parts run and where")
    .argument("<folder>", "the output that was launched, or any unfinished build")
    .addOption(jsonOption("everything as JSON on stdout"))
    .addHelpText(
      "after",
      `
Read from the journal that builds keep, so it is right for parts that were
started by hand, too. Where jobs were submitted to Slurm, the queue is asked.

Examples:
  $ chimera launch status ./R1T
  $ chimera launch status ./R1T --json | jq .bytes`,
    )
    .action(run);
}

async function run(given: string, { json }: { json?: boolean }): Promise<void> {
  const { resolve } = await import("node:path");
  const { launchFolder } = await import("../launch/job.ts");
  const { readRecord } = await import("../launch/prepare.ts");
  const output = resolve(given.replace(/\.launch\/*$/, ""));
  const folder = launchFolder(output);
  const record = await readRecord(folder);
  const status =
    record && record.job.kind !== "build" ? await studyStatus(record) : await statusOf(output, record);
  const submission = lastSlurm(record);
  const queue = submission && (await askQueue(submission));
  if (json) return printJson({ ...status, submission: submission ?? null, queue: queue ?? null });
  if (status.kind === "build") showBuild(status);
  else print(`${status.output}: ${status.runs.done} of ${status.runs.total} runs are complete`);
  if (submission) showQueue(submission, queue);
}

/** Undefined, with a word on stderr, where it cannot be asked: the folder says enough. */
async function askQueue(submission: SlurmSubmission): Promise<QueueEntry[] | undefined> {
  const { queueOf } = await import("../launch/slurm.ts");
  try {
    return await queueOf(submission);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    note(`${paintError("yellow", "warning:")} ${clean(error.message)}`);
    return undefined;
  }
}

function lastSlurm(record: LaunchRecord | undefined): SlurmSubmission | undefined {
  return record?.submissions.findLast((each) => each.by === "slurm");
}

/** By the plan of the launch, or of the unfinished build that lies there. */
async function statusOf(output: string, record: LaunchRecord | undefined): Promise<BuildStatus> {
  const { openOutput } = await import("../checkpoint/stores.ts");
  const { buildStatus } = await import("../launch/status.ts");
  const { launchFolder } = await import("../launch/job.ts");
  const { loadPlan, parsePlan } = await import("../plan/load-recipe.ts");
  const target = openOutput(output);
  if (record) {
    const plan = await loadPlan(`${launchFolder(output)}/plan.json`);
    return buildStatus(target, plan, { tasks: record.job.tasks });
  }
  const { statePlan } = await import("../build/state.ts");
  const text = await statePlan(target);
  if (text === undefined) {
    throw new UsageError(
      `Cannot tell how far "${output}" is: nothing was launched there, and it holds no unfinished build`,
      "Name the folder that was given to -o",
    );
  }
  return buildStatus(target, parsePlan(text, `${output}/.chimera/plan.json`), { tasks: 1 });
}

interface StudyStatus {
  kind: "sweep" | "eval";
  output: string;
  runs: { done: number; total: number };
}

async function studyStatus({ job }: LaunchRecord): Promise<StudyStatus> {
  const { completeRuns } = await import("../launch/study-status.ts");
  const done = await completeRuns(job.output);
  const kind = job.kind === "eval" ? "eval" : "sweep";
  return { kind, output: job.output, runs: { done, total: Math.max(done, job.runs ?? job.tasks) } };
}

function showBuild({ output, finished, shards, bytes, parts }: BuildStatus): void {
  const share = bytes.total === 0 ? 100 : Math.floor((100 * bytes.done) / bytes.total);
  const state = finished ? paint("green", "finished") : `${share} %`;
  print(
    `${clean(output)}: ${state}, ${shards.done} of ${shards.total} shards, ${formatBytes(bytes.done)} of ${formatBytes(bytes.total)}`,
  );
  if (finished) return;
  const count = (state: PartStatus["state"]) => parts.filter((part) => part.state === state).length;
  print(
    `${parts.length} part${parts.length === 1 ? "" : "s"}: ${count("done")} done, ${count("running")} running, ${count("stopped")} stopped, ${count("open")} open`,
  );
  const shown = parts.filter(({ owner }) => owner !== undefined).slice(0, 20);
  if (shown.length === 0) return;
  const rows = shown.map(({ index, shards: { done, total }, state, owner }) => [
    ...[`part ${index}`, `${done} of ${total} shards`, state],
    `process ${owner!.pid} on ${clean(owner!.host)}${owner!.task ? ` (${clean(owner!.task)})` : ""}`,
  ]);
  print(table(rows));
}

function showQueue({ jobs }: SlurmSubmission, queue: readonly QueueEntry[] | undefined): void {
  print();
  if (!queue) {
    print(paint("dim", "what the queue says of it is not known"));
    return;
  }
  const rows: string[][] = [];
  for (const [name, id] of Object.entries(jobs)) {
    const own = queue.filter((entry) => entry.id === id || entry.id.startsWith(`${id}_`));
    const states = new Map<string, number>();
    for (const { state } of own) states.set(state, (states.get(state) ?? 0) + 1);
    const told = [...states].map(([state, number]) => `${number} ${state.toLowerCase()}`).join(", ");
    const reasons = [...new Set(own.filter(({ state }) => state === "PENDING").map(({ reason }) => reason))];
    rows.push([`job ${id}`, name, told || "no longer in the queue", reasons.join(", ")]);
  }
  print(table(rows));
}
