/**
 * An answer from what a server sends: the events of a stream, or one whole body.
 *
 * Servers tell a trace apart (`reasoning_content`, or `reasoning`), leave it in the content between its tags, or
 * leave out the opening tag, which the chat template has written. All three come out as the parser of a model
 * that runs here gives them, so that records of the same model are the same whoever served it.
 */
import { gatherOutput } from "../text/output-events.ts";
import { OutputParser, startsInReasoning, THINK_BEGIN, THINK_END } from "../text/output-parser.ts";
import { messageOf, parseJson } from "./endpoint-body.ts";
import { EndpointFault, faultOfStatus } from "./endpoint-fault.ts";
import type { Answer, AnswerRequest } from "./target.ts";

/** What an answer says of itself; the rest is the asker's. */
export type ReadAnswer = Omit<Answer, "seconds" | "attempts">;

interface Usage {
  completion_tokens?: unknown;
  completion_tokens_details?: { reasoning_tokens?: unknown } | null;
}

interface Part {
  content?: unknown;
  reasoning_content?: unknown;
  reasoning?: unknown;
}

interface Chunk {
  model?: unknown;
  error?: unknown;
  usage?: Usage | null;
  choices?: ({
    index?: unknown;
    delta?: Part;
    message?: Part;
    text?: unknown;
    finish_reason?: unknown;
  } | null)[];
}

/** No token of any vocabulary in use is longer on average; a stream that says more takes no notice of max_tokens. */
const CHARACTERS_PER_TOKEN = 64;
const SPARE_CHARACTERS = 10_000;

function lengthOf(text: unknown): number {
  return typeof text === "string" ? text.length : 0;
}

export class AnswerReader {
  readonly #prompt: AnswerRequest["prompt"];
  readonly #shown: (text: string) => string;
  readonly #reasoning: string[] = [];
  readonly #content: string[] = [];
  readonly #mostCharacters: number;
  #characters = 0;
  #finish: string | undefined;
  #model: string | undefined;
  #usage: Usage | undefined;
  /** The server has said that nothing follows. */
  isDone = false;
  /** When it last said something, by performance.now(). */
  lastAt = 0;

  /** `shown` makes a server's text fit for a message. */
  constructor(
    { prompt, maxTokens }: Pick<AnswerRequest, "prompt" | "maxTokens">,
    shown: (text: string) => string,
  ) {
    this.#prompt = prompt;
    this.#mostCharacters = CHARACTERS_PER_TOKEN * maxTokens + SPARE_CHARACTERS;
    this.#shown = shown;
  }

