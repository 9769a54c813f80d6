/**
 * A job as batch scripts of Slurm: an array with a task for each part, and a script for each last step.
 *
 * The script is the one thing that stands between a signal and a saved state, so it is plain bash: chimera runs in the
 * background because a shell runs traps only while it waits; 75 and signals mean "again" and put the task back into the
 * queue itself, at most five times. It does so only while Slurm calls the job RUNNING: a job that was cancelled, or
 * requeued by somebody else, is COMPLETING, and stays what they made of it.
 */
import { basename } from "node:path";
import { BuildError } from "../base/errors.ts";
import { MOST_RETRIES } from "./exit-rules.ts";
import type { LaunchJob, LaunchStep } from "./job.ts";
import { shellCommand, shellWord } from "./shell-words.ts";

export interface SlurmOptions {
  /** Tasks that run at a time. */
  parallel?: number;
  partition?: string;
  /** As --time takes it. */
  time?: string;
  /** Of the last steps; default: `time`. */
  stepTime?: string;
  /** As --mem takes it. */
  memory?: string;
  cpus?: number;
  /** More options of sbatch, a word each. */
  sbatchArgs?: readonly string[];
}

export interface SlurmScript {
  /** "array", or the step's. */
  name: string;
  fileName: string;
  text: string;
}

/** Time that a task gets to save its state; a shard takes seconds. */
const MOST_NOTICE_SECONDS = 120;

/** The array's script first, then the steps in order. Each runs when the one before has succeeded. */
export function slurmScripts(job: LaunchJob, options: SlurmOptions = {}): SlurmScript[] {
  const array = batchScript({
    about: `${job.kind} in ${job.tasks} parts`,
    directives: [
      ...[`--job-name=chimera-${jobName(job)}`, `--array=0-${job.tasks - 1}${limitOf(options)}`],
      ...["--output=logs/%A_%a.out", ...commonDirectives(options, options.time)],
    ],
    cwd: job.cwd,
    // Slurm's own name for a task; the plain job id of one may be that of the whole array.
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    id: "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}",
    // Written out: Slurm's count shrinks when some of the indexes are submitted again.
    command: `${shellCommand([...job.program, ...job.task])} --part "$SLURM_ARRAY_TASK_ID/${job.tasks}"`,
  });
  const steps = job.finish.map((step) => stepScript(job, step, options));
  return [{ name: "array", fileName: "array.sbatch", text: array }, ...steps];
}

function stepScript(job: LaunchJob, { name, command }: LaunchStep, options: SlurmOptions): SlurmScript {
  const text = batchScript({
    about: `${job.kind}: ${name}`,
    directives: [
      `--job-name=chimera-${jobName(job)}-${name}`,
      `--output=logs/${name}_%j.out`,
      ...commonDirectives(options, options.stepTime ?? options.time),
    ],
    cwd: job.cwd,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    id: "${SLURM_JOB_ID}",
    command: shellCommand([...job.program, ...command]),
  });
  return { name, fileName: `${name}.sbatch`, text };
}

/** What people see in squeue: letters that no shell and no file name minds. */
function jobName({ output }: LaunchJob): string {
  return (
    basename(output)
      .replaceAll(/[^\w.-]+/g, "-")
      .slice(0, 40) || "child"
  );
}

function limitOf({ parallel }: SlurmOptions): string {
  return parallel === undefined ? "" : `%${parallel}`;
}

function commonDirectives(options: SlurmOptions, time: string | undefined): string[] {
  const { partition, memory, cpus, sbatchArgs = [] } = options;
  return [
    ...["--requeue", "--open-mode=append", `--signal=B:TERM@${noticeSeconds(time)}`, "--ntasks=1"],
    ...(cpus === undefined ? [] : [`--cpus-per-task=${cpus}`]),
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
    ...(time === undefined ? [] : [`--time=${time}`]),
    ...(memory === undefined ? [] : [`--mem=${memory}`]),
    ...sbatchArgs,
  ];
}

/** A quarter of a short limit: notice as long as the limit would come at the start, again and again. */
function noticeSeconds(time: string | undefined): number {
  const limit = time === undefined ? undefined : timeSeconds(time);
  return limit === undefined ? MOST_NOTICE_SECONDS : Math.min(MOST_NOTICE_SECONDS, Math.floor(limit / 4));
}

/** "90", "90:00", "1:30:00", "1-12", "1-12:30", "1-12:30:00" -> seconds; undefined when it is no limit of that kind. */
export function timeSeconds(text: string): number | undefined {
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$/.exec(text);
  if (!match) return undefined;
  const [days, a, b, c] = [match[1], match[2], match[3], match[4]].map((part) =>
    part === undefined ? undefined : Number(part),
  );
  if (days !== undefined) return ((days * 24 + a!) * 60 + (b ?? 0)) * 60 + (c ?? 0);
  if (c !== undefined) return (a! * 60 + b!) * 60 + c;
  return a! * 60 + (b ?? 0);
}

interface BatchScript {
  about: string;
  directives: readonly string[];
  cwd: string;
  id: string;
  command: string;
}

function batchScript({ about, directives, cwd, id, command }: BatchScript): string {
  return `#!/bin/bash
# ${about}. Made by chimera launch; submit it from its own folder: the log's path is relative.
${directives.map((each) => `#SBATCH ${directive(each)}`).join("\n")}

# The same each time that Slurm runs this task: what an earlier run of it has left on another node is its own.
export CHIMERA_TASK="slurm/$SLURM_CLUSTER_NAME/${id}"
child=
interrupted=
trap 'interrupted=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
cd ${shellWord(cwd)} || exit 3
${command} &
child=$!
[ -z "$interrupted" ] || kill -TERM "$child" 2>/dev/null # it came before there was a number to send it to
while :; do
  interrupted=
  wait "$child"
  status=$?
  [ -n "$interrupted" ] || break
done

# 75: try again later. Above 128: ended by a signal; 143 and 130 have saved their state.
if [ "$status" = 75 ] || [ "$status" -gt 128 ]; then
  state=$(scontrol show job -o "${id}" | sed -n 's/.* JobState=\\([A-Z_]*\\) .*/\\1/p')
  if [ "$state" = RUNNING ] && [ "\${SLURM_RESTART_COUNT:-0}" -lt ${MOST_RETRIES} ]; then
    echo "chimera launch: status $status, back into the queue" >&2
    scontrol requeue "${id}" && sleep 60
  fi
fi
exit "$status"
`;
}

/** sbatch splits these lines as a shell does, but knows no end of a quote in another line. */
function directive(text: string): string {
  if (!/[\n\r\0]/.test(text)) return /[\s"'\\#]/.test(text) ? `"${text.replaceAll(/["\\]/g, "\\$&")}"` : text;
  const what = `Cannot write the sbatch option ${JSON.stringify(text)}: it holds a line's end`;
  throw new BuildError("bad-word", `${what}, wanted one line`);
}
