/** chimera launch: one plan, many processes: on this machine, on Slurm, on Kubernetes; and how far they are. */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { PreparedLaunch } from "../launch/prepare.ts";
import {
  addPushOptions,
  type BuildPushOptions,
  openBuildPush,
  pushWishes,
  refusePushContradictions,
} from "./build-push.ts";
import { ExitStatus, UsageError } from "./exit.ts";
import { addKubernetes } from "./launch-kubernetes.ts";
import { addLocal } from "./launch-local.ts";
import { addSlurm } from "./launch-slurm.ts";
import { addStatus } from "./launch-status.ts";
import { parentOption, planOf, showWarnings } from "./plan.ts";
import { note } from "./terminal.ts";

/** What every way to launch knows. */
export interface LaunchOptions extends BuildPushOptions {
  output?: string;
  tasks?: number;
  parallel?: number;
  workers?: number;
  parent?: Record<string, string>;
  chimera?: string;
  verify: boolean;
  verifyAll?: boolean;
  dryRun?: boolean;
  json?: boolean;
}

export function addLaunch(program: Command): void {
  const launch = program
    .command("launch")
    .description("run a build, a sweep or an evaluation in parts: here, on Slurm or on Kubernetes")
    .addHelpText(
      "after",
      `
Parts are \`chimera build PLAN -o DIR --part I/N\`: they may be killed, repeated and
run twice, and the child has the bytes of a build in one go. docs/CLUSTERS.md
says how each way works.

Examples:
  $ chimera launch local recipes/r1t.yaml -o ./R1T --tasks 8
  $ chimera launch slurm recipes/r1t.yaml -o /shared/R1T --tasks 41 --time 1:00:00
  $ chimera launch kubernetes recipes/r1t.yaml -o /data/R1T --image REGISTRY/chimera --pvc models=/data --tasks 41 --dry-run
  $ chimera launch status ./R1T
  $ chimera launch slurm --tasks 11 -- sweep recipes/r1t.yaml --lambda r1=0:1:0.1 -o /shared/sweep`,
    );
  addLocal(launch);
  addSlurm(launch);
  addKubernetes(launch);
  addStatus(launch);
}

/** The argument and the options that local and slurm share. */
export function addLaunchOptions(command: Command): Command {
  command
    .argument("<what...>", "a recipe or a plan to build; or, after --, a whole sweep or eval command")
    .option(
      "-o, --output <folder>",
      "where the child goes, or s3://BUCKET/PREFIX; what the launch needs goes to FOLDER.launch",
    )
    .option(
      "--tasks <n>",
      "parts; of a sweep one for each child, of an evaluation one for each target",
      parseTasks,
    )
    .option("--parallel <n>", "parts that run at a time", parseTasks)
    .option("--workers <n>", "worker threads of each part", parseTasks)
    .addOption(parentOption("where a parent lies, instead of where the recipe says; repeatable"));
  return addPushOptions(command)
    .option("--chimera <command>", "how parts call chimera, as a shell takes it (default: this installation)")
    .option("--verify-all", "at the end, compute every merged tensor again, not a sample")
    .option("--no-verify", "do not verify the child at the end");
}

export function parseTasks(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 100_000) return value;
  throw new InvalidArgumentError("wanted a whole number from 1 to 100000");
}

export function jsonOption(description: string): Option {
  return new Option("--json", description);
}

/** Of a launch that is prepared, and what the tasks are, for people. */
export interface Wanted {
  launch: PreparedLaunch;
  /** Writes what parts read; nothing before. */
  write: () => Promise<void>;
  /** "163 shards, 689 GB", "13 children and parents". */
  what: string;
  /** Everything is there already. */
  isFinished: boolean;
}

const STUDIES: ReadonlySet<string> = new Set(["sweep", "eval"]);

/** Options that a study has not, or after --. */
const BUILD_ONLY = ["output", "parent", "workers", "push", "private"] as const;

export function isStudy(words: readonly string[]): boolean {
  return STUDIES.has(words[0]!);
}

/** From what was said to a job. Throws what planning throws, before anything is written. */
export async function wantedLaunch(
  words: readonly string[],
  options: LaunchOptions,
  { defaultTasks }: { defaultTasks: (most: number) => number },
): Promise<Wanted> {
  const program = await programOf(options);
  if (isStudy(words)) return wantedStudy(words, options, { program, defaultTasks });
  const [path, ...more] = words;
  if (more.length > 0)
    throw new UsageError(
      `Cannot launch "${more[0]}" beside "${path}", wanted one recipe or plan`,
      "A sweep or an evaluation comes after --: chimera launch local -- sweep RECIPE --lambda r1=0:1:0.1",
    );
  const { output } = options;
  if (output === undefined)
    throw new UsageError("Cannot launch a build without -o, wanted the child's folder");
  const push = await pushWishes(options, output);
  const plan = await planOf(path!, options.parent);
  showWarnings(plan);
  const { build } = await import("../build/build.ts");
  const { buildJob, writePlanOnce } = await import("../launch/prepare.ts");
  const { formatBytes } = await import("../base/format.ts");
  // The folder, the parents and the disk, looked at once here and not first by every part.
  const outlet = push ? await openBuildPush(plan, { ...options, dryRun: true }) : undefined;
  const { finished } = await build(plan, output, { dryRun: true, ...(outlet ? { outlet } : {}) });
  const launch = buildJob(plan, {
    ...{ output, program, verify: options.verify, tasks: options.tasks ?? defaultTasks(plan.shards.length) },
    ...(options.verifyAll ? { verifyAll: true } : {}),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    ...(push ? { push } : {}),
  });
  const what = `${plan.shards.length} shards, ${formatBytes(plan.totals.writeBytes)}`;
  // Whether a finished child is on the Hub as well, its last step finds out.
  return { launch, what, isFinished: finished && !push, write: () => writePlanOnce(launch, plan) };
}

/** The command itself says what it would run. */
async function wantedStudy(
  words: readonly string[],
  options: LaunchOptions,
  { program, defaultTasks }: { program: string[]; defaultTasks: (most: number) => number },
): Promise<Wanted> {
  const refused = BUILD_ONLY.find((key) => options[key] !== undefined);
  if (refused !== undefined)
    throw new UsageError(
      `Cannot use --${refused} with ${words[0]}, wanted it after --, where the command has its own options`,
    );
  refusePushContradictions(options, { output: "" });
  const { readStudyRuns, studyJob } = await import("../launch/study-job.ts");
  const said = await readStudyRuns(words, { program, cwd: process.cwd() });
  if ("status" in said) {
    note(said.stderr.trimEnd());
    throw new ExitStatus(said.status);
  }
  const { runs, output } = said;
  const tasks = options.tasks ?? defaultTasks(runs.length);
  const launch = studyJob(words, { ...said, output: resolve(output), program, cwd: process.cwd(), tasks });
  return { launch, what: `${runs.length} runs`, isFinished: false, write: async () => {} };
}

/** How a part calls chimera: by default as this process was called. */
export async function programOf({ chimera }: Pick<LaunchOptions, "chimera">): Promise<string[]> {
  if (chimera !== undefined) {
    const { splitWords } = await import("../launch/shell-words.ts");
    const words = splitWords(chimera);
    if (words.length > 0) return words;
    throw new UsageError("Cannot use --chimera without a command, wanted one");
  }
  const { packageFile } = await import("../checkpoint/node.ts");
  return [process.execPath, packageFile("bin/chimera.mjs")];
}

export function cores(): number {
  return availableParallelism();
}
