/** A model that runs here as the target of an evaluation: questions are answered many at a time. */
import { CheckpointError } from "../base/errors.ts";
import { Batch } from "../runtime/batch.ts";
import { wholeAnswerInBatch } from "../runtime/batch-answer.ts";
import { likelihoodsBehind } from "../runtime/likelihood.ts";
import type { TextModel } from "../runtime/talk.ts";
import type {
  Answer,
  AnswerRequest,
  Likelihood,
  LikelihoodRequest,
  Target,
  TargetIdentity,
} from "./target.ts";

/** Of the cache, for texts whose likelihood is asked. */
const SPARE = 0.25;

export interface LocalTargetOptions {
  name: string;
  identity: TargetIdentity;
  /** Answers that are computed at a time. Results do not depend on it. */
  slots: number;
  /** Ends the model, where the target is to end it. */
  onClose?: () => Promise<void>;
}

/** Nobody else may use the model until the target is closed. */
export function localTarget(text: TextModel, options: LocalTargetOptions): Target {
  return new LocalTarget(text, options);
}

class LocalTarget implements Target {
  readonly name: string;
  readonly identity: TargetIdentity;
  readonly concurrency: number;
  readonly #text: TextModel;
  readonly #batch: Batch;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #onClose: (() => Promise<void>) | undefined;

  constructor(text: TextModel, { name, identity, slots, onClose }: LocalTargetOptions) {
    this.name = name;
    this.identity = identity;
    this.#text = text;
    // Likelihoods are computed beside the batch, one question after the other: a part of the cache is theirs.
    this.#batch = new Batch(text.model, { slots, spare: SPARE });
    // Twice as many: a place that gets free is taken at once.
    this.concurrency = 2 * this.#batch.slots;
    this.#onClose = onClose;
  }

  async check(kind: AnswerRequest["prompt"]["kind"]): Promise<void> {
    if (kind === "raw") return;
    try {
      await this.#text.template();
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      const note = "Tasks with mode: raw need no chat template";
      throw new CheckpointError(error.code, error.message, { note, cause: error });
    }
  }

  async answer(request: AnswerRequest, signal?: AbortSignal): Promise<Answer> {
    const { prompt, maxTokens, temperature, topP, seed, stop } = request;
    const answer = await wholeAnswerInBatch(
      this.#text,
      this.#batch,
      prompt.kind === "chat" ? prompt.messages : prompt.text,
      { maxTokens, temperature, topP, seed, stop, ...(signal ? { signal } : {}) },
    );
    const { reasoning, content, finish, tokens, thinkingTokens, trace, seconds } = answer;
    return {
      ...{ reasoning, content, tokens, thinkingTokens, seconds },
      finish: finish === "context" ? "length" : finish,
      opensThinking: trace !== "none",
      closesThinking: trace === "closed",
      isEstimated: false,
      attempts: 1,
    };
  }

  likelihoods(request: LikelihoodRequest, signal?: AbortSignal): Promise<Likelihood[]> {
    const result = this.#turn.then(() => this.#likelihoods(request, signal));
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Tokens are those of the whole text less those of the context, as evaluation harnesses count them. */
  async #likelihoods(
    { context, continuations }: LikelihoodRequest,
    signal?: AbortSignal,
  ): Promise<Likelihood[]> {
    const text = this.#text;
    const wholes = continuations.map((continuation) => text.promptOf(context + continuation));
    const before = text.promptOf(context);
    // A continuation may join the context's last token; what all share before it is the context then.
    const shared = wholes.reduce((length, ids) => Math.min(length, sharedLength(before, ids)), before.length);
    const cut = Math.max(1, shared);
    const sums = await likelihoodsBehind(text.model, before.slice(0, cut), {
      continuations: wholes.map((ids) => ids.slice(cut)),
      ...(signal ? { signal } : {}),
    });
    return sums.map((logLikelihood, i) => ({ logLikelihood, tokens: wholes[i]!.length - cut }));
  }

  async close(): Promise<void> {
    await this.#onClose?.();
  }
}

function sharedLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  return length;
}
