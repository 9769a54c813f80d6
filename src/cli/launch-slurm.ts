/** chimera launch slurm: the parts as a job array, finishing and verifying as jobs that wait for it. */
import type { Command } from "commander";
import type { LaunchJob } from "../launch/job.ts";
import type { SlurmOptions, SlurmScript } from "../launch/slurm-script.ts";
import { UsageError } from "./exit.ts";
import {
  addLaunchOptions,
  isStudy,
  jsonOption,
  type LaunchOptions,
  parseTasks,
  wantedLaunch,
} from "./launch.ts";
import { paint, print, printJson, quoted } from "./terminal.ts";

interface SlurmCommandOptions extends LaunchOptions {
  partition?: string;
  time?: string;
  stepTime?: string;
  memory?: string;
  cpus?: number;
  sbatchArgs?: string;
}

export function addSlurm(launch: Command): void {
  addLaunchOptions(
    launch.command("slurm").description("submit the parts as a job array, and what finishes it"),
  )
    .option("--partition <name>", "where jobs run")
    .option("--time <limit>", "of each part, as sbatch takes it: 1:00:00")
    .option("--step-time <limit>", "of finishing and verifying, which reads everything (default: --time)")
    .option("--memory <size>", "of each job, as sbatch takes it: 4G")
    .option("--cpus <n>", "cores of each part (default: --workers)", parseTasks)
    .option(
      "--sbatch-args <words>",
      'more options of sbatch, as a shell splits them: "--account=moe --qos=low"',
    )
    .option("--dry-run", "print the scripts, and neither write nor submit them")
    .addOption(jsonOption("job ids and files as JSON on stdout"))
    .addHelpText(
      "after",
      `
A task that ends with 75 or by a signal goes back into the queue, up to five
times; with 2, 3, 4 or another status it stays failed, and what waits for it is
cancelled. Before its time is up a task gets SIGTERM and saves its state. Scripts, logs and job
ids are in FOLDER.launch; chimera launch status FOLDER shows how far it is. The
same command submits what is missing again. FOLDER must be on storage that all
nodes share.

Examples:
  $ chimera launch slurm recipes/r1t.yaml -o /shared/R1T --tasks 41 --parallel 16 --time 1:00:00
  $ chimera launch slurm plan.json -o /shared/R1T --partition cpu --sbatch-args "--account=moe --exclude=n7" --dry-run`,
    )
    .action(run);
}

async function run(words: string[], options: SlurmCommandOptions): Promise<void> {
  const isBuild = !isStudy(words);
  const workers = options.workers ?? options.cpus ?? 2;
  const wanted = await wantedLaunch(words, isBuild ? { ...options, workers } : options, {
    // A shard takes seconds: four of them are worth a job.
    defaultTasks: (most) => (isBuild ? Math.ceil(most / 4) : most),
  });
  const { launch, what } = wanted;
  const { job, folder } = launch;
  const scripts = await scriptsOf(options, launch.job, isBuild ? workers : undefined);
  if (options.dryRun) {
    if (options.json) return printJson({ dryRun: true, folder, job, scripts });
    for (const { fileName, text } of scripts) print(`${paint("dim", `# ${folder}/${fileName}`)}\n${text}`);
    return;
  }
  if (wanted.isFinished) {
    if (options.json) return printJson({ output: job.output, folder, finished: true, jobs: {} });
    return print("The child is there already: nothing was submitted.");
  }
  const { maxArraySize, settleEarlier, submit } = await import("../launch/slurm.ts");
  const most = await maxArraySize();
  if (most !== undefined && job.tasks > most)
    throw new UsageError(
      `Cannot launch ${job.tasks} parts: this cluster's MaxArraySize is ${most}, wanted at most ${most}`,
      "--tasks says how many; a part may build several shards",
    );
  const { readRecord, recordSubmission } = await import("../launch/prepare.ts");
  const earlier = await readRecord(folder);
  if (earlier) await settleEarlier(earlier);
  await wanted.write();
  const submission = await submit(folder, scripts);
  await recordSubmission(launch, submission);
  const { jobs } = submission;
  if (options.json) return printJson({ output: job.output, folder, finished: false, tasks: job.tasks, jobs });
  const [array, ...steps] = Object.entries(jobs);
  print(`${paint("green", "submitted")}  job ${array![1]}: ${job.tasks} parts (${what})`);
  for (const [name, id] of steps) print(`           job ${id}: ${name}, when the one before has succeeded`);
  print(paint("dim", `next: chimera launch status ${quoted(job.output)}`));
}

async function scriptsOf(
  options: SlurmCommandOptions,
  job: LaunchJob,
  cpus: number | undefined,
): Promise<SlurmScript[]> {
  const { slurmScripts, timeSeconds } = await import("../launch/slurm-script.ts");
  const { splitWords } = await import("../launch/shell-words.ts");
  const { parallel, partition, time, stepTime, memory } = options;
  for (const [option, value] of Object.entries({ time, "step-time": stepTime }))
    if (value !== undefined && timeSeconds(value) === undefined)
      throw new UsageError(
        `Cannot use --${option} ${value}, wanted one as sbatch takes it: 1:00:00 or 1-12:00:00`,
      );
  const wishes: SlurmOptions = {
    ...(parallel === undefined ? {} : { parallel }),
    ...(partition === undefined ? {} : { partition }),
    ...(time === undefined ? {} : { time }),
    ...(stepTime === undefined ? {} : { stepTime }),
    ...(memory === undefined ? {} : { memory }),
    ...((options.cpus ?? cpus) === undefined ? {} : { cpus: (options.cpus ?? cpus)! }),
    ...(options.sbatchArgs === undefined ? {} : { sbatchArgs: splitWords(options.sbatchArgs) }),
  };
  return slurmScripts(job, wishes);
}
