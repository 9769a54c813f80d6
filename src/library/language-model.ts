/** A model for programs: text in and events out, ids in and logits out. */
import { generate as generateTokens, newStats } from "../runtime/generate.ts";
import { loadModel as startModel } from "../runtime/load-model.ts";
import type { Model, Sequence } from "../runtime/model.ts";
import type { ModelOptions } from "../runtime/model-options.ts";
import { Sampler, type SamplerOptions } from "../runtime/sampler.ts";
import { type SamplingAdvice, samplingAdvice } from "../runtime/sampling-advice.ts";
import { type HiddenStates, type ScoreOptions, scoreLogits } from "../runtime/score.ts";
import { type AnswerOptions, attachText, type TextModel } from "../runtime/talk.ts";
import type { ChatMessage } from "../text/chat-template.ts";
import type { OutputEvent } from "../text/output-events.ts";
import { type ModelSource, modelReference } from "./model-source.ts";

/**
 * Loads a model from a checkpoint's folder, a recipe or a plan. With `traces` its hidden states can be asked for.
 * Throws CheckpointError for what cannot be run, or not here ("not-enough-memory"), RecipeError and PlanError for
 * a child that cannot be planned, Interrupted when the signal fired.
 */
export async function loadModel(source: ModelSource, options: ModelOptions = {}): Promise<LanguageModel> {
  return new LanguageModel(await startModel(await modelReference(source), options));
}

export interface GenerateTextOptions extends AnswerOptions {
  /** Goes before the question; not with messages, which have their own. */
  system?: string;
  /** Goes on behind the text as it is, without a chat template. */
  raw?: boolean;
  /** What an earlier call computed is not computed again. From newSequence(); default: none is kept. */
  sequence?: Sequence;
}

export interface GenerateIdsOptions extends SamplerOptions {
  maxTokens?: number;
  /** Ids that end the generation; the last one given out. */
  stopIds?: Iterable<number>;
  sequence?: Sequence;
  speculate?: boolean;
  signal?: AbortSignal;
}

export interface Forward {
  /** (sequences, tokens, vocabulary) */
  shape: [number, number, number];
  /** float32, row-major. */
  logits: Float32Array;
  /** After the embedding, each layer and the final norm, by name: (sequences, tokens, hidden) each. With `traces`. */
  hidden: HiddenStates | undefined;
}

export class LanguageModel {
  /** What runs it: passes over sequences, for perplexity() and for whoever schedules by himself. */
  readonly engine: Model;
  #text: Promise<TextModel> | undefined;
  #advice: Promise<SamplingAdvice> | undefined;

  constructor(engine: Model) {
    this.engine = engine;
  }

  /** Its tokenizer and chat template. Throws CheckpointError where there is no tokenizer. */
  text(): Promise<TextModel> {
    this.#text ??= attachText(this.engine);
    return this.#text;
  }

  /**
   * Answers a question, goes on with a conversation, or with `raw` behind a text: reasoning and content as they
   * come. Sampling as generation_config.json advises, unless said. Throws CheckpointError "context" for a prompt
   * that is longer than the context; a signal ends the answer where it is, or the prompt with Interrupted.
   */
  async *generate(
    prompt: string | readonly ChatMessage[],
    { system, raw, ...options }: GenerateTextOptions = {},
  ): AsyncGenerator<OutputEvent> {
    const text = await this.text();
    this.#advice ??= samplingAdvice(this.engine.source);
    const wishes = { ...(await this.#advice), ...options };
    if (typeof prompt === "string" && raw) {
      yield* text.complete(prompt, wishes);
      return;
    }
    const own = system === undefined ? [] : [{ role: "system", content: system }];
    const messages = typeof prompt === "string" ? [...own, { role: "user", content: prompt }] : prompt;
    yield* text.answer(messages, wishes);
  }

  /** The same from ids to ids, without tokenizer. Default: the likeliest token. */
  async *generateIds(
    prompt: readonly number[],
    { maxTokens, stopIds = [], sequence, speculate, signal, ...sampling }: GenerateIdsOptions = {},
  ): AsyncGenerator<number> {
    const sampler = new Sampler({ temperature: 0, ...sampling });
    const own = sequence ?? this.engine.newSequence();
    try {
      yield* generateTokens(this.engine, own, {
        ...{ prompt, stopTokens: new Set(stopIds), stats: newStats() },
        choose: (logits, position, history) => sampler.sample(logits, { position, history }),
        ...(maxTokens === undefined ? {} : { maxTokens }),
        ...(speculate === undefined ? {} : { speculate }),
        ...(signal ? { signal } : {}),
      });
    } finally {
      if (!sequence) this.engine.release(own);
    }
  }

  /** Logits of every position of one or several sequences of ids of one length. Throws RangeError for others. */
  async forward(
    ids: readonly number[] | readonly (readonly number[])[],
    options: ScoreOptions = {},
  ): Promise<Forward> {
    const isBatch = typeof ids[0] !== "number";
    const batch = isBatch ? (ids as readonly (readonly number[])[]) : [ids as readonly number[]];
    const length = batch[0]?.length ?? 0;
    const odd = batch.find((sequence) => sequence.length !== length);
    if (length === 0) throw new RangeError("Cannot run an empty sequence, wanted at least one token");
    if (odd) {
      const lengths = `${length} and ${odd.length} tokens`;
      throw new RangeError(`Cannot run sequences of ${lengths} as one batch, wanted one length`);
    }
    const { logits, hidden } = await scoreLogits(this.engine, batch, options);
    return { shape: [batch.length, length, this.engine.config.sizes.vocab], logits, hidden };
  }

  /** Keeps what generate() computes, for the next turn of a conversation. Give it back to release(). */
  newSequence(): Sequence {
    return this.engine.newSequence();
  }

  release(sequence: Sequence): void {
    this.engine.release(sequence);
  }

  /** Ends its threads and frees its memory. */
  async dispose(): Promise<void> {
    const text = await this.#text?.catch(() => undefined);
    await text?.close();
    await this.engine.dispose();
  }
}
