/**
 * What a run's records say in numbers: summary.json. A function of records, timings and the questions asked, so
 * that every number of a report can be computed again from the run's folder.
 */
import { mean, median, quantile } from "../statistics/quantile.ts";
import { wilson } from "../statistics/wilson.ts";
import type { EvalRecord, EvalTiming } from "./record.ts";

/** A share of answers, with its 95 % interval (Wilson). */
export interface Share {
  count: number;
  of: number;
  value: number;
  low: number;
  high: number;
}

export interface TokenFigures {
  mean: number;
  median: number;
  p90: number;
  total: number;
}

export interface GroupSummary {
  answers: number;
  /** Of those that are scored. */
  accuracy: Share | null;
  /** Tokens of an answer: all, those of the trace, the rest. null where an endpoint does not say. */
  tokens: TokenFigures | null;
  thinkingTokens: TokenFigures | null;
  answerTokens: TokenFigures | null;
  /** Some thinkingTokens are estimated from characters. */
  isEstimated: boolean;
  opensThinking: Share;
  closesThinking: Share;
  refused: Share;
  /** Ended by the limit of tokens. */
  cutOff: Share;
  /** Closed what it opened, ended by itself and said something. */
  functional: Share;
}

export interface RunSummary {
  format: "chimera-eval-summary";
  version: 1;
  name: string;
  /** Of the run's settings. */
  digest: string;
  /** Every question has an answer. */
  complete: boolean;
  asked: number;
  answered: number;
  overall: GroupSummary | null;
  tasks: Record<string, GroupSummary>;
  topics: Record<string, GroupSummary>;
  speed: SpeedFigures;
  /** What an endpoint's answers call their model. */
  models: string[];
}

export interface SpeedFigures {
  /** Of all sessions, from the start of each to its last answer. */
  seconds: number;
  sessions: number;
  /** null where an endpoint does not say how many there were. */
  tokensPerSecond: number | null;
}

export function summarise(
  { name, digest, asked }: { name: string; digest: string; asked: number },
  records: readonly EvalRecord[],
  timings: readonly EvalTiming[],
): RunSummary {
  const overall = records.length > 0 ? summariseGroup(records) : null;
  const models = [...new Set(timings.flatMap(({ model }) => (model === undefined ? [] : [model])))];
  return {
    ...{ format: "chimera-eval-summary", version: 1, name, digest },
    ...{ complete: records.length === asked, asked, answered: records.length },
    overall,
    tasks: groupsBy(records, ({ task }) => task),
    topics: groupsBy(records, ({ topic }) => topic),
    speed: speedOf(timings, overall?.tokens?.total ?? null),
    models: models.sort(),
  };
}

function groupsBy(
  records: readonly EvalRecord[],
  keyOf: (record: EvalRecord) => string,
): Record<string, GroupSummary> {
  const groups = new Map<string, EvalRecord[]>();
  for (const record of records) {
    const group = groups.get(keyOf(record));
    if (group) group.push(record);
    else groups.set(keyOf(record), [record]);
  }
  return Object.fromEntries([...groups].map(([key, some]) => [key, summariseGroup(some)]));
}

/** Of at least one record. */
export function summariseGroup(records: readonly EvalRecord[]): GroupSummary {
  const scored = records.filter(({ correct }) => correct !== null);
  return {
    answers: records.length,
    accuracy: scored.length > 0 ? shareOf(scored, ({ correct }) => correct === true) : null,
    tokens: figuresOf(records.map(({ tokens }) => tokens)),
    thinkingTokens: figuresOf(records.map(({ thinkingTokens }) => thinkingTokens)),
    answerTokens: figuresOf(records.map(({ answerTokens }) => answerTokens)),
    isEstimated: records.some(({ isEstimated }) => isEstimated),
    opensThinking: shareOf(records, ({ opensThinking }) => opensThinking),
    closesThinking: shareOf(records, ({ closesThinking }) => closesThinking),
    refused: shareOf(records, ({ refused }) => refused),
    cutOff: shareOf(records, ({ finish }) => finish === "length"),
    functional: shareOf(records, isFunctional),
  };
}

/** Whether an answer is one, right or wrong: a model that is broken babbles to the end, or says nothing. */
export function isFunctional({ opensThinking, closesThinking, finish, content }: EvalRecord): boolean {
  return (!opensThinking || closesThinking) && finish === "stop" && content.trim() !== "";
}

export function shareOf<T>(items: readonly T[], test: (item: T) => boolean): Share {
  const count = items.filter(test).length;
  const of = items.length;
  return { count, of, value: of === 0 ? 0 : count / of, ...wilson(count, of) };
}

/** null when one of them is not known: a mean over the rest would be another question's. */
function figuresOf(values: readonly (number | null)[]): TokenFigures | null {
  const known = values.filter((value) => value !== null);
  if (known.length === 0 || known.length < values.length) return null;
  return {
    mean: mean(known)!,
    median: median(known)!,
    p90: quantile(known, 0.9)!,
    total: known.reduce((sum, value) => sum + value, 0),
  };
}

function speedOf(timings: readonly EvalTiming[], tokens: number | null): SpeedFigures {
  const ends = new Map<number, number>();
  for (const { session, at } of timings) ends.set(session, Math.max(ends.get(session) ?? 0, at));
  const seconds = [...ends.values()].reduce((sum, end) => sum + end, 0);
  const tokensPerSecond = tokens !== null && seconds > 0 ? tokens / seconds : null;
  return { seconds, sessions: ends.size, tokensPerSecond };
}
