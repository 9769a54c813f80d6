/**
 * The runs of a study: each child is evaluated once, into a run folder named after what decides its records, and is
 * found there when the study is resumed, or when two points make the same child. Nothing else is remembered: a study
 * that was killed goes on from what lies in its folder.
 */
import { join } from "node:path";
import { awaitRun, type Patience } from "../eval/await-run.ts";
import { type EvaluateEvent, type EvaluateOptions, evaluate, runConfigOf } from "../eval/evaluate.ts";
import { type FinishedRun, isRunFolder, readRun } from "../eval/run-folder.ts";
import type { Target, TargetIdentity } from "../eval/target.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { Task } from "../tasks/task.ts";

/** Children are made and run above: a study knows how to ask for one. */
export interface ChildOpener {
  /** What decides a target's answers; no model is loaded for it. */
  identify(source: BuildPlan | string): Promise<TargetIdentity>;
  open(source: BuildPlan | string, name: string): Promise<Target>;
}

export interface RunPoolOptions {
  /** Runs go below `runs/` in it. */
  folder: string;
  tasks: readonly Task[];
  questions: Omit<EvaluateOptions, "folder" | "onEvent" | "signal">;
  opener: ChildOpener;
  /** Where parents lie, by name, instead of where the recipe says. */
  locations?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  onEvent?: (event: PoolEvent) => void;
  /** Others make the runs: nobody is asked here, they are waited for. */
  waits?: Patience;
}

export type PoolEvent = { name: string } & EvaluateEvent;

export interface PoolRun {
  run: FinishedRun;
  /** It was there already. */
  isFound: boolean;
}

export class RunPool {
  readonly #options: RunPoolOptions;

  constructor(options: RunPoolOptions) {
    this.#options = options;
  }

  /** The run of a recipe's child, or of a checkpoint by its location. `name`: for tables. */
  async runOf(source: Recipe | string, name: string): Promise<PoolRun> {
    const { folder, tasks, questions, opener, locations, signal, onEvent, waits } = this.#options;
    const what =
      typeof source === "string" ? source : await planRecipe(source, locations ? { locations } : {});
    const identity = await opener.identify(what);
    const config = await runConfigOf({ name, identity }, tasks, questions);
    const runFolder = join(folder, "runs", config.digest.slice(0, 12));
    if (waits) return { run: await awaitRun(runFolder, config, waits, signal), isFound: true };
    if (isRunFolder(runFolder)) {
      const held = await readRun(runFolder);
      if (held.summary?.complete && held.config.digest === config.digest) return { run: held, isFound: true };
    }
    const target = await opener.open(what, name);
    try {
      const run = await evaluate(target, tasks, {
        ...questions,
        folder: runFolder,
        ...(signal ? { signal } : {}),
        onEvent: (event) => onEvent?.({ ...event, name }),
      });
      return { run, isFound: false };
    } finally {
      await target.close();
    }
  }
}
