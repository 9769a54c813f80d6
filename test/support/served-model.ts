/** What a small model answers, as a server needs it: pieces of text, counts of tokens, log-probabilities. */
import type { LanguageModel } from "../../src/library/language-model.ts";
import type { ChatMessage } from "../../src/text/chat-template.ts";
import { gatherOutput, type OutputEvent } from "../../src/text/output-events.ts";
import { startsInReasoning, THINK_BEGIN, THINK_END } from "../../src/text/output-parser.ts";
import { OutputReader } from "../../src/text/output-reader.ts";

export interface Served {
  /** Text as it was written, tags included. */
  text: string;
  reasoning: string;
  content: string;
  finish: "stop" | "length";
  promptTokens: number;
  /** The one that ends the answer included. */
  tokens: number;
  /** Up to the closing tag and with it; 0 without a trace. */
  reasoningTokens: number;
}

export interface Wishes {
  max_tokens?: number;
  temperature?: number;
  top_p?: number;
  seed?: number;
  stop?: string[];
}

export interface Echo {
  tokens: string[];
  token_logprobs: (number | null)[];
  text_offset: number[];
}

/** Answers messages, or goes on behind a text. */
export async function serve(
  model: LanguageModel,
  prompt: ChatMessage[] | string,
  wishes: Wishes,
): Promise<Served> {
  const text = await model.text();
  const { tokenizer } = text;
  const rendered = typeof prompt === "string" ? prompt : await text.render(prompt);
  const ids = typeof prompt === "string" ? text.promptOf(prompt) : tokenizer.encode(rendered);
  const ends = new Set(tokenizer.eos);
  const reader = new OutputReader(tokenizer, { prompt: rendered });
  const events: OutputEvent[] = [];
  const generated: number[] = [];
  const { max_tokens: maxTokens = 16, temperature = 1, top_p: topP = 1, seed = 0, stop = [] } = wishes;
  const maskedIds = tokenizer.idsWithoutToken(model.engine.config.sizes.vocab);
  const stopAt = (content: string) => Math.min(...stop.map((word) => indexOf(content, word)));
  let reasoningTokens = 0;
  let isEnded = false;
  let isCut = false;
  for await (const id of model.generateIds(ids, {
    ...{ maxTokens, temperature, topP, seed, maskedIds },
    stopIds: ends,
  })) {
    generated.push(id);
    isEnded = ends.has(id);
    if (isEnded) break;
    events.push(...reader.push(id));
    const so = tokenizer.decode(generated);
    if (reasoningTokens === 0 && so.includes(THINK_END)) reasoningTokens = generated.length;
    isCut = stop.length > 0 && stopAt(gatherOutput(events).content) < Infinity;
    if (isCut) break;
  }
  const finish = isEnded || isCut ? "stop" : "length";
  events.push(...reader.finish(finish));
  const output = gatherOutput(events);
  const end = stop.length > 0 ? stopAt(output.content) : Infinity;
  const whole = tokenizer.decode(isEnded ? generated.slice(0, -1) : generated);
  const opens = startsInReasoning(rendered) || whole.startsWith(THINK_BEGIN);
  return {
    text: end < Infinity ? whole.slice(0, whole.lastIndexOf(output.content) + end) : whole,
    reasoning: output.reasoning,
    content: output.content.slice(0, end),
    finish,
    promptTokens: ids.length,
    tokens: generated.length,
    reasoningTokens: !opens ? 0 : reasoningTokens || generated.length,
  };
}

/** The tokens of a text with their log-probabilities; the first has none. Offsets in code points. */
export async function echo(model: LanguageModel, prompt: string): Promise<Echo> {
  const text = await model.text();
  const ids = text.promptOf(prompt);
  const { logits, shape } = await model.forward(ids);
  const [, , vocab] = shape;
  const told: Echo = { tokens: [], token_logprobs: [], text_offset: [] };
  let offset = 0;
  for (const [i, id] of ids.entries()) {
    const token = text.tokenizer.decode([id]);
    const row = logits.subarray((i - 1) * vocab, i * vocab);
    told.tokens.push(token);
    told.token_logprobs.push(i === 0 ? null : logProbability(row, id));
    told.text_offset.push(offset);
    offset += Array.from(token).length;
  }
  return told;
}

function logProbability(row: Float32Array, id: number): number {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - most);
  return row[id]! - most - Math.log(sum);
}

function indexOf(text: string, word: string): number {
  const at = text.indexOf(word);
  return at < 0 ? Infinity : at;
}
