/**
 * A model's output, cut into reasoning, content and tool calls while it streams.
 *
 * A state machine over a buffer. After each delta it runs until nothing changes, since one delta may hold
 * several markers or a whole call; what it has not decided on (the longest suffix that may begin a marker)
 * stays in the buffer. So the events, merged, do not depend on where the output was cut.
 *
 * Markers that are special tokens come by id, through pushMarker(), and never match text. In the buffer they
 * are pairs of low surrogates, which no text holds, so that the machine need not know of the difference.
 */
import type { FinishReason, OutputEvent } from "./output-events.ts";
import { TOOL_MARKERS, type ToolGrammar } from "./tool-grammar.ts";

export const THINK_BEGIN = "<think>";
export const THINK_END = "</think>";
const { callsBegin, callBegin, separator, callEnd, callsEnd } = TOOL_MARKERS;

export type Marker = typeof THINK_BEGIN | typeof THINK_END | (typeof TOOL_MARKERS)[keyof typeof TOOL_MARKERS];
export const MARKERS: readonly Marker[] = [
  THINK_BEGIN,
  THINK_END,
  callsBegin,
  callBegin,
  separator,
  callEnd,
  callsEnd,
];

const FENCE = "```";
/** What ends a call, rightly or not. */
const CALL_CLOSERS: readonly Marker[] = [callEnd, callBegin, callsEnd];
const BY_ID = /\udc00[\udc01-\udc07]/g;

/** "deepseek": apart; "none": all of it content, tags included; "deepseek-legacy": apart and in the content too. */
export type ReasoningFormat = "deepseek" | "deepseek-legacy" | "none";

/** The thinking trace: not opened, open, closed. */
export type TraceState = "none" | "open" | "closed";

export interface OutputParserOptions {
  /** The rendered prompt: tells whether the output starts in the trace. */
  prompt?: string;
  /** Instead of the prompt. */
  startsInReasoning?: boolean;
  /** Of the model's family: toolGrammarOf() its template. Default "none". */
  toolGrammar?: ToolGrammar;
  reasoningFormat?: ReasoningFormat;
  /** Markers that pushMarker() brings. */
  byId?: Iterable<Marker>;
  /** Names a call for the client. Default "call_0", "call_1" … */
  callId?: (index: number) => string;
}

type State =
  | "start" // content, when it does not begin with <think>
  | "think-begin" // after <think>: one line feed goes
  | "reasoning"
  | "think-end" // after </think>: white space goes
  | "content"
  | "calls" // inside the calls, before, between and after single ones
  | "head" // before the separator
  | "name" // after it, in V3's grammar
  | "fence" // before the arguments
  | "fence-end" // after the opening fence
  | "arguments";

/** Whether an output after this prompt starts inside a trace. */
export function startsInReasoning(prompt: string): boolean {
  return prompt.trimEnd().endsWith(THINK_BEGIN);
}

export class OutputParser {
  readonly #grammar: ToolGrammar;
  readonly #format: ReasoningFormat;
  readonly #byId: ReadonlySet<Marker>;
  readonly #callId: (index: number) => string;
  #state: State;
  #buffer = "";
  #events: OutputEvent[] = [];
  #isReasoningOpen: boolean;
  #hasReasoned: boolean;
  /** The call that is open, and its arguments so far. */
  #call: { index: number; text: string } | undefined;
  #numCalls = 0;
  #numClosed = 0;
  /** White space between calls is layout until other text comes. */
  #skipSpace = true;

  constructor({
    prompt = "",
    startsInReasoning: starts = startsInReasoning(prompt),
    toolGrammar = "none",
    reasoningFormat = "deepseek",
    byId = [],
    callId = (index) => `call_${index}`,
  }: OutputParserOptions = {}) {
    this.#grammar = toolGrammar;
    this.#format = reasoningFormat;
    this.#byId = new Set(byId);
    this.#callId = callId;
    this.#isReasoningOpen = starts;
    this.#hasReasoned = starts;
    // The line feed after <think> may stand in the prompt, or be the output's first character.
    this.#state = !starts ? "start" : prompt.endsWith(THINK_BEGIN) ? "think-begin" : "reasoning";
  }

