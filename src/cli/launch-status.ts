/** chimera launch status: how far a launch is, from where it writes, and what Slurm says of it. */
import type { Command } from "commander";
import { BuildError } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import type { ChildRecord } from "../build/child.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import type { LaunchRecord, SlurmSubmission } from "../launch/job.ts";
import type { QueueEntry } from "../launch/slurm.ts";
import type { BuildStatus, PartStatus } from "../launch/status.ts";
import type { StudyStatus } from "../launch/study-status.ts";
import { UsageError } from "./exit.ts";
import { jsonOption } from "./launch.ts";
import { clean, note, paint, paintError, print, printJson, table } from "./terminal.ts";

export function addStatus(launch: Command): void {
  launch
    .command("status")
    .description("say how far a launch is: shards, bytes, runs, which parts are at work and where")
    .argument(
      "<output>",
      "the folder or s3://BUCKET/PREFIX that was launched, or any unfinished build or study",
    )
    .addOption(jsonOption("everything as JSON on stdout"))
    .addHelpText(
      "after",
      `
Read from what builds, sweeps and evaluations keep where they write, so it is
right for parts that any scheduler or a person has started. Where jobs were
submitted to Slurm, the queue is asked.

Examples:
  $ chimera launch status ./R1T
  $ chimera launch status s3://bucket/R1T
  $ chimera launch status runs/sweep
  $ chimera launch status ./R1T --json | jq .bytes`,
    )
    .action(run);
}

async function run(given: string, { json }: { json?: boolean }): Promise<void> {
  const { launchFolder } = await import("../launch/job.ts");
  const { readRecord } = await import("../launch/prepare.ts");
  const { openOutput } = await import("../checkpoint/stores.ts");
  // The launch's own folder is as good: that of an object store's lies where it was launched.
  const named = /\.launch\/*$/.test(given) ? await readRecord(given) : undefined;
  const target = openOutput(named?.job.output ?? given.replace(/\.launch\/*$/, ""));
  const folder = named ? given : launchFolder(target.location);
  const record = named ?? (await readRecord(folder));
  const status = await statusOf(target, record, folder);
  const submission = lastSlurm(record);
  const queue = submission && (await askQueue(submission));
  if (json) return printJson({ ...status, submission: submission ?? null, queue: queue ?? null });
  if (status.kind === "build") showBuild(status);
  else showStudy(status);
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

/** By the launch's own record, else by what the parts have left there. */
async function statusOf(
  target: OutputStore,
  record: LaunchRecord | undefined,
  folder: string,
): Promise<BuildStatus | StudyStatus> {
  const { studyStatus } = await import("../launch/study-status.ts");
  const { location: output } = target;
  if (record && record.job.kind !== "build") {
    const { kind, runs, tasks } = record.job;
    return (await studyStatus(output, { kind, runs: runs ?? tasks }))!;
  }
  const { buildStatus } = await import("../launch/status.ts");
  const { loadPlan, parsePlan } = await import("../plan/load-recipe.ts");
  if (record) {
    const plan = await loadPlan(`${folder}/plan.json`);
    return buildStatus(target, plan, { tasks: record.job.tasks });
  }
  const { statePlan } = await import("../build/state.ts");
  const text = await statePlan(target);
  if (text !== undefined)
    return buildStatus(target, parsePlan(text, `${output}/.chimera/plan.json`), { tasks: 1 });
  const { readChildRecord } = await import("../build/child.ts");
  const child = await readChildRecord(target);
  if (child) return finishedBuild(output, child);
  const study = target.staging === undefined ? await studyStatus(output) : undefined;
  if (study) return study;
  throw new UsageError(
    `Cannot tell how far "${output}" is: nothing was launched there, and it holds no build and no study`,
    "Name what was given to -o",
  );
}

/** Without the plan: a finished child keeps none. */
function finishedBuild(output: string, { planDigest, shards }: ChildRecord): BuildStatus {
  const [count, bytes] = [shards.length, shards.reduce((sum, { byteLength }) => sum + byteLength, 0)];
  return {
    ...{ kind: "build", output, planDigest, finished: true, parts: [], owners: [] },
    ...{ shards: { done: count, total: count }, bytes: { done: bytes, total: bytes } },
  };
}

function showStudy({ output, finished, runs }: StudyStatus): void {
  const { done, running, stopped, open, total } = runs;
  const state = finished ? `${paint("green", "finished")}, ` : "";
  print(`${clean(output)}: ${state}${done} of ${total} runs are complete`);
  if (done < total) print(`${running} running, ${stopped} stopped, ${open} open`);
}

function showBuild({ output, finished, shards, bytes, elsewhere, parts }: BuildStatus): void {
  const share = bytes.total === 0 ? 100 : Math.floor((100 * bytes.done) / bytes.total);
  const state = finished ? paint("green", "finished") : `${share} %`;
  print(
    `${clean(output)}: ${state}, ${shards.done} of ${shards.total} shards, ${formatBytes(bytes.done)} of ${formatBytes(bytes.total)}`,
  );
  if (finished) return;
  if (elsewhere) print(`${elsewhere.shards} of them have left for ${clean(elsewhere.location)}`);
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
