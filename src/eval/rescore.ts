/**
 * A run scored again, from what was answered then: after a task's scoring was mended, or by other rules of refusal. Nobody
 * is asked a question. A run never changes, so the result is another run, which says where it comes from.
 */
import { resolve } from "node:path";
import { EvaluationError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { shown } from "../checkpoint/shown.ts";
import { judgeRefusal } from "../tasks/refusal-rules.ts";
import { likeliestChoice, scoreAnswer } from "../tasks/scoring.ts";
import type { Question, Task } from "../tasks/task.ts";
import type { RefusalJudge } from "./judge.ts";
import { commitOf, machineFacts } from "./machine.ts";
import type { EvalRecord } from "./record.ts";
import { digestOf, type RunConfig, taskFacts } from "./run-config.ts";
import { type FinishedRun, keyOf, RunFolder } from "./run-folder.ts";
import { summarise } from "./summary.ts";

/**
 * Throws EvaluationError where the tasks lack a question of the run, or ask it in other words: the answer would be
 * one to another question.
 */
export async function rescore(
  run: FinishedRun,
  tasks: readonly Task[],
  { folder, judge }: { folder?: string; judge?: RefusalJudge } = {},
): Promise<FinishedRun> {
  if (folder !== undefined && resolve(folder) === resolve(run.folder)) {
    const message = `Cannot score "${shown(run.folder)}" again into itself: a run never changes, wanted another folder`;
    throw new EvaluationError("other-run", message);
  }
  const scored: EvalRecord[] = [];
  for (const record of run.records) scored.push(await scoreAgain(record, tasks, judge));
  const names = new Set(scored.map(({ task }) => task));
  const settings = {
    ...run.config.settings,
    tasks: taskFacts(tasks.filter(({ name }) => names.has(name))),
    refusals: judge ? judge.identity : ({ kind: "rules" } as const),
    rescoredFrom: run.config.digest,
  };
  const config: RunConfig = {
    ...run.config,
    settings,
    digest: digestOf(settings),
    taskFiles: Object.fromEntries(tasks.map(({ name, file }) => [name, file])),
    machine: machineFacts(),
    chimera: { version: VERSION, commit: await commitOf() },
    startedAt: new Date().toISOString(),
  };
  const kept = folder === undefined ? RunFolder.inMemory(config) : await RunFolder.open(folder, config);
  let isComplete = false;
  try {
    const { name, digest, numQuestions: asked } = config;
    const summary = summarise({ name, digest, asked }, scored, run.timings);
    for (const record of scored) kept.records.set(keyOf(record), record);
    for (const timing of run.timings) kept.timings.set(keyOf(timing), timing);
    await kept.finish(scored.map(keyOf), summary);
    isComplete = summary.complete;
    return { folder: folder ?? "", config, records: scored, timings: run.timings, summary };
  } finally {
    await kept.close({ isComplete });
  }
}

async function scoreAgain(
  record: EvalRecord,
  tasks: readonly Task[],
  judge: RefusalJudge | undefined,
): Promise<EvalRecord> {
  const { task, question } = find(record, tasks);
  const { scoring } = task;
  // Verdicts go last, as in a record that is made by asking: the same ones give the same bytes.
  const { correct: _, extracted: __, refused: ___, refusedBy: ____, likelihoods, ...answered } = record;
  const known = { ...answered, topic: question.topic ?? task.name, wanted: question.answers };
  if (scoring.kind === "choice" && scoring.method === "likelihood") {
    const { choices = [] } = question;
    const asked = choices.map((choice) => scoring.delimiter + choice);
    if (!likelihoods || JSON.stringify(record.continuations) !== JSON.stringify(asked))
      throw otherWay(record);
    // Normalised anew, the likeliest may be another.
    const values = likelihoods.map(({ logLikelihood }) => logLikelihood);
    const content = choices[likeliestChoice(scoring.normalise, choices, values)] ?? "";
    const score = scoreAnswer(scoring, question, content, false);
    return { ...known, content, ...score, refused: false, likelihoods };
  }
  if (likelihoods) throw otherWay(record);
  const { refused, rule } = judge
    ? await judge.judge({ prompt: record.turns.at(-1)!, content: record.content })
    : judgeRefusal(record.content);
  return {
    ...known,
    ...scoreAnswer(scoring, question, record.content, refused),
    refused,
    ...(refused && rule !== undefined ? { refusedBy: rule } : {}),
  };
}

/** Words are no likelihoods, nor the other way round. */
function otherWay({ task, id, likelihoods }: EvalRecord): EvaluationError {
  const was = likelihoods ? `by ${likelihoods.length} likelihoods` : "in words";
  const message = `Cannot score question "${id}" of task "${task}" again: it was answered ${was}, wanted as the task scores now`;
  return new EvaluationError("other-task", message);
}

function find(record: EvalRecord, tasks: readonly Task[]): { task: Task; question: Question } {
  const task = tasks.find(({ name }) => name === record.task);
  const question = task?.questions.find(({ id }) => id === record.id);
  const what = `Cannot score question "${record.id}" of task "${record.task}" again`;
  if (!task || !question) {
    const lacks = task ? "the task has no such question" : "there is no such task";
    throw new EvaluationError("other-task", `${what}: ${lacks}, wanted the task that was asked`);
  }
  if (JSON.stringify(question.turns) === JSON.stringify(record.turns)) return { task, question };
  throw new EvaluationError("other-task", `${what}: it is asked in other words now, wanted those of the run`);
}