  /** What is held back may still change it. */
  get trace(): TraceState {
    if (this.#isReasoningOpen) return "open";
    return this.#hasReasoned ? "closed" : "none";
  }

  push(text: string): OutputEvent[] {
    this.#buffer += text;
    return this.#run(false);
  }

  /** A marker that came as a special token. */
  pushMarker(marker: Marker): OutputEvent[] {
    return this.push(this.#form(marker));
  }

  /** Flushes what was held back. `reason`: why the model stopped. */
  finish(reason: "stop" | "length"): OutputEvent[] {
    this.#run(true);
    if (this.#call) this.#endCall(false);
    const ended: FinishReason = this.#numClosed > 0 ? "tool_calls" : reason;
    this.#events.push({ kind: "finish", reason: ended, unclosedReasoning: this.#isReasoningOpen });
    return this.#taken();
  }

  #taken(): OutputEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #run(isEnd: boolean): OutputEvent[] {
    while (this.#step(isEnd)) {}
    return isEnd ? this.#events : this.#taken();
  }

  /** False when nothing more can be decided without further text. */
  #step(isEnd: boolean): boolean {
    switch (this.#state) {
      case "start":
        return this.#start(isEnd);
      case "think-begin":
        if (this.#buffer === "") return false;
        if (this.#buffer.startsWith("\n")) this.#say("dropped", this.#take(1));
        return this.#go("reasoning");
      case "reasoning": {
        const marker = this.#scan("reasoning", this.#withCalls(THINK_END), isEnd);
        if (marker === callsBegin) return this.#openCalls();
        if (marker === undefined) return false;
        this.#say("dropped", marker);
        this.#isReasoningOpen = false;
        return this.#go("think-end");
      }
      case "think-end":
        this.#say("dropped", this.#take(spaceBefore(this.#buffer)));
        return this.#buffer !== "" && this.#go("content");
      case "content":
        return this.#scan("content", this.#withCalls(), isEnd) !== undefined && this.#openCalls();
      case "calls":
        return this.#between(isEnd);
      case "head":
        return this.#head(isEnd);
      case "name":
        return this.#name(isEnd);
      case "fence":
        return this.#fence(isEnd);
      case "fence-end":
        this.#take(spaceBefore(this.#buffer));
        return this.#buffer !== "" && this.#go("arguments");
      case "arguments":
        return this.#arguments(isEnd);
      default:
        throw this.#state satisfies never;
    }
  }

  #start(isEnd: boolean): boolean {
    const space = spaceBefore(this.#buffer);
    const tag = this.#form(THINK_BEGIN);
    const begun = this.#buffer.slice(space);
    if (begun.startsWith(tag)) {
      this.#say("dropped", this.#take(space + tag.length));
      this.#isReasoningOpen = true;
      this.#hasReasoned = true;
      return this.#go("think-begin");
    }
    if (!isEnd && tag.startsWith(begun)) return false;
    return this.#go("content");
  }

  #withCalls(...markers: Marker[]): Marker[] {
    return this.#grammar === "none" ? markers : [...markers, callsBegin];
  }

  #openCalls(): true {
    this.#skipSpace = true;
    return this.#go("calls");
  }

  #between(isEnd: boolean): boolean {
    if (this.#skipSpace) this.#take(spaceBefore(this.#buffer));
    if (this.#buffer === "") return false;
    const before = this.#buffer.length;
    const marker = this.#scan("content", [callBegin, callsEnd], isEnd);
    if (marker === undefined) {
      if (this.#buffer.length < before) this.#skipSpace = false;
      return false;
    }
    this.#skipSpace = true;
    return this.#go(marker === callBegin ? "head" : "content");
  }

  /** V3: the type, which is always a function's; V3.1: the name. */
  #head(isEnd: boolean): boolean {
    const found = this.#find([separator, ...CALL_CLOSERS]);
    if (!found) {
      if (!isEnd) return false;
      const text = this.#take(this.#buffer.length).trim();
      if (this.#grammar === "v3.1" && text) this.#startCall(text);
      return false;
    }
    // Without a separator V3 has left out the type.
    if (this.#grammar === "v3") {
      if (found.marker === separator) this.#take(found.end);
      return this.#go("name");
    }
    this.#startCall(this.#take(found.at).trim());
    if (found.marker === separator) this.#take(found.end - found.at);
    return this.#go("fence");
  }

  #name(isEnd: boolean): boolean {
    this.#take(spaceBefore(this.#buffer));
    const ends = ["\n", FENCE, "{"].map((text) => this.#buffer.indexOf(text));
    ends.push(this.#find(CALL_CLOSERS)?.at ?? -1);
    const found = ends.filter((at) => at >= 0);
    if (found.length > 0) {
      this.#startCall(this.#take(Math.min(...found)).trim());
      return this.#go("fence");
    }
    if (!isEnd || this.#buffer === "") return false;
    this.#startCall(this.#take(this.#buffer.length).trim());
    return false;
  }

  /** A fence is stripped where there is one; some models leave it out, others add one. */
  #fence(isEnd: boolean): boolean {
    this.#take(spaceBefore(this.#buffer));
    if (this.#buffer === "") return false;
    if (this.#buffer.startsWith(FENCE)) {
      const line = /^```\w*/.exec(this.#buffer)![0];
      if (line.length === this.#buffer.length && !isEnd) return false; // "```js" may become "```json"
      this.#take(line.length);
      return this.#go("fence-end");
    }
    if (!isEnd && FENCE.startsWith(this.#buffer)) return false;
    return this.#go("arguments");
  }

  #arguments(isEnd: boolean): boolean {
    const found = this.#find(CALL_CLOSERS);
    if (!found) {
      const held = isEnd ? 0 : this.#held(CALL_CLOSERS);
      const whole = this.#buffer.length - held;
      // What may turn out to be the closing fence waits with what may be a marker.
      const end = isEnd ? withoutFence(this.#buffer) : beforeFence(this.#buffer, whole);
      this.#sayArguments(this.#take(end));
      if (isEnd) this.#take(this.#buffer.length);
      return false;
    }
    const text = this.#take(found.at);
    this.#sayArguments(text.slice(0, withoutFence(text)));
    this.#take(found.end - found.at);
    this.#endCall(found.marker === callEnd);
    this.#skipSpace = true;
    return this.#go(found.marker === callsEnd ? "content" : found.marker === callBegin ? "head" : "calls");
  }

  #startCall(name: string): void {
    const index = this.#numCalls++;
    this.#call = { index, text: "" };
    this.#events.push({ kind: "tool-call", index, id: this.#callId(index), name: this.#plain(name) });
  }

  #sayArguments(text: string): void {
    if (text === "" || !this.#call) return;
    const plain = this.#plain(text);
    this.#call.text += plain;
    this.#events.push({ kind: "tool-arguments", index: this.#call.index, text: plain });
  }

  #endCall(complete: boolean): void {
    const { index, text } = this.#call!;
    this.#events.push({ kind: "tool-call-end", index, complete, isValid: isJson(text) });
    if (complete) this.#numClosed++;
    this.#call = undefined;
  }

  #go(state: State): true {
    this.#state = state;
    return true;
  }

  /** Removes the first characters of the buffer and returns them. */
  #take(length: number): string {
    const text = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.slice(length);
    return text;
  }

  /** Says what stands before the first of the markers, and takes that; without one, all but what may begin one. */
  #scan(kind: "reasoning" | "content", markers: readonly Marker[], isEnd: boolean): Marker | undefined {
    const found = this.#find(markers);
    if (!found) {
      const held = isEnd ? 0 : this.#held(markers);
      this.#say(kind, this.#take(this.#buffer.length - held));
      return undefined;
    }
    this.#say(kind, this.#take(found.at));
    this.#take(found.end - found.at);
    return found.marker;
  }

  /** The first of the markers in the buffer. */
  #find(markers: readonly Marker[]): { marker: Marker; at: number; end: number } | undefined {
    let first: { marker: Marker; at: number; end: number } | undefined;
    for (const marker of markers) {
      const form = this.#form(marker);
      const at = this.#buffer.indexOf(form);
      if (at >= 0 && (!first || at < first.at)) first = { marker, at, end: at + form.length };
    }
    return first;
  }

  /** The length of the longest suffix of the buffer that a marker may begin with. */
  #held(markers: readonly Marker[]): number {
    let longest = 0;
    for (const marker of markers) {
      if (this.#byId.has(marker)) continue; // comes whole
      for (let length = Math.min(marker.length - 1, this.#buffer.length); length > longest; length--) {
        if (this.#buffer.endsWith(marker.slice(0, length))) longest = length;
      }
    }
    return longest;
  }

  #say(kind: "reasoning" | "content" | "dropped", text: string): void {
    if (text === "") return;
    const plain = this.#plain(text);
    const isApart = this.#format !== "none" && kind === "reasoning";
    if (isApart) this.#events.push({ kind: "reasoning", text: plain });
    const isContent = kind === "content" || this.#format !== "deepseek";
    if (isContent) this.#events.push({ kind: "content", text: plain });
  }

  #form(marker: Marker): string {
    if (!this.#byId.has(marker)) return marker;
    return `\udc00${String.fromCharCode(0xdc01 + MARKERS.indexOf(marker))}`;
  }

  /** Markers by id in a place where they mean nothing are text again. */
  #plain(text: string): string {
    if (this.#byId.size === 0) return text;
    return text.replace(BY_ID, (pair) => MARKERS[pair.charCodeAt(1) - 0xdc01]!);
  }
}

function spaceBefore(text: string): number {
  return text.length - text.trimStart().length;
}

/** Where text ends that white space, at most one fence and white space follow. */
function withoutFence(text: string): number {
  const trimmed = text.trimEnd();
  return trimmed.endsWith(FENCE) ? trimmed.slice(0, -FENCE.length).trimEnd().length : trimmed.length;
}

/** The same for a fence that may not be whole yet: nothing before this can belong to it. */
function beforeFence(text: string, end: number): number {
  let kept = text.slice(0, end).trimEnd();
  for (let ticks = 0; ticks < FENCE.length && kept.endsWith("`"); ticks++) kept = kept.slice(0, -1);
  return kept.trimEnd().length;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
