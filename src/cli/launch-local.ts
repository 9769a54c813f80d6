/** chimera launch local: the parts as processes of this machine. */
import { type Command, Option } from "commander";
import type { LocalEvent, LocalReport } from "../launch/local.ts";
import { ExitStatus } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import type { Wanted } from "./launch.ts";
import { addLaunchOptions, cores, isStudy, jsonOption, type LaunchOptions, wantedLaunch } from "./launch.ts";
import { createProgress, PROGRESS_MODES, type Progress, type ProgressMode } from "./progress.ts";
import { clean, note, paint, paintError, print, printJson } from "./terminal.ts";

interface LocalCommandOptions extends LaunchOptions {
  progress: ProgressMode;
}

export function addLocal(launch: Command): void {
  addLaunchOptions(
    launch.command("local").description("run the parts as processes here, again where they fail, and finish"),
  )
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--dry-run", "say what would be run, and run nothing")
    .addOption(jsonOption("the result as JSON on stdout"))
    .addHelpText(
      "after",
      `
A part that ends with 75 or by a signal is run again, up to five times; with any
other status but 0 it is not. Logs are in FOLDER.launch/logs. The same command
goes on where it was stopped. The exit status is that of the first part, or of
the step, that failed for good.

Examples:
  $ chimera launch local recipes/r1t.yaml -o ./R1T --tasks 8 --parallel 4
  $ chimera launch local recipes/r1t.yaml -o s3://bucket/R1T --tasks 8
  $ chimera launch local recipes/r1t.yaml -o ./R1T --push my-org/R1T --discard-local
  $ chimera launch local --tasks 13 --parallel 2 -- sweep recipes/mini/r1t.yaml --lambda r1=0:1:0.1 --n 200`,
    )
    .action(run);
}

async function run(words: string[], options: LocalCommandOptions): Promise<void> {
  const isBuild = !isStudy(words);
  // A model takes all cores by itself, a build's worker one.
  const parallel = options.parallel ?? (isBuild ? Math.min(options.tasks ?? cores(), cores()) : 1);
  const workers = options.workers ?? Math.max(1, Math.floor(cores() / parallel));
  const wishes = { ...options, ...(isBuild ? { workers } : {}) };
  const wanted = await wantedLaunch(words, wishes, {
    defaultTasks: (most) => (isBuild ? Math.min(most, cores()) : most),
  });
  const { launch, what } = wanted;
  const { job, folder } = launch;
  if (options.dryRun) return showDryRun(wanted, options);
  const { launchLocal } = await import("../launch/local.ts");
  const { recordSubmission, LOGS_FOLDER } = await import("../launch/prepare.ts");
  await wanted.write();
  await recordSubmission(launch, { by: "local" });
  const progress = createProgress(options.progress, "launch", isBuild ? {} : { unit: "answers" });
  const isQuiet = options.progress === "json" || options.progress === "none";
  const say = (line: string) => {
    if (!isQuiet) progress.line(line);
  };
  const report = await interruptible(async (signal) => {
    const watch = await watching(wanted, progress);
    try {
      return await launchLocal(job, {
        ...{ parallel, signal, logs: `${folder}/${LOGS_FOLDER}` },
        onEvent: (event) => {
          progress.event(event);
          const line = lineOf(event);
          if (line !== undefined) say(line);
        },
      });
    } finally {
      watch.end();
      progress.end();
    }
  });
  await tellFailures(report, folder);
  const { statusOf } = await import("../launch/exit-rules.ts");
  const { succeeded, failed, runs, steps, failedStep } = report;
  if (options.json) {
    const facts = { output: job.output, folder, tasks: job.tasks, succeeded: succeeded.length };
    const fell = failed.map(({ index, end }) => ({ index, status: statusOf(end) }));
    printJson({ ...facts, failed: fell, runs, steps, failedStep: failedStep?.name ?? null });
  }
  if (failed[0]) throw new ExitStatus(statusOf(failed[0].end));
  if (failedStep) throw new ExitStatus(statusOf(failedStep.end));
  if (options.json) return;
  const again = runs > job.tasks ? `, ${runs - job.tasks} of them run again` : "";
  print(
    `${paint("green", "launched")}  ${job.output}: ${job.tasks} parts (${what})${again}; ${steps.join(", ")}`,
  );
  // What a sweep or an evaluation says at its end is in the log of that step.
  if (!isBuild) print(paint("dim", `report: ${folder}/${LOGS_FOLDER}/report.log`));
}

function lineOf(event: LocalEvent): string | undefined {
  switch (event.kind) {
    case "started":
    case "step-ended":
      return undefined;
    case "step":
      return paintError("dim", `${event.name} …`);
    case "ended": {
      if (event.then === "succeeded") return undefined;
      const { status, signal } = event.end;
      const how = status === null ? `was ended by ${signal}` : `ended with status ${status}`;
      const then = event.then === "again" ? "runs again" : "is not run again";
      return `part ${event.index} ${how} and ${then}: ${clean(event.log)}`;
    }
  }
}

/** Draws how far the folder is, until it is ended. */
async function watching({ launch }: Wanted, progress: Progress): Promise<{ end: () => void }> {
  if (launch.planDigest === undefined) return { end: () => {} };
  const { loadPlan } = await import("../plan/load-recipe.ts");
  const { buildStatus } = await import("../launch/status.ts");
  const { openOutput } = await import("../checkpoint/stores.ts");
  const plan = await loadPlan(`${launch.folder}/plan.json`);
  const target = openOutput(launch.job.output);
  let isBusy = false;
  const look = async () => {
    if (isBusy) return;
    isBusy = true;
    try {
      const { bytes, shards } = await buildStatus(target, plan, { tasks: launch.job.tasks });
      progress.update({ ...bytes, detail: `${shards.done} of ${shards.total} shards` });
    } catch {
      // The state folder goes away at the end: the next look, or nobody, sees it.
    } finally {
      isBusy = false;
    }
  };
  // Of an object store a look is a request for each shard.
  const timer = setInterval(look, target.staging === undefined ? 1000 : 15_000);
  return { end: () => clearInterval(timer) };
}

async function tellFailures({ failed, failedStep }: LocalReport, folder: string): Promise<void> {
  const { lastLines } = await import("../checkpoint/node-append.ts");
  const tell = (what: string, log: string) => {
    note(`${paintError("red", "error:")} ${what}, ${clean(log)} ends with`);
    for (const line of lastLines(log, 8)) note(`  ${clean(line)}`);
  };
  for (const { index } of failed.slice(0, 3)) tell(`part ${index} failed`, `${folder}/logs/${index}.log`);
  if (failed.length > 3) note(`… and ${failed.length - 3} more parts failed`);
  if (failedStep) tell(`the step "${failedStep.name}" failed`, failedStep.log);
}

async function showDryRun({ launch, what }: Wanted, { json }: LaunchOptions): Promise<void> {
  const { job, folder } = launch;
  const { partArguments } = await import("../launch/job.ts");
  const { shellCommand } = await import("../launch/shell-words.ts");
  if (json) return printJson({ dryRun: true, folder, job });
  print(paint("dim", `# ${job.tasks} parts (${what}), in ${job.cwd}`));
  print(`seq 0 ${job.tasks - 1} | xargs -I{} ${shellCommand([...job.program, ...partArguments(job, "{}")])}`);
  for (const { command } of job.finish) print(shellCommand([...job.program, ...command]));
}
