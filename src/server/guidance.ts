/**
 * What an answer is held to: a JSON object, a schema, a call of a tool. Tokens that would break it cannot be drawn.
 *
 * What a model thinks before is its own: the guidance begins behind the trace. A model may open a trace as its first
 * token where that is what it wants most: of the few tokens that JSON begins with, one that never thinks would take it.
 */
import { GrammarError } from "../base/errors.ts";
import { CompiledGrammar, Constraint } from "../grammar/constraint.ts";
import { choice, type Grammar, literal, repeat, sequence, token } from "../grammar/grammar.ts";
import { jsonObject } from "../grammar/json-grammar.ts";
import { grammarOfSchema } from "../grammar/json-schema.ts";
import { TokenTrie } from "../grammar/token-trie.ts";
import type { TokenGuide } from "../runtime/batch-answer.ts";
import { type ReasoningFormat, startsInReasoning, THINK_BEGIN, THINK_END } from "../text/output-parser.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { TOOL_MARKERS, type ToolGrammar } from "../text/tool-grammar.ts";
import { ApiError, invalid } from "./api-error.ts";
import type { ChatRequest, ChatTool } from "./chat-request.ts";
import type { LoadedModel } from "./served-model.ts";
import { bytesOf } from "./token-text.ts";

export interface Guidance {
  /** Equal ones are compiled once. */
  key: string;
  /** Key of the request that asks for it. */
  param: string;
  grammar: (tokenizer: Tokenizer) => Grammar;
  /** A trace may stand before it. */
  mayThink: boolean;
  /** It begins behind this text, which may never come. */
  after?: string;
}

/** Throws ApiError 400 for what contradicts itself. */
export function guidanceOf(
  request: ChatRequest,
  {
    tools,
    toolGrammar,
    reasoningFormat,
  }: { tools: ChatTool[] | undefined; toolGrammar: ToolGrammar; reasoningFormat: ReasoningFormat },
): Guidance | undefined {
  const { response_format: format, tool_choice: wish } = request;
  // A trace that is told in the content would be no JSON.
  const mayThink = reasoningFormat === "deepseek";
  const isForced = wish === "required" || (typeof wish === "object" && wish !== null);
  const isJson = format != null && format.type !== "text";
  if (isJson && isForced)
    throw invalid(
      "response_format",
      '"response_format" asks for JSON and "tool_choice" for a call, wanted one of them',
    );
  if (tools && isForced) {
    const called =
      typeof wish === "object"
        ? tools.filter(({ function: { name } }) => name === wish.function.name)
        : tools;
    const isOnlyOne = request.parallel_tool_calls === false || typeof wish === "object";
    return {
      key: JSON.stringify([toolGrammar, called, isOnlyOne]),
      param: "tools",
      grammar: (tokenizer) => callsGrammar(called, { tokenizer, toolGrammar, isOnlyOne }),
      mayThink,
    };
  }
  if (!isJson) {
    // Who calls a strict function of his own accord is held to its schema from the beginning of the call.
    if (!tools?.some(({ function: { strict } }) => strict)) return undefined;
    const isOnlyOne = request.parallel_tool_calls === false;
    return {
      key: JSON.stringify([toolGrammar, tools, isOnlyOne, "auto"]),
      param: "tools",
      grammar: (tokenizer) => callsGrammar(tools, { tokenizer, toolGrammar, isOnlyOne, isBegun: true }),
      mayThink,
      after: TOOL_MARKERS.callsBegin,
    };
  }
  if (tools)
    throw invalid("response_format", '"response_format" asks for JSON beside "tools", wanted one of them');
  if (format.type === "json_object")
    return { key: "json", param: "response_format", grammar: jsonObject, mayThink };
  const { schema } = format.json_schema;
  return {
    key: JSON.stringify(schema),
    param: "response_format.json_schema.schema",
    grammar: () => grammarOfSchema(schema),
    mayThink,
  };
}

/** As the model's family writes calls (tool-grammar.ts), with arguments by each function's schema. */
function callsGrammar(
  tools: readonly ChatTool[],
  {
    tokenizer,
    toolGrammar,
    isOnlyOne,
    isBegun = false,
  }: { tokenizer: Tokenizer; toolGrammar: ToolGrammar; isOnlyOne: boolean; isBegun?: boolean },
): Grammar {
  const { callsBegin, callBegin, separator, callEnd, callsEnd } = TOOL_MARKERS;
  const mark = (text: string) => {
    const id = tokenizer.idOf(text);
    return id !== undefined && tokenizer.isSpecial(id) ? token(id) : literal(text);
  };
  const call = ({ function: { name, parameters, strict } }: ChatTool) => {
    const given = argumentsGrammar(parameters ?? undefined, strict === true);
    return toolGrammar === "v3.1"
      ? sequence(mark(callBegin), name, mark(separator), given, mark(callEnd))
      : sequence(
          mark(callBegin),
          "function",
          mark(separator),
          name,
          "\n```json\n",
          given,
          "\n```",
          mark(callEnd),
        );
  };
  const any = choice(...tools.map(call));
  const more = repeat(toolGrammar === "v3.1" ? any : sequence("\n", any), 0, isOnlyOne ? 0 : MOST_CALLS - 1);
  return sequence(...(isBegun ? [] : [mark(callsBegin)]), any, more, mark(callsEnd));
}

