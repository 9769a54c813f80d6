/**
 * A model with its texts: messages or a raw prompt in, reasoning and content out, as they come.
 *
 * A conversation keeps its sequence, so that its next turn computes only what is new.
 */
import { CheckpointError } from "../base/errors.ts";
import { type ChatMessage, type ChatTemplate, loadChatTemplate } from "../text/chat-template.ts";
import type { OutputEvent } from "../text/output-events.ts";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { AnswerReader } from "./answer-reader.ts";
import { type GenerateStats, generate, newStats } from "./generate.ts";
import type { Model, Sequence } from "./model.ts";
import { Sampler, type SamplerOptions } from "./sampler.ts";

export interface AnswerOptions extends SamplerOptions {
  maxTokens?: number;
  /** Texts that end the answer, left out of it. */
  stop?: readonly string[];
  speculate?: boolean;
  reasoningFormat?: ReasoningFormat;
  tools?: readonly unknown[];
  /** Further variables of the template, such as thinking: true. */
  variables?: Record<string, unknown>;
  /** Names a tool call for the client. Default "call_0", "call_1" … */
  callId?: (index: number) => string;
  /** Told after each chunk of the prompt how many of its tokens are done. */
  onPrompt?: (done: number, total: number) => void;
  signal?: AbortSignal;
  /** Filled while the answer comes. */
  stats?: GenerateStats;
}

/** A prompt in ids, and who reads what comes behind it. */
export interface Asked {
  ids: readonly number[];
  reader: AnswerReader;
  /** What the ids stand for, but for a BOS that was put before it. */
  text: string;
}

/** The tokenizer of a model that runs. Throws CheckpointError. */
export async function attachText(model: Model): Promise<TextModel> {
  const tokenizer = await loadTokenizer(model.source);
  requireFit(tokenizer, model);
  return new TextModel(model, tokenizer);
}

/** A token without a row in the embedding could be met in any prompt. */
function requireFit(tokenizer: Tokenizer, model: Model): void {
  const { vocab } = model.config.sizes;
  if (tokenizer.vocabSize <= vocab) return;
  throw new CheckpointError(
    "vocabulary",
    `Cannot use the tokenizer of "${model.source.label}": it has ${tokenizer.vocabSize} tokens, wanted at most the embedding's ${vocab}`,
  );
}

export class TextModel {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly #masked: readonly number[];
  #template: Promise<ChatTemplate> | undefined;

  constructor(model: Model, tokenizer: Tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.#masked = tokenizer.idsWithoutToken(model.config.sizes.vocab);
  }

  /** The chat template. Throws CheckpointError when there is none, or when it is broken. */
  template(): Promise<ChatTemplate> {
    // The promise, not the template: of many who ask at once each would load one, with a thread of its own.
    this.#template ??= loadChatTemplate(this.model.source);
    return this.#template;
  }

  /** The prompt that the template makes of messages. */
  async render(
    messages: readonly ChatMessage[],
    { tools, variables, signal }: Pick<AnswerOptions, "tools" | "variables" | "signal"> = {},
  ): Promise<string> {
    const { bosToken, eosToken } = this.tokenizer;
    return (await this.template()).render(messages, { bosToken, eosToken, tools, variables, signal });
  }

  /** Answers messages. `sequence` is the conversation's, if it has one. */
  async *answer(
    messages: readonly ChatMessage[],
    options: AnswerOptions & { sequence?: Sequence } = {},
  ): AsyncGenerator<OutputEvent> {
    yield* this.#stream(await this.question(messages, options), options);
  }

  /** Goes on behind a text as it is; everything is content. BOS goes first where the tokenizer has one. */
  async *complete(
    text: string,
    options: AnswerOptions & { sequence?: Sequence } = {},
  ): AsyncGenerator<OutputEvent> {
    yield* this.#stream(this.beginning(text, options), options);
  }

  /** Ids that must never come: rows of the head without a token. */
  get maskedIds(): readonly number[] {
    return this.#masked;
  }

  /** The prompt of a conversation, and the reader of its answer. */
  async question(
    messages: readonly ChatMessage[],
    options: Pick<AnswerOptions, "tools" | "variables" | "signal" | "reasoningFormat" | "stop" | "callId">,
  ): Promise<Asked> {
    const prompt = await this.render(messages, options);
    const { toolGrammar } = await this.template();
    const { reasoningFormat, stop, callId } = options;
    const reader = new AnswerReader(this.tokenizer, {
      prompt,
      toolGrammar,
      ...(reasoningFormat ? { reasoningFormat } : {}),
      ...(stop ? { stop } : {}),
      ...(callId ? { callId } : {}),
    });
    const ids = this.tokenizer.encode(prompt);
    if (ids.length > 0) return { ids, reader, text: prompt };
    const { label } = this.model.source;
    const message = `Cannot use the chat template of "${label}": it makes nothing of these messages, wanted a prompt`;
    throw new CheckpointError("template", message);
  }

  /** A text, or ids as they are, to go on behind; everything is content. */
  beginning(prompt: string | readonly number[], { stop }: Pick<AnswerOptions, "stop">): Asked {
    const reader = new AnswerReader(this.tokenizer, stop ? { stop } : {});
    const isText = typeof prompt === "string";
    return {
      ids: isText ? this.promptOf(prompt) : prompt,
      reader,
      text: isText ? prompt : this.tokenizer.decode(prompt),
    };
  }

  /** Ids of a raw text, BOS first where there is one and the text does not begin with it. */
  promptOf(text: string): number[] {
    const { bos } = this.tokenizer;
    const ids = this.tokenizer.encode(text);
    return bos === undefined || ids[0] === bos ? ids : [bos, ...ids];
  }

  async *#stream(
    { ids, reader }: Asked,
    options: AnswerOptions & { sequence?: Sequence },
  ): AsyncGenerator<OutputEvent> {
    const { model, tokenizer } = this;
    const sampler = new Sampler({ ...options, maskedIds: this.#masked });
    const stats = options.stats ?? newStats();
    const sequence = options.sequence ?? model.newSequence();
    const { maxTokens, speculate, onPrompt, signal } = options;
    try {
      const tokens = generate(model, sequence, {
        prompt: ids,
        stats,
        choose: (logits, position, history) => sampler.sample(logits, { position, history }),
        stopTokens: new Set(tokenizer.eos),
        ...(maxTokens === undefined ? {} : { maxTokens }),
        ...(speculate === undefined ? {} : { speculate }),
        ...(onPrompt ? { onPrompt } : {}),
        ...(signal ? { signal } : {}),
      });
      for await (const token of tokens) {
        yield* reader.push(token);
        if (reader.isStopped) stats.finish = "stop";
        if (reader.isOver) break;
      }
      yield* reader.finish(stats.finish === "stop" ? "stop" : "length");
    } finally {
      if (!options.sequence) model.release(sequence);
    }
  }

  /** Ends the template's thread; the model stays. */
  async close(): Promise<void> {
    const template = await this.#template?.catch(() => undefined); // one that is broken has been told
    await template?.close();
  }

  /** Ends everything. */
  async dispose(): Promise<void> {
    await this.close();
    await this.model.dispose();
  }
}