  /** The data of an event, or a whole body. Throws EndpointFault. */
  push(data: string): void {
    if (this.isDone) return;
    this.lastAt = performance.now();
    if (data.trim() === "[DONE]") {
      this.isDone = true;
      return;
    }
    const chunk = parseJson(data, this.#shown) as Chunk | null;
    if (chunk === null || typeof chunk !== "object") throw this.#odd(data);
    if (chunk.error !== undefined && chunk.error !== null) throw this.#fault(chunk.error, data);
    if (typeof chunk.model === "string" && chunk.model !== "") this.#model = chunk.model;
    if (chunk.usage !== null && typeof chunk.usage === "object") this.#usage = chunk.usage;
    if (chunk.choices === undefined || chunk.choices === null) return;
    if (!Array.isArray(chunk.choices)) throw this.#odd(data);
    for (const choice of chunk.choices) {
      if (choice === null || typeof choice !== "object") throw this.#odd(data);
      if (choice.index !== undefined && choice.index !== 0) continue; // one answer was asked for
      const part = choice.delta ?? choice.message ?? {};
      add(this.#content, part.content ?? choice.text);
      // A server that changes the name says both, and the same.
      add(this.#reasoning, part.reasoning_content || part.reasoning);
      if (typeof choice.finish_reason === "string") this.#finish = choice.finish_reason;
      this.#characters +=
        lengthOf(part.content ?? choice.text) + lengthOf(part.reasoning_content ?? part.reasoning);
    }
    if (this.#characters > this.#mostCharacters) {
      const what = `its answer has more than ${this.#mostCharacters} characters and no end`;
      throw new EndpointFault("bad-answer", `${what}, wanted at most the tokens that were asked for`);
    }
  }

  /** Nothing more comes. Throws EndpointFault where the answer is not complete. */
  end(): ReadAnswer {
    if (this.#finish === undefined) {
      const what = this.isDone ? "its answer has no finish_reason" : "its answer ends before a finish_reason";
      throw new EndpointFault("bad-answer", `${what}, wanted one`);
    }
    const { reasoning, content, opens, closes } = this.#texts();
    const tokens = count(this.#usage?.completion_tokens);
    const told = count(this.#usage?.completion_tokens_details?.reasoning_tokens);
    const opensThinking = opens || (told ?? 0) > 0;
    return {
      ...{ reasoning, content, opensThinking },
      closesThinking: opensThinking && (opens ? closes : content !== ""),
      finish: this.#finish,
      ...share({ tokens, told, opensThinking, reasoning, content }),
      ...(this.#model === undefined ? {} : { model: this.#model }),
    };
  }

  #texts(): { reasoning: string; content: string; opens: boolean; closes: boolean } {
    const [apart, text] = [this.#reasoning.join(""), this.#content.join("")];
    if (this.#prompt.kind === "raw") {
      // As a model that runs here goes on behind a text: all of it content.
      const starts = startsInReasoning(this.#prompt.text);
      const { opens, closes } = parse(text, starts);
      if (apart === "") return { reasoning: "", content: text, opens, closes };
      return { reasoning: withoutBreak(apart), content: text, opens: true, closes: closes || text !== "" };
    }
    const end = text.indexOf(THINK_END);
    const begin = text.indexOf(THINK_BEGIN);
    const isOpenedByPrompt = apart === "" && end >= 0 && (begin < 0 || begin > end);
    const inline = parse(text, isOpenedByPrompt);
    if (apart === "") return inline;
    const content = inline.opens ? inline.content : inline.content.trimStart();
    return { reasoning: withoutBreak(apart), content, opens: true, closes: content !== "" };
  }

  #odd(data: string): EndpointFault {
    return new EndpointFault("bad-answer", `it answers "${this.#shown(data)}", wanted a chat completion`);
  }

  /** Errors that come with status 200, as from a relay whose own server has failed. */
  #fault(error: unknown, data: string): EndpointFault {
    const { code, status } = error as { code?: unknown; status?: unknown };
    const told = [code, status].map(Number).find((value) => value >= 400 && value < 600);
    const shown = this.#shown(messageOf(data));
    if (told !== undefined) return faultOfStatus(told, data, { quoted: shown });
    return new EndpointFault("unreachable", `it answers with the error "${shown}"`);
  }
}

function parse(text: string, starts: boolean) {
  const parser = new OutputParser({ startsInReasoning: starts });
  const { reasoning, content, unclosedReasoning } = gatherOutput([
    ...parser.push(text),
    ...parser.finish("stop"),
  ]);
  const opens = starts || text.trimStart().startsWith(THINK_BEGIN);
  const trimmed = starts ? withoutBreak(reasoning) : reasoning;
  return { reasoning: trimmed, content, opens, closes: opens && !unclosedReasoning };
}

/** The line feed after <think> belongs to the tag, also where a server has taken the tag away. */
function withoutBreak(reasoning: string): string {
  return reasoning.startsWith("\n") ? reasoning.slice(1) : reasoning;
}

/** Tokens of the trace: as told, or by its share of the characters. */
function share({
  tokens,
  told,
  opensThinking,
  reasoning,
  content,
}: {
  tokens: number | undefined;
  told: number | undefined;
  opensThinking: boolean;
  reasoning: string;
  content: string;
}): Pick<Answer, "tokens" | "thinkingTokens" | "isEstimated"> {
  if (tokens === undefined) return { tokens, thinkingTokens: undefined, isEstimated: false };
  if (!opensThinking) return { tokens, thinkingTokens: 0, isEstimated: false };
  // Some servers always say 0.
  if (told !== undefined && (told > 0 || reasoning === ""))
    return { tokens, thinkingTokens: Math.min(told, tokens), isEstimated: false };
  const characters = reasoning.length + content.length;
  const part = characters === 0 ? 1 : reasoning.length / characters;
  return { tokens, thinkingTokens: Math.round(tokens * part), isEstimated: true };
}

function add(pieces: string[], piece: unknown): void {
  if (typeof piece === "string" && piece !== "") pieces.push(piece);
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
