/** chimera eval: what checkpoints, children that are not built, and models behind endpoints do with the same questions. */
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { formatInteger } from "../base/format.ts";
import type { Patience } from "../eval/await-run.ts";
import type { RunComparison } from "../eval/compare-runs.ts";
import type { EvaluateEvent, EvaluateOptions } from "../eval/evaluate.ts";
import type { RefusalJudge } from "../eval/judge.ts";
import type { FinishedRun } from "../eval/run-folder.ts";
import type { GenerationSettings, Task } from "../tasks/task.ts";
import { parsePart, parseSeconds } from "./build.ts";
import { comparisonTable, overviewTable, topicTable } from "./eval-tables.ts";
import { ExitStatus, UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { parseCount, parseNumber } from "./model.ts";
import { createProgress, type ProgressMode } from "./progress.ts";
import {
  addTargetOptions,
  identifyTarget,
  type NamedTarget,
  nameTargets,
  openTarget,
  requireTargets,
  type TargetCommandOptions,
} from "./targets.ts";
import { clean, note, paint, paintError, print, printJson } from "./terminal.ts";

/** What questions are asked, and how: shared with sweep, search and ablate. */
export interface QuestionOptions {
  tasks?: string[];
  n?: number;
  seed: number;
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  system?: string;
  judge?: string;
}

interface EvalCommandOptions extends TargetCommandOptions, QuestionOptions {
  out?: string;
  rescore?: boolean;
  part?: { index: number; count: number };
  wait?: number;
  dryRun?: boolean;
  json?: boolean;
}

export function addQuestionOptions(command: Command): Command {
  return command
    .option(
      "--tasks <files...>",
      "task files (YAML), folders of them, or data in a known format (default: the small world's)",
    )
    .option("--n <n>", "questions of all tasks together, drawn by the seed (default: all)", parseCount)
    .option(
      "--seed <s>",
      "draws questions, samples and proposals: the same seed gives the same records",
      parseSeed,
      0,
    )
    .option("--max-tokens <n>", "longest answer, thinking included (default: as each task says)", parseCount)
    .option("--temperature <t>", "0: always the likeliest token (default: as each task says, 0)", parseNumber)
    .option(
      "--top-p <p>",
      "the likeliest tokens that reach this sum (default: as each task says, 1)",
      parseNumber,
    )
    .option("--system <text>", "a system message before every question, instead of the tasks' own")
    .option("--judge <url#model>", "a model behind an endpoint says what a refusal is (default: rules)");
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (Number.isSafeInteger(seed) && seed >= 0) return seed;
  throw new InvalidArgumentError("wanted a whole number from 0 on");
}

export function addEval(program: Command): void {
  const command = program
    .command("eval")
    .description("measure accuracy, tokens, thinking and refusals of models on the same questions")
    .argument(
      "<target...>",
      "a checkpoint, a recipe (its child is not written), an endpoint as URL#MODEL, or a run's folder; NAME=… names it",
    );
  addTargetOptions(addQuestionOptions(command))
    .option(
      "-o, --out <folder>",
      "where the run goes (default: runs/NAME-DIGEST); with several targets, a folder for each within",
    )
    .option("--rescore", "score the answers of runs again by the tasks as they are now; nobody is asked")
    .option("--part <i/n>", "ask only every n-th target, from the i-th on; with -o", parsePart)
    .option(
      "--wait <seconds>",
      "ask nobody: compare when the parts have run everything, at most so long from now; with -o",
      parseSeconds,
    )
    .option("--dry-run", "say which runs there would be and where, and ask nobody; with -o")
    .option("--json", "summaries and comparisons as JSON on stdout")
    .addHelpText(
      "after",
      `
A run is a folder: config.json, records.ndjson (every answer), timings.ndjson,
summary.json. The same command resumes a run that was stopped, and reads one
that is complete. Two or more targets are compared on the same questions:
McNemar's test for shares, a paired bootstrap for tokens, Holm's correction.

An endpoint's key comes from CHIMERA_API_KEY, or from OPENAI_API_KEY or
DEEPSEEK_API_KEY for those hosts. It is never written anywhere.

Examples:
  $ chimera eval models/mini-v3 models/mini-r1 recipes/mini/r1t.yaml
  $ chimera eval ./R1T --tasks gsm8k_test.jsonl --n 200 --max-tokens 8192
  $ chimera eval http://localhost:8000/v1#r1t ./R1T --tasks my-task.yaml
  $ chimera eval runs/mini-v3-0f3a… runs/mini-r1-77c1…     compare two runs
  $ chimera eval runs/mini-r1-77c1… --rescore --tasks tasks/mini
  $ seq 0 2 | xargs -P3 -I{} chimera eval ./V3 ./R1 ./R1T -o runs/three --part {}/3
  $ chimera eval ./V3 ./R1 ./R1T -o runs/three --wait 86400    # compares when they are done`,
    )
    .action(run);
}

async function run(texts: string[], options: EvalCommandOptions): Promise<void> {
  refuseWaiting(options);
  const all = await nameTargets(texts, options);
  await requireTargets(all);
  const { part, out, wait } = options;
  if ((part || options.dryRun || wait !== undefined) && out === undefined) {
    const option = part ? "--part" : options.dryRun ? "--dry-run" : "--wait";
    throw new UsageError(`Cannot use ${option} without -o, wanted the folder that all parts share`);
  }
  if (options.dryRun) return showRuns(all, options);
  const targets = part ? all.filter((_, i) => i % part.count === part.index) : all;
  if (targets.length === 0) return print("This part has no target: nothing to do.");
  const isAllRuns = targets.every(({ kind }) => kind === "run");
  if (options.rescore && !isAllRuns)
    throw new UsageError("Cannot score again what is no run, wanted the folders of runs with --rescore");
  const tasks = isAllRuns && !options.rescore ? [] : await loadQuestions(options);
  await interruptible(async (signal) => {
    const { removeParts, writeParts } = await import("../eval/parts-record.ts");
    // A folder of one run says itself how far it is.
    const isShared = out !== undefined && all.length > 1;
    if (part && isShared) await writeParts(out, { kind: "eval", runs: all.map(({ name }) => name) });
    const judge = await openRefusalJudge(options);
    const waits = wait === undefined ? undefined : (await import("../eval/await-run.ts")).patience(wait);
    const runs: FinishedRun[] = [];
    for (const target of targets) {
      if (targets.length > 1) options.progress !== "none" && note(paintError("dim", clean(target.name)));
      runs.push(await runOf(target, tasks, { options, signal, judge, waits, isOne: all.length === 1 }));
    }
    const { compareRuns } = await import("../eval/compare-runs.ts");
    const names = targets.map(({ name }) => name);
    const comparisons = runs.length > 1 ? compareRuns(runs, names) : [];
    if (options.out !== undefined && comparisons.length > 0 && !part) {
      const { writeFileAtomically } = await import("../checkpoint/node.ts");
      const text = `${JSON.stringify({ names, comparisons }, null, 2)}\n`;
      await writeFileAtomically(join(options.out, "comparison.json"), text);
    }
    show(names, runs, comparisons, options.json === true);
    if (runs.some(({ summary }) => !summary?.complete)) throw new ExitStatus(75);
    if (!part && isShared) await removeParts(out);
  });
}

/** Waiting is what a part or a dry run never does. */
export function refuseWaiting({
  wait,
  part,
  dryRun,
}: {
  wait?: number;
  part?: object;
  dryRun?: boolean;
}): void {
  const other = part ? "--part" : dryRun ? "--dry-run" : undefined;
  if (wait !== undefined && other)
    throw new UsageError(`Cannot use --wait with ${other}, wanted one of them`);
}

/** With what reports when every run is complete: it reads them, and loads no model. */
async function showRuns(
  targets: readonly NamedTarget[],
  { out, json, ...options }: EvalCommandOptions,
): Promise<void> {
  const { chooseQuestions } = await import("../eval/choose-questions.ts");
  const { n, seed } = options;
  const numQuestions = chooseQuestions(await loadQuestions(options), { n, seed }).length;
  const folderOf = ({ name, kind, location }: NamedTarget) =>
    kind === "run" ? location : targets.length === 1 ? out! : join(out!, name);
  const report = ["eval", ...targets.map((target) => `${target.name}=${folderOf(target)}`), "-o", out!];
  const runs = targets.map(({ name }) => name);
  if (json) return printJson({ folder: out, numQuestions, runs, report });
  for (const target of targets) print(`${clean(target.name)}  ${paint("dim", clean(folderOf(target)))}`);
  print(paint("dim", `${targets.length} targets × ${numQuestions} questions`));
}

/** The tasks that are asked for, else those of the small world. Throws TaskError. */
export async function loadQuestions({ tasks }: Pick<QuestionOptions, "tasks">): Promise<Task[]> {
  const { loadTasks } = await import("../tasks/task-file.ts");
  const { packageFile } = await import("../checkpoint/node.ts");
  return loadTasks(tasks ?? [packageFile("tasks/mini")]);
}

export async function openRefusalJudge({
  judge,
  ...options
}: QuestionOptions & TargetCommandOptions): Promise<RefusalJudge | undefined> {
  if (judge === undefined) return undefined;
  const [target] = await nameTargets([judge]);
  if (target?.kind !== "endpoint")
    throw new UsageError(`Cannot use the judge "${judge}": it is no endpoint, wanted URL#MODEL`);
  const { openJudge } = await import("../eval/judge.ts");
  return openJudge(await openTarget(target, options));
}

/** What is asked, and how, for evaluate(). */
export function questionsOf(options: QuestionOptions): EvaluateOptions {
  const { n, seed, system, maxTokens, temperature, topP } = options;
  const generation: Partial<GenerationSettings> = {
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
  };
  return {
    ...{ seed, generation },
    ...(n === undefined ? {} : { n }),
    ...(system === undefined ? {} : { system }),
  };
}

interface RunContext {
  options: EvalCommandOptions;
  signal: AbortSignal;
  judge: RefusalJudge | undefined;
  waits: Patience | undefined;
  isOne: boolean;
}

async function runOf(
  target: NamedTarget,
  tasks: readonly Task[],
  { options, signal, judge, waits, isOne }: RunContext,
): Promise<FinishedRun> {
  const { out } = options;
  const within = out === undefined ? undefined : isOne ? out : join(out, target.name);
  if (target.kind === "run") {
    const { readRun } = await import("../eval/run-folder.ts");
    const held = await readRun(target.location);
    if (!options.rescore) return withSummary(held);
    const { rescore } = await import("../eval/rescore.ts");
    const folder = within ?? `${target.location.replace(/\/+$/, "")}-rescored`;
    return rescore(held, tasks, { folder, ...(judge ? { judge } : {}) });
  }
  const { evaluate, runConfigOf } = await import("../eval/evaluate.ts");
  if (waits) {
    const { awaitRun } = await import("../eval/await-run.ts");
    const identified = { name: target.name, identity: await identifyTarget(target, options) };
    const wishes = { ...questionsOf(options), ...(judge ? { judge } : {}) };
    return awaitRun(within!, await runConfigOf(identified, tasks, wishes), waits, signal);
  }
  const opened = await openTarget(target, { ...options, signal });
  const progress = evalProgress(options.progress, target.name);
  try {
    const wishes = { ...questionsOf(options), signal, ...(judge ? { judge } : {}) };
    const folder =
      within ??
      join("runs", `${target.name}-${(await runConfigOf(opened, tasks, wishes)).digest.slice(0, 10)}`);
    return await evaluate(opened, tasks, { ...wishes, folder, onEvent: progress.onEvent });
  } finally {
    progress.end();
    await opened.close();
  }
}

async function withSummary(run: FinishedRun): Promise<FinishedRun> {
  if (run.summary) return run;
  const { summarise } = await import("../eval/summary.ts");
  const { name, digest, numQuestions: asked } = run.config;
  return { ...run, summary: summarise({ name, digest, asked }, run.records, run.timings) };
}

/** Answers as they come; failures as lines that stay. */
export function evalProgress(
  mode: ProgressMode,
  label: string,
): { onEvent: (event: EvaluateEvent) => void; end: () => void } {
  const progress = createProgress(mode, clean(label), { unit: "answers", delay: 500 });
  return {
    onEvent: (event) => {
      progress.event(event);
      if (event.kind === "started") progress.update({ done: event.done, total: event.total });
      if (event.kind === "answered") progress.update({ done: event.done, total: event.total });
      if (event.kind === "failed" && mode !== "json" && mode !== "none") {
        const what = `${clean(event.task)} ${clean(event.id)}: ${clean(event.message)}`;
        progress.line(`${paintError("yellow", "no answer:")} ${what}`);
      }
    },
    end: () => progress.erase(),
  };
}

function show(
  names: readonly string[],
  runs: readonly FinishedRun[],
  comparisons: readonly RunComparison[],
  isJson: boolean,
): void {
  if (isJson) {
    const list = runs.map(({ folder, config, summary }, i) => ({ name: names[i], folder, config, summary }));
    printJson({ runs: list, comparisons });
    return;
  }
  const shown = runs.map(({ summary }, i) => ({ name: names[i]!, summary: summary! }));
  print(overviewTable(shown));
  print();
  print(topicTable(shown));
  if (comparisons.length > 0) {
    print();
    print(comparisonTable(comparisons));
  }
  print();
  for (const [i, { folder, config, summary }] of runs.entries()) {
    const { refusals, seed } = config.settings;
    const judged = refusals.kind === "rules" ? "refusals by rules" : `refusals by ${refusals.model}`;
    const { answered, asked } = summary!;
    const counts = answered < asked ? `${answered} of ${asked}` : formatInteger(asked);
    const facts = [`${counts} questions`, `seed ${seed}`, judged, clean(folder)].join(" · ");
    print(`${paint("dim", clean(names[i]!))}  ${paint("dim", facts)}`);
    if (answered < asked)
      print(
        paint("yellow", `${asked - answered} questions have no answer; the same command asks them again`),
      );
  }
}