/** Of a function that is not strict, a schema that cannot be followed is advice: any object will do. */
function argumentsGrammar(schema: Record<string, unknown> | undefined, isStrict: boolean): Grammar {
  if (schema === undefined) return jsonObject();
  try {
    return grammarOfSchema(schema);
  } catch (error) {
    if (isStrict || !(error instanceof GrammarError)) throw error;
    return jsonObject();
  }
}

/** A model that is made to call must stop some time. */
const MOST_CALLS = 16;
/** Grammars that are kept ready, of a model. */
const MOST_COMPILED = 16;

interface Ready {
  trie: TokenTrie;
  compiled: Map<string, CompiledGrammar>;
}

const READY = new WeakMap<LoadedModel, Ready>();

/** Throws ApiError 400 for a schema that cannot be followed. */
export function createGuide(loaded: LoadedModel, guidance: Guidance, prompt: string): TokenGuide {
  const { tokenizer, model } = loaded.text;
  const constraint = new Constraint(compiledFor(loaded, guidance));
  return new Guide(constraint, { tokenizer, prompt, guidance, vocab: model.config.sizes.vocab });
}

function compiledFor(loaded: LoadedModel, { key, param, grammar }: Guidance): CompiledGrammar {
  const { tokenizer, model } = loaded.text;
  if (!tokenizer.isByteLevel)
    throw new ApiError(400, "Answers cannot be held to a grammar: the model's tokenizer is not byte-level", {
      param,
      code: "unsupported_parameter",
    });
  let ready = READY.get(loaded);
  if (!ready) {
    const bytesOf = (id: number) =>
      tokenizer.hasToken(id) && !tokenizer.isSpecial(id) ? tokenizer.bytesOf(id) : undefined;
    ready = { trie: new TokenTrie({ size: model.config.sizes.vocab, bytesOf }), compiled: new Map() };
    READY.set(loaded, ready);
  }
  let compiled = ready.compiled.get(key);
  if (compiled) ready.compiled.delete(key);
  else {
    try {
      compiled = new CompiledGrammar(grammar(tokenizer), ready.trie, { endTokens: tokenizer.eos });
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
      throw new ApiError(400, error.message, { param, code: "unsupported_schema", problems: error.problems });
    }
  }
  ready.compiled.set(key, compiled); // the latest stands last
  if (ready.compiled.size > MOST_COMPILED) ready.compiled.delete(ready.compiled.keys().next().value!);
  return compiled;
}

function isLargest(logits: Float32Array, id: number): boolean {
  const logit = logits[id]!;
  return logits.every((other) => !(other > logit));
}

/** "free": until the text comes that the guidance begins behind. */
type Phase = "may-think" | "thinking" | "free" | "guided";

class Guide implements TokenGuide {
  readonly #constraint: Constraint;
  readonly #tokenizer: Tokenizer;
  readonly #thinkBegin: number | undefined;
  readonly #after: string | undefined;
  /** Whatever a trace may hold: all but the end of the answer. */
  readonly #whileThinking: Uint32Array;
  #phase: Phase;
  /** The end of what came, where a mark may begin; a character for each byte, as a token may end within one. */
  #tail = "";

  constructor(
    constraint: Constraint,
    {
      tokenizer,
      prompt,
      vocab,
      guidance: { mayThink, after },
    }: { tokenizer: Tokenizer; prompt: string; vocab: number; guidance: Guidance },
  ) {
    this.#constraint = constraint;
    this.#tokenizer = tokenizer;
    this.#thinkBegin = tokenizer.idOf(THINK_BEGIN);
    this.#after = after;
    const behind = after === undefined ? "guided" : "free";
    const mayBegin = mayThink && this.#thinkBegin !== undefined && after === undefined;
    this.#phase = startsInReasoning(prompt) ? "thinking" : mayBegin ? "may-think" : behind;
    this.#whileThinking = new Uint32Array(Math.ceil(vocab / 32)).fill(0xffffffff);
    for (const id of tokenizer.eos) this.#whileThinking[id >>> 5]! &= ~(1 << (id & 31));
  }

  allowed(logits: Float32Array): Uint32Array | undefined {
    if (this.#phase === "free") return undefined;
    if (this.#phase === "thinking") return this.#after === undefined ? this.#whileThinking : undefined;
    const mask = this.#constraint.allowed();
    if (this.#phase === "guided" || !isLargest(logits, this.#thinkBegin!)) return mask;
    const more = mask.slice();
    more[this.#thinkBegin! >>> 5]! |= 1 << (this.#thinkBegin! & 31);
    return more;
  }

  accept(id: number): void {
    switch (this.#phase) {
      case "thinking":
        if (this.#endsWith(id, THINK_END)) this.#phase = this.#after === undefined ? "guided" : "free";
        break;
      case "free":
        if (this.#endsWith(id, this.#after!)) this.#phase = "guided";
        break;
      case "may-think":
        this.#phase = id === this.#thinkBegin ? "thinking" : "guided";
        if (this.#phase === "guided") this.#constraint.accept(id);
        break;
      case "guided":
        this.#constraint.accept(id);
        break;
      default:
        throw this.#phase satisfies never;
    }
  }

  /** Whether a mark is complete with this token. */
  #endsWith(id: number, mark: string): boolean {
    const wanted = Buffer.from(mark).toString("latin1");
    const more = Buffer.from(bytesOf(this.#tokenizer, id)).toString("latin1");
    this.#tail = (this.#tail + more).slice(-2 * wanted.length);
    if (!this.#tail.includes(wanted)) return false;
    this.#tail = "";
    return true;
  }
}
