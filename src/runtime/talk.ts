/**
 * A model with its texts: messages or a raw prompt in, reasoning and content out, as they come.
 *
 * A conversation keeps its sequence, so that its next turn computes only what is new.
 */
import { CheckpointError } from "../base/errors.ts";
import { type ChatMessage, type ChatTemplate, loadChatTemplate } from "../text/chat-template.ts";
import type { OutputEvent } from "../text/output-events.ts";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { OutputReader } from "../text/output-reader.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
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
  /** Told after each chunk of the prompt how many of its tokens are done. */
  onPrompt?: (done: number, total: number) => void;
  signal?: AbortSignal;
  /** Filled while the answer comes. */
  stats?: GenerateStats;
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
  #template: ChatTemplate | undefined;

  constructor(model: Model, tokenizer: Tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.#masked = tokenizer.idsWithoutToken(model.config.sizes.vocab);
  }

  /** The chat template. Throws CheckpointError when there is none, or when it is broken. */
  async template(): Promise<ChatTemplate> {
    this.#template ??= await loadChatTemplate(this.model.source);
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
    const prompt = await this.render(messages, options);
    const { toolGrammar } = await this.template();
    const reader = new OutputReader(this.tokenizer, {
      prompt,
      toolGrammar,
      ...(options.reasoningFormat ? { reasoningFormat: options.reasoningFormat } : {}),
    });
    const ids = this.tokenizer.encode(prompt);
    if (ids.length === 0) {
      const { label } = this.model.source;
      const message = `Cannot use the chat template of "${label}": it makes nothing of these messages, wanted a prompt`;
      throw new CheckpointError("template", message);
    }
    yield* this.#stream(ids, reader, options);
  }

  /** Goes on behind a text as it is; everything is content. BOS goes first where the tokenizer has one. */
  async *complete(
    text: string,
    options: AnswerOptions & { sequence?: Sequence } = {},
  ): AsyncGenerator<OutputEvent> {
    const reader = new OutputReader(this.tokenizer, { startsInReasoning: false, reasoningFormat: "none" });
    yield* this.#stream(this.promptOf(text), reader, options);
  }

  /** Ids of a raw text, BOS first where there is one and the text does not begin with it. */
  promptOf(text: string): number[] {
    const { bos } = this.tokenizer;
    const ids = this.tokenizer.encode(text);
    return bos === undefined || ids[0] === bos ? ids : [bos, ...ids];
  }

  async *#stream(
    prompt: readonly number[],
    reader: OutputReader,
    options: AnswerOptions & { sequence?: Sequence },
  ): AsyncGenerator<OutputEvent> {
    const { model, tokenizer } = this;
    const sampler = new Sampler({ ...options, maskedIds: this.#masked });
    const stats = options.stats ?? newStats();
    const stops = new StopTexts(options.stop ?? []);
    const sequence = options.sequence ?? model.newSequence();
    const ends = new Set(tokenizer.eos);
    const { maxTokens, speculate, onPrompt, signal } = options;
    try {
      const tokens = generate(model, sequence, {
        prompt,
        stats,
        choose: (logits, position, history) => sampler.sample(logits, { position, history }),
        stopTokens: ends,
        ...(maxTokens === undefined ? {} : { maxTokens }),
        ...(speculate === undefined ? {} : { speculate }),
        ...(onPrompt ? { onPrompt } : {}),
        ...(signal ? { signal } : {}),
      });
      for await (const token of tokens) {
        if (ends.has(token)) break;
        for (const event of reader.push(token)) yield* stops.pass(event);
        if (stops.isMet) {
          stats.finish = "stop";
          break;
        }
      }
      const reason = stats.finish === "stop" ? "stop" : "length";
      for (const event of reader.finish(reason)) yield* stops.pass(event);
    } finally {
      if (!options.sequence) model.release(sequence);
    }
  }

  /** Ends the template's thread; the model stays. */
  async close(): Promise<void> {
    await this.#template?.close();
  }

  /** Ends everything. */
  async dispose(): Promise<void> {
    await this.close();
    await this.model.dispose();
  }
}

/** Ends an answer before a stop text, which may come in pieces: what may be its beginning is held back. */
class StopTexts {
  readonly #texts: readonly string[];
  #held = "";
  isMet = false;

  constructor(texts: readonly string[]) {
    this.#texts = texts.filter((text) => text !== "");
  }

  *pass(event: OutputEvent): Generator<OutputEvent> {
    if (event.kind !== "content") {
      if (this.#held !== "" && !this.isMet) yield { kind: "content", text: this.#held };
      this.#held = ""; // no stop text reaches over what is not content
      if (!this.isMet || event.kind === "finish") yield event;
      return;
    }
    if (this.isMet) return;
    const text = this.#held + event.text;
    const found = this.#texts.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.isMet = true;
      this.#held = "";
      const before = text.slice(0, Math.min(...found));
      if (before !== "") yield { kind: "content", text: before };
      return;
    }
    const keep = this.#longestBeginning(text);
    this.#held = text.slice(text.length - keep);
    if (keep < text.length) yield { kind: "content", text: text.slice(0, text.length - keep) };
  }

  /** Length of the longest end of `text` that begins a stop text. */
  #longestBeginning(text: string): number {
    let longest = 0;
    for (const stop of this.#texts) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
