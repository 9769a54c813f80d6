/**
 * An evaluation: every question to the target, several at a time, each answer kept as it comes. What has an answer
 * in the folder is not asked again.
 */
import { setMaxListeners } from "node:events";
import { EvaluationError, Interrupted, TaskError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { GenerationSettings, Task } from "../tasks/task.ts";
import { ask } from "./ask.ts";
import { type Asked, chooseQuestions } from "./choose-questions.ts";
import type { RefusalJudge } from "./judge.ts";
import { commitOf, machineFacts } from "./machine.ts";
import type { EvalRecord } from "./record.ts";
import {
  digestOf,
  questionsDigest,
  RUN_FORMAT,
  type RunConfig,
  type RunSettings,
  taskFacts,
} from "./run-config.ts";
import { type FinishedRun, isRunFolder, keyOf, RunFolder, readRun } from "./run-folder.ts";
import { summarise } from "./summary.ts";
import type { Target } from "./target.ts";

export interface EvaluateOptions {
  /** Where the run is kept, and resumed from. Default: nowhere. */
  folder?: string;
  /** Questions of all tasks together. Default: all there are. */
  n?: number;
  /** Default 0. */
  seed?: number;
  /** On top of what the tasks say. */
  generation?: Partial<GenerationSettings>;
  /** A system message for every question, instead of the task's own. */
  system?: string;
  /** Says what a refusal is. Default: the rules. */
  judge?: RefusalJudge;
  signal?: AbortSignal;
  onEvent?: (event: EvaluateEvent) => void;
}

export type EvaluateEvent =
  | { kind: "started"; name: string; done: number; total: number }
  | { kind: "answered"; record: EvalRecord; seconds: number; done: number; total: number }
  /** It has no record; asking again may help. */
  | { kind: "failed"; task: string; id: string; message: string }
  | { kind: "finished"; name: string; answered: number; total: number };

/** Questions in a row that may fail before the target is given up. */
const MOST_FAILURES = 5;

/** Failures of one question: others may still be answered. */
const OF_ONE_QUESTION = new Set(["question-refused", "unreachable", "bad-answer", "context"]);

/** What the run of these options would be. Throws TaskError when there is no question. */
export async function runConfigOf(
  target: Pick<Target, "name" | "identity">,
  tasks: readonly Task[],
  { n, seed = 0, generation = {}, system, judge }: EvaluateOptions = {},
): Promise<RunConfig> {
  const asked = chooseQuestions(tasks, { n, seed });
  if (asked.length === 0) {
    const message = "Cannot evaluate without questions: the tasks have none, wanted at least one";
    throw new TaskError([{ code: "no-questions", message }]);
  }
  const total = tasks.reduce((sum, { questions }) => sum + questions.length, 0);
  const settings: RunSettings = {
    target: target.identity,
    tasks: taskFacts(tasks),
    n: asked.length < total ? asked.length : null,
    questions: questionsDigest(asked),
    seed,
    generation,
    system: system ?? null,
    refusals: judge ? judge.identity : { kind: "rules" },
  };
  return {
    format: RUN_FORMAT,
    version: 1,
    name: target.name,
    settings,
    digest: digestOf(settings),
    numQuestions: asked.length,
    taskFiles: Object.fromEntries(tasks.map(({ name, file }) => [name, file])),
    machine: machineFacts(),
    chimera: { version: VERSION, commit: await commitOf() },
    startedAt: new Date().toISOString(),
  };
}

/**
 * Asks the questions of the tasks, and resolves to the run: complete, or with what is missing where some questions
 * failed. A run that is complete in its folder is read, and nobody asked.
 *
 * @throws TaskError when there is no question
 * @throws EvaluationError for a folder with another run, and for a target that cannot go on; records stay
 * @throws Interrupted when the signal fired; records stay
 */
export async function evaluate(
  target: Target,
  tasks: readonly Task[],
  options: EvaluateOptions = {},
): Promise<FinishedRun> {
  const { folder, n, seed = 0, onEvent } = options;
  const config = await runConfigOf(target, tasks, options);
  if (folder !== undefined && isRunFolder(folder)) {
    const held = await readRun(folder);
    if (held.summary?.complete && held.config.digest === config.digest) return held;
  }
  const asked = chooseQuestions(tasks, { n, seed });
  for (const mode of new Set(asked.map(({ task }) => task.mode))) await target.check?.(mode);
  const run = folder === undefined ? RunFolder.inMemory(config) : await RunFolder.open(folder, config);
  let isComplete = false;
  try {
    onEvent?.({ kind: "started", name: target.name, done: run.records.size, total: asked.length });
    await new Asker(target, run, options).askAll(asked);
    const keys = asked.map((one) => keyOf({ task: one.task.name, id: one.question.id }));
    const records = keys.flatMap((key) => run.records.get(key) ?? []);
    const timings = keys.flatMap((key) => run.timings.get(key) ?? []);
    const { name, digest } = config;
    const summary = summarise({ name, digest, asked: asked.length }, records, timings);
    await run.finish(keys, summary);
    isComplete = summary.complete;
    onEvent?.({ kind: "finished", name, answered: records.length, total: asked.length });
    return { folder: folder ?? "", config: run.config, records, timings, summary };
  } finally {
    await run.close({ isComplete });
  }
}

/** Each question under way listens to it: dozens at a time are no leak. */
function patientController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

class Asker {
  readonly #target: Target;
  readonly #run: RunFolder;
  readonly #options: EvaluateOptions;
  readonly #controller = patientController();
  readonly #startedAt = performance.now();
  #failuresInARow = 0;
  #fatal: unknown;
  #model: string | undefined;

  constructor(target: Target, run: RunFolder, options: EvaluateOptions) {
    this.#target = target;
    this.#run = run;
    this.#options = options;
    for (const { model } of run.timings.values()) this.#model ??= model;
  }

  async askAll(asked: readonly Asked[]): Promise<void> {
    const open = asked.filter(({ task, question }) => {
      return !this.#run.records.has(keyOf({ task: task.name, id: question.id }));
    });
    const { signal } = this.#options;
    const stop = () => this.#controller.abort();
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    let next = 0;
    const worker = async () => {
      while (next < open.length && !this.#controller.signal.aborted)
        await this.#one(open[next++]!, asked.length);
    };
    try {
      const workers = Math.min(open.length, Math.max(1, this.#target.concurrency));
      await Promise.all(Array.from({ length: workers }, worker));
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    if (this.#fatal !== undefined) throw this.#fatal;
    if (signal?.aborted) {
      const kept = `${this.#run.records.size} of ${asked.length} answers are kept`;
      throw new Interrupted(this.#run.folder === undefined ? "the evaluation is not complete" : kept);
    }
  }

  async #one(asked: Asked, total: number): Promise<void> {
    const { generation = {}, seed = 0, system, judge, onEvent } = this.#options;
    const { signal } = this.#controller;
    try {
      const { record, timing } = await ask(this.#target, asked, { seed, generation, system, judge, signal });
      // An answer that was cut off by the signal is none.
      if (record.finish === "aborted") return;
      this.#checkModel(timing.model);
      const at = (performance.now() - this.#startedAt) / 1000;
      this.#run.add(record, { ...timing, session: this.#run.session, at });
      this.#failuresInARow = 0;
      onEvent?.({ kind: "answered", record, seconds: timing.seconds, done: this.#run.records.size, total });
    } catch (error) {
      try {
        this.#fail(asked, error);
      } catch (other) {
        this.#stop(other); // whoever is told of the failure has failed too
      }
    }
  }

  #fail({ task, question }: Asked, error: unknown): void {
    if (this.#controller.signal.aborted && (error instanceof Interrupted || this.#fatal !== undefined))
      return;
    const code = (error as { code?: unknown }).code;
    if (!(error instanceof Error && typeof code === "string" && OF_ONE_QUESTION.has(code))) {
      this.#stop(error);
      return;
    }
    const { message } = error;
    this.#options.onEvent?.({ kind: "failed", task: task.name, id: question.id, message });
    // What is wrong with a question says nothing of the target.
    if (code === "context" || code === "question-refused") return;
    this.#failuresInARow++;
    if (this.#failuresInARow >= MOST_FAILURES) this.#stop(error);
  }

  #stop(error: unknown): void {
    this.#fatal ??= error;
    this.#controller.abort();
  }

  /** Half of a run by one model and half by another would be nobody's. */
  #checkModel(model: string | undefined): void {
    if (model === undefined) return;
    this.#model ??= model;
    if (model === this.#model) return;
    throw new EvaluationError(
      "model-changed",
      `Cannot go on with "${this.#target.name}": the answer comes from the model "${model}", wanted "${this.#model}" as before`,
      { note: "What was answered before is kept. Evaluate the other model into a folder of its own" },
    );
  }
}
