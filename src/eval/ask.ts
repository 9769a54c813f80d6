/** One question put to a target: all its turns, the score, and whether the answer is a refusal. */
import { CheckpointError, EvaluationError } from "../base/errors.ts";
import { judgeRefusal } from "../tasks/refusal-rules.ts";
import { likeliestChoice, scoreAnswer } from "../tasks/scoring.ts";
import type { GenerationSettings } from "../tasks/task.ts";
import type { ChatMessage } from "../text/chat-template.ts";
import { type Asked, seedOfQuestion } from "./choose-questions.ts";
import type { RefusalJudge } from "./judge.ts";
import type { EvalRecord, EvalTiming } from "./record.ts";
import type { Answer, AnswerRequest, Target } from "./target.ts";

export interface AskOptions {
  seed: number;
  generation: Partial<GenerationSettings>;
  system: string | undefined;
  /** Instead of the rules. */
  judge: RefusalJudge | undefined;
  signal: AbortSignal | undefined;
}

export interface Asking {
  record: EvalRecord;
  timing: Omit<EvalTiming, "session" | "at">;
}

export async function ask(target: Target, asked: Asked, options: AskOptions): Promise<Asking> {
  const { task } = asked;
  if (task.scoring.kind === "choice" && task.scoring.method === "likelihood")
    return askLikelihood(target, asked, options);
  return askInWords(target, asked, options);
}

async function askInWords(target: Target, asked: Asked, options: AskOptions): Promise<Asking> {
  const { task, question } = asked;
  const { signal } = options;
  const settings = { ...task.generation, ...options.generation };
  const { maxTokens, temperature, topP, stop } = settings;
  const request = { maxTokens, temperature, topP, stop, seed: seedOfQuestion(options.seed, asked) };
  const system = options.system ?? task.system;
  const messages: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
  const answers: Answer[] = [];
  for (const turn of question.turns) {
    messages.push({ role: "user", content: turn });
    const prompt: AnswerRequest["prompt"] =
      task.mode === "raw" ? { kind: "raw", text: turn } : { kind: "chat", messages: [...messages] };
    const answer = tidied(await answerOrNothing(target, { ...request, prompt }, signal));
    answers.push(answer);
    messages.push({ role: "assistant", content: answer.content });
  }
  const last = answers.at(-1)!;
  const { refused, rule } = options.judge
    ? await options.judge.judge({ prompt: question.turns.at(-1)!, content: last.content }, signal)
    : judgeRefusal(last.content);
  const tokens = sumOf(answers.map((answer) => answer.tokens));
  const thinkingTokens = sumOf(answers.map((answer) => answer.thinkingTokens));
  const { correct, extracted } = scoreAnswer(task.scoring, question, last.content, refused);
  const record: EvalRecord = {
    ...beginningOf(asked),
    ...(answers.length > 1
      ? { earlier: answers.slice(0, -1).map(({ reasoning, content }) => ({ reasoning, content })) }
      : {}),
    reasoning: last.reasoning,
    content: last.content,
    finish: last.finish,
    opensThinking: last.opensThinking,
    closesThinking: last.closesThinking,
    tokens,
    thinkingTokens,
    answerTokens: tokens === null || thinkingTokens === null ? null : tokens - thinkingTokens,
    ...(answers.some(({ isEstimated }) => isEstimated) ? { isEstimated: true as const } : {}),
    correct,
    ...(extracted === undefined ? {} : { extracted }),
    refused,
    ...(refused && rule !== undefined ? { refusedBy: rule } : {}),
  };
  return { record, timing: timingOf(asked, answers) };
}

/**
 * White space around a trace is layout: servers differ in what they keep of it, and the same answer is to have the
 * same record from all of them.
 */
function tidied(answer: Answer): Answer {
  if (!answer.opensThinking) return answer;
  return { ...answer, reasoning: answer.reasoning.trim(), content: answer.content.trimStart() };
}

/** A child may be so broken that its numbers overflow: that is an answer of a kind, and worth a record. */
async function answerOrNothing(
  target: Target,
  request: AnswerRequest,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  try {
    return await target.answer(request, signal);
  } catch (error) {
    if (!(error instanceof CheckpointError && error.code === "not-finite")) throw error;
    return {
      ...{ reasoning: "", content: "", opensThinking: false, closesThinking: false, finish: "not-finite" },
      ...{ tokens: 0, thinkingTokens: 0, isEstimated: false, seconds: 0, attempts: 1 },
    };
  }
}

async function askLikelihood(target: Target, asked: Asked, { signal }: AskOptions): Promise<Asking> {
  const { task, question } = asked;
  const { scoring } = task;
  if (scoring.kind !== "choice" || scoring.method !== "likelihood")
    throw new Error(`internal: task "${task.name}" is not scored by likelihood`);
  if (!target.likelihoods) {
    const message = `Cannot score task "${task.name}" with "${target.name}": it tells no likelihoods, wanted a target that does`;
    throw new EvaluationError("no-likelihoods", message);
  }
  const { choices = [] } = question;
  const continuations = choices.map((choice) => scoring.delimiter + choice);
  const startedAt = performance.now();
  const likelihoods = await target.likelihoods({ context: question.turns[0]!, continuations }, signal);
  const values = likelihoods.map(({ logLikelihood }) => logLikelihood);
  const content = choices[likeliestChoice(scoring.normalise, choices, values)] ?? "";
  const record: EvalRecord = {
    ...beginningOf(asked),
    ...{ reasoning: "", content, finish: "stop", opensThinking: false, closesThinking: false },
    ...{ tokens: null, thinkingTokens: null, answerTokens: null },
    continuations,
    ...scoreAnswer(scoring, question, content, false),
    refused: false,
    likelihoods,
  };
  const seconds = (performance.now() - startedAt) / 1000;
  return { record, timing: { task: task.name, id: question.id, seconds, attempts: 1 } };
}

function beginningOf({
  task,
  question,
}: Asked): Pick<EvalRecord, "task" | "id" | "topic" | "turns" | "wanted"> {
  const { id, topic = task.name, turns, answers } = question;
  return { task: task.name, id, topic, turns, wanted: answers };
}

function timingOf({ task, question }: Asked, answers: readonly Answer[]): Asking["timing"] {
  const { model } = answers.at(-1)!;
  return {
    task: task.name,
    id: question.id,
    seconds: answers.reduce((sum, answer) => sum + answer.seconds, 0),
    attempts: answers.reduce((sum, answer) => sum + answer.attempts, 0),
    ...(model === undefined ? {} : { model }),
  };
}

function sumOf(values: readonly (number | undefined)[]): number | null {
  let sum = 0;
  for (const value of values) {
    if (value === undefined) return null;
    sum += value;
  }
  return sum;
}
