/**
 * What is kept of one question: a line of records.ndjson. It holds no times, so that the same answers give
 * the same bytes; times are in timings.ndjson.
 */
import type { Likelihood } from "./target.ts";

export interface EvalRecord {
  task: string;
  id: string;
  topic: string;
  /** The user's messages, in order. */
  turns: string[];
  /** What was wanted. */
  wanted: string[];
  /** Answers to all turns but the last. */
  earlier?: { reasoning: string; content: string }[];
  reasoning: string;
  content: string;
  finish: string;
  opensThinking: boolean;
  closesThinking: boolean;
  /** Over all turns. null where an endpoint does not say. */
  tokens: number | null;
  thinkingTokens: number | null;
  answerTokens: number | null;
  /** thinkingTokens is estimated from characters. */
  isEstimated?: true;
  /** null: not scored. */
  correct: boolean | null;
  extracted?: string;
  refused: boolean;
  /** Id of the rule, or "judge". */
  refusedBy?: string;
  /** What followed the prompt, where choices were scored by likelihood; and how likely each was. */
  continuations?: string[];
  likelihoods?: Likelihood[];
}

/** A line of timings.ndjson. */
export interface EvalTiming {
  task: string;
  id: string;
  /** Wall time of the answer, tries that failed not counted. */
  seconds: number;
  attempts: number;
  /** Counts from 0: each time the evaluation was started or resumed. */
  session: number;
  /** When the answer was complete, in seconds since the session began. */
  at: number;
  /** As an endpoint names the model that has answered. */
  model?: string;
}
