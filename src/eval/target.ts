/** Who answers the questions of an evaluation: a model that runs here, or a server that speaks OpenAI's protocol. */
import type { ChatMessage } from "../text/chat-template.ts";

export interface Target {
  /** Short, for tables and folder names: "mini-r1". */
  readonly name: string;
  /** What it is, for config.json; plain data, no secrets. What decides its answers, and nothing that does not. */
  readonly identity: TargetIdentity;
  /** Questions that may be asked at a time. */
  readonly concurrency: number;
  /**
   * Throws CheckpointError where no question of this kind can be put, before the first one is: a model without a chat
   * template. Absent: that shows only when one asks.
   */
  check?(kind: AnswerRequest["prompt"]["kind"]): Promise<void>;
  /**
   * Throws EvaluationError for what asking again could mend or not (its code says), CheckpointError "context" for a
   * prompt that is too long, Interrupted when the signal fired.
   */
  answer(request: AnswerRequest, signal?: AbortSignal): Promise<Answer>;
  /**
   * Log-likelihoods of continuations of a text, each on its own. Absent where the target cannot tell.
   * Throws as answer() does.
   */
  likelihoods?(request: LikelihoodRequest, signal?: AbortSignal): Promise<Likelihood[]>;
  close(): Promise<void>;
}

export type TargetIdentity =
  /** `digest`: of what is in its folder. */
  | { kind: "checkpoint"; location: string; digest: string; options: Record<string, unknown> }
  /** A child that is not written; `digest`: of its plan and of what is in its parents' folders. */
  | { kind: "recipe"; location: string; digest: string; options: Record<string, unknown> }
  /** `url` without user, password and query. */
  | { kind: "endpoint"; url: string; model: string; extraBody?: Readonly<Record<string, unknown>> };

export interface AnswerRequest {
  /** chat: messages; raw: a text behind which the model goes on. */
  prompt: { kind: "chat"; messages: ChatMessage[] } | { kind: "raw"; text: string };
  maxTokens: number;
  /** 0: greedy. */
  temperature: number;
  topP: number;
  seed: number;
  stop: readonly string[];
}

export interface Answer {
  reasoning: string;
  content: string;
  /** The output opens a thinking trace (or the prompt has opened one), and closes it. */
  opensThinking: boolean;
  closesThinking: boolean;
  /** "stop": the model ended; "length": maxTokens or the context did; others as an endpoint names them. */
  finish: string;
  /** Generated, the one that ends the answer included. undefined where an endpoint does not say. */
  tokens: number | undefined;
  /** Of these, from the opening marker of the trace to the closing one; 0 without a trace. */
  thinkingTokens: number | undefined;
  /** thinkingTokens is a share of `tokens` by characters: the endpoint tells only the sum. */
  isEstimated: boolean;
  /** Wall time from asking to the last token. */
  seconds: number;
  /** 1: at the first try. */
  attempts: number;
  /** As an endpoint names the model that has answered. */
  model?: string;
}

export interface LikelihoodRequest {
  context: string;
  continuations: readonly string[];
}

export interface Likelihood {
  /** Sum over the continuation's tokens, natural logarithm. */
  logLikelihood: number;
  tokens: number;
}
