/** One choice of a chat completion: the answer's events become deltas, as they come, with the likelihoods of their tokens. */
import type { AnswerEnd, AnswerStep } from "../runtime/batch-answer.ts";
import type { TokenLikelihood } from "../runtime/likelihood.ts";
import type { OutputEvent } from "../text/output-events.ts";
import { THINK_END } from "../text/output-parser.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type ChatTokenLogprob, chatLogprob, tokenText } from "./token-text.ts";

export interface ToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function: { name?: string; arguments?: string };
}

export interface ChatDelta {
  role?: "assistant";
  content?: string;
  reasoning_content?: string;
  tool_calls?: ToolCallDelta[];
}

export type ChatFinish = "stop" | "length" | "tool_calls";

export interface ChatChunk {
  delta: ChatDelta;
  logprobs: ChatTokenLogprob[] | undefined;
}

/** From steps to chunks. */
export class ChatChoice {
  readonly #tokenizer: Tokenizer;
  readonly #hasLogprobs: boolean;
  /** Of tokens whose text is held back. */
  #pending: TokenLikelihood[] = [];
  #hasThought = false;
  #hasContent = false;

  constructor(tokenizer: Tokenizer, { hasLogprobs }: { hasLogprobs: boolean }) {
    this.#tokenizer = tokenizer;
    this.#hasLogprobs = hasLogprobs;
  }

  /** What a token adds; undefined where that is nothing yet. */
  step({ token, events, likelihood }: AnswerStep): ChatChunk | undefined {
    const delta = deltaOf(events);
    if (this.#hasLogprobs && likelihood && !this.#tokenizer.eos.includes(token))
      this.#pending.push(likelihood);
    if (delta === undefined) return undefined;
    // Thinking has no likelihoods in the protocol, nor have its marks.
    if (delta.content === undefined && delta.tool_calls === undefined) this.#pending = [];
    return this.#chunk(delta);
  }

  end({ events, finish: why }: Pick<AnswerEnd, "events" | "finish">): {
    chunk: ChatChunk | undefined;
    finish: ChatFinish;
  } {
    const delta = deltaOf(events);
    const last = events.at(-1);
    // Calls that are whole do not make up for one that is cut.
    const finish = why !== "stop" ? "length" : last?.kind === "finish" ? last.reason : "stop";
    return { chunk: delta && this.#chunk(delta), finish };
  }

  #chunk(delta: ChatDelta): ChatChunk {
    if (delta.reasoning_content !== undefined) this.#hasThought = true;
    if (delta.content !== undefined && !this.#hasContent) {
      this.#hasContent = true;
      this.#dropEndOfThought();
    }
    return { delta, logprobs: this.#taken() };
  }

  /** The mark that ends a trace and the space behind it are left out of the content: so are their tokens. */
  #dropEndOfThought(): void {
    const texts = this.#pending.map(({ token }) => tokenText(this.#tokenizer, token));
    const text = texts.join("");
    const mark = text.lastIndexOf(THINK_END);
    if (mark < 0 && !this.#hasThought) return;
    const behind = mark < 0 ? 0 : mark + THINK_END.length;
    const begin = text.length - text.slice(behind).trimStart().length;
    let [at, count] = [0, 0];
    while (count < texts.length && at + texts[count]!.length <= begin) at += texts[count++]!.length;
    this.#pending.splice(0, count);
  }

  #taken(): ChatTokenLogprob[] | undefined {
    if (!this.#hasLogprobs) return undefined;
    const taken = this.#pending.map((likelihood) => chatLogprob(this.#tokenizer, likelihood));
    this.#pending = [];
    return taken;
  }
}

function deltaOf(events: readonly OutputEvent[]): ChatDelta | undefined {
  const delta: ChatDelta = {};
  for (const event of events) {
    switch (event.kind) {
      case "content":
        delta.content = (delta.content ?? "") + event.text;
        break;
      case "reasoning":
        delta.reasoning_content = (delta.reasoning_content ?? "") + event.text;
        break;
      case "tool-call": {
        const { index, id, name } = event;
        delta.tool_calls ??= [];
        delta.tool_calls.push({ index, id, type: "function", function: { name, arguments: "" } });
        break;
      }
      case "tool-arguments": {
        delta.tool_calls ??= [];
        const open = delta.tool_calls.at(-1);
        if (open?.index === event.index)
          open.function.arguments = (open.function.arguments ?? "") + event.text;
        else delta.tool_calls.push({ index: event.index, function: { arguments: event.text } });
        break;
      }
      case "tool-call-end":
      case "finish":
        break;
      default:
        throw event satisfies never;
    }
  }
  return Object.keys(delta).length === 0 ? undefined : delta;
}

/** The whole message, from its deltas. */
export class WholeMessage {
  #content: string | undefined;
  #reasoning: string | undefined;
  readonly #calls: { id: string; type: "function"; function: { name: string; arguments: string } }[] = [];
  readonly #logprobs: ChatTokenLogprob[] = [];

  add({ delta, logprobs }: ChatChunk): void {
    if (delta.content !== undefined) this.#content = (this.#content ?? "") + delta.content;
    if (delta.reasoning_content !== undefined)
      this.#reasoning = (this.#reasoning ?? "") + delta.reasoning_content;
    for (const { index, id, function: called } of delta.tool_calls ?? []) {
      this.#calls[index] ??= { id: id ?? "", type: "function", function: { name: "", arguments: "" } };
      this.#calls[index].function.name += called.name ?? "";
      this.#calls[index].function.arguments += called.arguments ?? "";
    }
    this.#logprobs.push(...(logprobs ?? []));
  }

  get message(): object {
    const content = this.#content ?? (this.#calls.length > 0 ? null : "");
    return {
      ...{ role: "assistant", content, refusal: null },
      ...(this.#reasoning === undefined ? {} : { reasoning_content: this.#reasoning }),
      ...(this.#calls.length === 0 ? {} : { tool_calls: this.#calls }),
    };
  }

  get logprobs(): ChatTokenLogprob[] {
    return this.#logprobs;
  }
}
