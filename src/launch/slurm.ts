/** Slurm's commands: handing scripts over, and what the queue says of them. */
import { join } from "node:path";
import { BuildError } from "../base/errors.ts";
import { removeTaskLocks } from "../checkpoint/lock.ts";
import { writeFileAtomically } from "../checkpoint/node.ts";
import { makeFolder } from "../checkpoint/node-append.ts";
import { openOutput } from "../checkpoint/stores.ts";
import type { LaunchRecord, SlurmSubmission } from "./job.ts";
import { LOGS_FOLDER } from "./prepare.ts";
import { type Captured, capture } from "./processes.ts";
import type { SlurmScript } from "./slurm-script.ts";

/** Writes the scripts into the launch's folder and submits them, each after the one before. All of them or none. */
export async function submit(folder: string, scripts: readonly SlurmScript[]): Promise<SlurmSubmission> {
  makeFolder(join(folder, LOGS_FOLDER));
  for (const { fileName, text } of scripts) await writeFileAtomically(join(folder, fileName), text);
  const jobs: Record<string, string> = {};
  let before: string | undefined;
  try {
    for (const { name, fileName } of scripts) {
      const after =
        before === undefined ? [] : [`--dependency=afterok:${before}`, "--kill-on-invalid-dep=yes"];
      const said = await slurm(["sbatch", "--parsable", ...after, fileName], { cwd: folder });
      before = said.stdout.trim().split(";")[0]!;
      if (!/^\d+$/.test(before)) throw refusal("sbatch", said);
      jobs[name] = before;
    }
  } catch (error) {
    // Half a launch would build and never finish.
    if (Object.keys(jobs).length > 0) await slurm(["scancel", ...Object.values(jobs)]).catch(() => {});
    throw error;
  }
  return { by: "slurm", jobs };
}

/** Indexes of an array are below this. Undefined where Slurm does not tell. */
export async function maxArraySize(): Promise<number | undefined> {
  const { stdout } = await slurm(["scontrol", "show", "config"]);
  const size = /^MaxArraySize\s*=\s*(\d+)/m.exec(stdout)?.[1];
  return size === undefined ? undefined : Number(size);
}

export interface QueueEntry {
  /** "12_3" of an array's task, "13" of another job. */
  id: string;
  /** "RUNNING", "PENDING", "COMPLETED" … */
  state: string;
  elapsed: string;
  node: string;
  reason: string;
}

/**
 * What the queue knows of a submission, also of jobs that have ended lately. Undefined without Slurm. Throws BuildError when
 * the queue cannot be asked: that a job is not in it would be taken for its end.
 */
export async function queueOf({ jobs }: SlurmSubmission): Promise<QueueEntry[] | undefined> {
  const ids = Object.values(jobs).join(",");
  const format = "%i|%T|%M|%N|%r";
  const said = await capture([
    "squeue",
    "--noheader",
    "--array",
    "--states=all",
    `--jobs=${ids}`,
    "-o",
    format,
  ]);
  if (!said) return undefined;
  // It fails when it has forgotten the job that is asked for.
  if (said.status !== 0 && /invalid job id/i.test(said.stderr)) return [];
  if (said.status !== 0) throw refusal("squeue", said);
  return said.stdout
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [id = "", state = "", elapsed = "", node = "", ...reason] = line.trim().split("|");
      return { id, state, elapsed, node, reason: reason.join("|") };
    });
}

const ENDED = new Set([
  ...["BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"],
  ...["PREEMPTED", "TIMEOUT"],
]);

export function isOver({ state }: QueueEntry): boolean {
  return ENDED.has(state);
}

/**
 * Before another submission: throws BuildError "locked" while jobs of an earlier one are in the queue, and removes the
 * locks that jobs which are over have left on nodes that cannot be asked.
 */
export async function settleEarlier({ job, submissions }: LaunchRecord): Promise<void> {
  const own = submissions.filter((each) => each.by === "slurm");
  const over = new Set<string>();
  for (const submission of own) {
    const live = (await queueOf(submission))?.filter((entry) => !isOver(entry)) ?? [];
    if (live.length > 0) {
      const ids = [...new Set(live.map(({ id }) => id.split("_")[0]!))];
      const what = `${live.length} of its jobs are in the queue (${ids.join(", ")})`;
      throw new BuildError("locked", `Cannot launch "${job.output}" again: ${what}, wanted none`, {
        note: `Wait for them, or: scancel ${ids.join(" ")}`,
      });
    }
    for (const id of Object.values(submission.jobs)) over.add(id);
  }
  if (over.size === 0 || job.kind !== "build") return;
  const idOf = (task: string) => /^slurm\/[^/]*\/(\d+)/.exec(task)?.[1] ?? "";
  await removeTaskLocks(openOutput(job.output), (task) => over.has(idOf(task)));
}

async function slurm(words: readonly string[], { cwd }: { cwd?: string } = {}): Promise<Captured> {
  const said = await capture(words, cwd === undefined ? {} : { cwd });
  if (!said) {
    throw new BuildError("no-scheduler", `Cannot launch on Slurm: there is no "${words[0]}" on the PATH`, {
      note: "Run it where jobs are submitted; --dry-run prints the scripts, chimera launch local needs no scheduler",
    });
  }
  if (said.status !== 0) throw refusal(words[0]!, said);
  return said;
}

function refusal(program: string, { status, stderr, stdout }: Captured): BuildError {
  const why = (stderr.trim() || stdout.trim()).split("\n")[0] ?? "";
  return new BuildError("scheduler", `Cannot use Slurm: ${program} ended with status ${status}: ${why}`);
}
