/** What sweep, search and ablate share: the recipe and the questions that are meant, where runs go, how children are run. */
import { join } from "node:path";
import type { Command } from "commander";
import { formatDuration } from "../base/format.ts";
import type { RunSummary } from "../eval/summary.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { ChildOpener, PoolEvent, RunPool } from "../study/run-pool.ts";
import type { StudyQuestions } from "../study/study-file.ts";
import {
  addQuestionOptions,
  loadQuestions,
  openRefusalJudge,
  type QuestionOptions,
  questionsOf,
} from "./eval.ts";
import { percent } from "./eval-tables.ts";
import { ExitStatus, UsageError } from "./exit.ts";
import { addModelOptions, type ModelCommandOptions, parseCount } from "./model.ts";
import { createProgress } from "./progress.ts";
import { clean, note, paintError } from "./terminal.ts";

export interface StudyCommandOptions extends ModelCommandOptions, QuestionOptions {
  batch?: number;
  out?: string;
  json?: boolean;
  dryRun?: boolean;
  /** Of sweeps. */
  wait?: number;
}

export function addStudyOptions(command: Command): Command {
  addModelOptions(addQuestionOptions(command), { speculates: false });
  return command
    .option("--batch <n>", "answers that are computed at a time (default: 32)", parseCount)
    .option(
      "-o, --out <folder>",
      "where runs and report go (default: runs/COMMAND-RECIPE); the same folder resumes",
    )
    .option("--dry-run", "say what would be evaluated, and evaluate nothing")
    .option("--json", "the result as JSON on stdout");
}

export interface Study {
  recipe: Recipe;
  folder: string;
  pool: RunPool;
  numQuestions: number;
  seed: number;
  locations: Readonly<Record<string, string>> | undefined;
  /** Ends a bar that is on the screen. */
  endProgress: () => void;
  /** A line that stays, above the bar. */
  say: (line: string) => void;
}

/** Options of the command line over those of a file. */
export function withFile<Options extends StudyCommandOptions>(
  options: Options,
  file: StudyQuestions | undefined,
  isGiven: (option: string) => boolean,
): Options {
  if (!file) return options;
  const { maxTokens, temperature, topP } = file.generation;
  const said: Partial<QuestionOptions> = {
    ...(file.tasks ? { tasks: file.tasks } : {}),
    ...(file.n === undefined ? {} : { n: file.n }),
    ...(file.seed === undefined || isGiven("seed") ? {} : { seed: file.seed }),
    ...(file.system === undefined ? {} : { system: file.system }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
  };
  const given = Object.entries(options).filter(
    ([key, value]) => value !== undefined && (key !== "seed" || isGiven("seed")),
  );
  return { ...options, ...said, ...Object.fromEntries(given) };
}

/** Opens what a study works with. `kind`: "sweep", for the folder's name. */
export async function openStudy(
  kind: string,
  recipePath: string,
  { options, signal }: { options: StudyCommandOptions; signal: AbortSignal },
): Promise<Study> {
  const { loadRecipe } = await import("../plan/load-recipe.ts");
  const { RunPool } = await import("../study/run-pool.ts");
  const { chooseQuestions } = await import("../eval/choose-questions.ts");
  const { patience } = await import("../eval/await-run.ts");
  const { nameOf } = await import("../library/eval-target.ts");
  const { folderExists } = await import("../checkpoint/node.ts");
  if (folderExists(recipePath))
    throw new UsageError(`Cannot study "${recipePath}": it is a folder, wanted a recipe`);
  const recipe = await loadRecipe(recipePath);
  const tasks = await loadQuestions(options);
  const judge = await openRefusalJudge({ ...options, progress: "none" });
  const folder = options.out ?? join("runs", `${kind}-${nameOf(recipePath)}`);
  const { n, seed, parent } = options;
  const numQuestions = chooseQuestions(tasks, { n, seed }).length;
  const progress = createProgress(options.progress, "answers", { unit: "answers", delay: 500 });
  const onEvent = (event: PoolEvent) => {
    progress.event(event);
    if (event.kind === "started" || event.kind === "answered")
      progress.update({ done: event.done, total: event.total, detail: clean(event.name) });
    if (event.kind === "finished") progress.erase();
  };
  const pool = new RunPool({
    ...{ folder, tasks, signal, onEvent, opener: await openerOf(options, signal) },
    questions: { ...questionsOf(options), ...(judge ? { judge } : {}) },
    ...(parent ? { locations: parent } : {}),
    ...(options.wait === undefined ? {} : { waits: patience(options.wait) }),
  });
  const isQuiet = options.progress === "json" || options.progress === "none";
  return {
    ...{ recipe, folder, pool, numQuestions, seed, locations: parent },
    endProgress: () => progress.erase(),
    say: (line) => {
      progress.erase();
      if (!isQuiet) note(line);
    },
  };
}

async function openerOf(options: StudyCommandOptions, signal: AbortSignal): Promise<ChildOpener> {
  const { identifyEvalTarget, openEvalTarget } = await import("../library/eval-target.ts");
  const { batch, threads, context, cache, weights, expertMemory } = options;
  const model = {
    weights,
    ...(threads ? { threads } : {}),
    ...(context ? { context } : {}),
    ...(cache ? { cache } : {}),
    ...(expertMemory === undefined ? {} : { expertMemory }),
  };
  return {
    identify: (source) => identifyEvalTarget(source, model),
    open: (source, name) =>
      openEvalTarget(source, { ...model, name, signal, ...(batch === undefined ? {} : { slots: batch }) }),
  };
}

/** A run in a few columns: accuracy, tokens, thinking, refusals. */
export function figuresOf({ overall, speed }: RunSummary, isFound: boolean): string[] {
  if (!overall) return ["–", "–", "–", "–", ""];
  const { accuracy, tokens, opensThinking, refused } = overall;
  return [
    accuracy ? accuracy.value.toFixed(3) : "–",
    tokens ? tokens.mean.toFixed(1) : "–",
    percent(opensThinking),
    percent(refused),
    isFound ? "was there" : formatDuration(speed.seconds),
  ];
}

const WIDTHS = [8, 8, 9, 8, 11];
const LABELS = ["accuracy", "tokens", "thinking", "refused", ""];
const NAME_WIDTH = 34;

/** The head of a list that grows line by line, as runs end. */
export function figuresHead(): string {
  return paintError("dim", line("", LABELS));
}

export function figuresLine(name: string, summary: RunSummary, isFound: boolean): string {
  return line(clean(name), figuresOf(summary, isFound));
}

function line(name: string, cells: readonly string[]): string {
  const padded = cells.map((cell, i) => cell.padStart(WIDTHS[i]!));
  return `${name.padEnd(NAME_WIDTH)} ${padded.join("  ")}`.trimEnd();
}

/** Runs with questions that have no answer: the study is not complete. */
export function requireComplete(summaries: readonly RunSummary[]): void {
  const open = summaries.filter(({ complete }) => !complete).length;
  if (open === 0) return;
  note(`${paintError("yellow", "warning:")} ${open} runs lack answers; the same command asks again`);
  throw new ExitStatus(75);
}
