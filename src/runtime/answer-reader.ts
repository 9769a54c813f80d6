/**
 * The tokens of one answer, as they come, to its events: thinking and content told apart, ended by an end token or a
 * stop text. Whoever has the tokens made, alone or among others, feeds them to one of these.
 */
import type { OutputEvent } from "../text/output-events.ts";
import type { ReasoningFormat, TraceState } from "../text/output-parser.ts";
import { OutputReader } from "../text/output-reader.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { ToolGrammar } from "../text/tool-grammar.ts";
import { StopTexts } from "./stop-texts.ts";

export interface AnswerReaderOptions {
  /** The rendered prompt: the trace may begin in it. Without: everything is content. */
  prompt?: string;
  toolGrammar?: ToolGrammar;
  reasoningFormat?: ReasoningFormat;
  stop?: readonly string[];
  /** Names a tool call for the client. */
  callId?: (index: number) => string;
}

export class AnswerReader {
  readonly #reader: OutputReader;
  readonly #ends: ReadonlySet<number>;
  readonly #stops: StopTexts;
  #tokens = 0;
  #closedAt: number | undefined;
  #isEnded = false;

  constructor(
    tokenizer: Tokenizer,
    { prompt, toolGrammar, reasoningFormat, stop = [], callId }: AnswerReaderOptions,
  ) {
    this.#reader = new OutputReader(
      tokenizer,
      prompt === undefined
        ? { startsInReasoning: false, reasoningFormat: "none" }
        : {
            prompt,
            ...(toolGrammar ? { toolGrammar } : {}),
            ...(reasoningFormat ? { reasoningFormat } : {}),
            ...(callId ? { callId } : {}),
          },
    );
    this.#ends = new Set(tokenizer.eos);
    this.#stops = new StopTexts(stop);
  }

  /** No token is wanted any more. */
  get isOver(): boolean {
    return this.#isEnded || this.#stops.isMet;
  }

  /** A stop text has ended the answer. */
  get isStopped(): boolean {
    return this.#stops.isMet;
  }

  /** Tokens so far, the one that ends the answer included. */
  get tokens(): number {
    return this.#tokens;
  }

  get trace(): TraceState {
    return this.#reader.trace;
  }

  /** Of these, up to the marker that closes the trace and with it; 0 without a trace. */
  get thinkingTokens(): number {
    return this.trace === "none" ? 0 : (this.#closedAt ?? this.#tokens);
  }

  push(token: number): OutputEvent[] {
    this.#tokens++;
    if (this.#ends.has(token)) {
      this.#isEnded = true;
      return [];
    }
    const events = this.#reader.push(token).flatMap((event) => [...this.#stops.pass(event)]);
    if (this.trace === "closed") this.#closedAt ??= this.#tokens;
    return events;
  }

  /** What was held back. `reason`: why the tokens have ended. */
  finish(reason: "stop" | "length"): OutputEvent[] {
    return this.#reader.finish(reason).flatMap((event) => [...this.#stops.pass(event)]);
  }
}
