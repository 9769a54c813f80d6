/**
 * What an answer is held to: a JSON object, a schema, a call of a tool. Tokens that would break it cannot be drawn.
 *
 * What a model thinks before is its own: the guidance begins behind the trace. A model that may think first may open
 * a trace as its first token.
 */
import { CompiledGrammar, Constraint } from "../grammar/constraint.ts";
import { choice, type Grammar, literal, repeat, sequence, token } from "../grammar/grammar.ts";
import { GrammarError } from "../grammar/grammar-error.ts";
import { jsonObject } from "../grammar/json-grammar.ts";
import { grammarOfSchema } from "../grammar/json-schema.ts";
import { TokenTrie } from "../grammar/token-trie.ts";
import type { TokenGuide } from "../runtime/batch-answer.ts";
import { startsInReasoning, THINK_BEGIN, THINK_END } from "../text/output-parser.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { TOOL_MARKERS, type ToolGrammar } from "../text/tool-grammar.ts";
import { ApiError, invalid } from "./api-error.ts";
import type { ChatRequest, ChatTool } from "./chat-request.ts";
import type { LoadedModel } from "./served-model.ts";

export interface Guidance {
  /** Equal ones are compiled once. */
  key: string;
  /** Key of the request that asks for it. */
  param: string;
  grammar: (tokenizer: Tokenizer) => Grammar;
  /** A trace may stand before it. */
  mayThink: boolean;
}

/** Throws ApiError 400 for what contradicts itself. */
export function guidanceOf(
  request: ChatRequest,
  { tools, toolGrammar }: { tools: ChatTool[] | undefined; toolGrammar: ToolGrammar },
): Guidance | undefined {
  const { response_format: format, tool_choice: wish } = request;
  const mayThink = request.reasoning_format !== "none";
  const isForced = wish === "required" || (typeof wish === "object" && wish !== null);
  const isJson = format != null && format.type !== "text";
  if (isJson && isForced)
    throw invalid("response_format", '"response_format" asks for JSON and "tool_choice" for a call, wanted one of them');
  if (tools && isForced) {
    const called = typeof wish === "object" ? tools.filter(({ function: { name } }) => name === wish.function.name) : tools;
    const isOnlyOne = request.parallel_tool_calls === false || typeof wish === "object";
    return {
      key: JSON.stringify([toolGrammar, called, isOnlyOne]),
      param: "tools",
      grammar: (tokenizer) => callsGrammar(called, { tokenizer, toolGrammar, isOnlyOne }),
      mayThink,
    };
  }
  if (!isJson) return undefined;
  if (format.type === "json_object") return { key: "json", param: "response_format", grammar: jsonObject, mayThink };
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
  { tokenizer, toolGrammar, isOnlyOne }: { tokenizer: Tokenizer; toolGrammar: ToolGrammar; isOnlyOne: boolean },
): Grammar {
  const { callsBegin, callBegin, separator, callEnd, callsEnd } = TOOL_MARKERS;
  const mark = (text: string) => {
    const id = tokenizer.idOf(text);
    return id !== undefined && tokenizer.isSpecial(id) ? token(id) : literal(text);
  };
  const call = ({ function: { name, parameters } }: ChatTool) => {
    const given = parameters ? grammarOfSchema(parameters) : jsonObject();
    return toolGrammar === "v3.1"
      ? sequence(mark(callBegin), name, mark(separator), given, mark(callEnd))
      : sequence(mark(callBegin), "function", mark(separator), name, "\n```json\n", given, "\n```", mark(callEnd));
  };
  const any = choice(...tools.map(call));
  const more = repeat(toolGrammar === "v3.1" ? any : sequence("\n", any), 0, isOnlyOne ? 0 : MOST_CALLS - 1);
  return sequence(mark(callsBegin), any, more, mark(callsEnd));
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
  return new Guide(constraint, { tokenizer, prompt, mayThink: guidance.mayThink, vocab: model.config.sizes.vocab });
}

function compiledFor(loaded: LoadedModel, { key, param, grammar }: Guidance): CompiledGrammar {
  const { tokenizer, model } = loaded.text;
  if (!tokenizer.isByteLevel)
    throw new ApiError(400, "Answers cannot be held to a grammar: the model's tokenizer is not byte-level", { param, code: "unsupported_parameter" });
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

type Phase = "may-think" | "thinking" | "guided";

class Guide implements TokenGuide {
  readonly #constraint: Constraint;
  readonly #tokenizer: Tokenizer;
  readonly #thinkBegin: number | undefined;
  /** Whatever a trace may hold: all but the end of the answer. */
  readonly #whileThinking: Uint32Array;
  #phase: Phase;
  /** The end of what was thought, where its end mark may begin. */
  #tail = "";

  constructor(
    constraint: Constraint,
    { tokenizer, prompt, mayThink, vocab }: { tokenizer: Tokenizer; prompt: string; mayThink: boolean; vocab: number },
  ) {
    this.#constraint = constraint;
    this.#tokenizer = tokenizer;
    this.#thinkBegin = tokenizer.idOf(THINK_BEGIN);
    const isThinking = startsInReasoning(prompt);
    this.#phase = isThinking ? "thinking" : mayThink && this.#thinkBegin !== undefined ? "may-think" : "guided";
    this.#whileThinking = new Uint32Array(Math.ceil(vocab / 32)).fill(0xffffffff);
    for (const id of tokenizer.eos) this.#whileThinking[id >>> 5]! &= ~(1 << (id & 31));
  }

  allowed(): Uint32Array {
    if (this.#phase === "thinking") return this.#whileThinking;
    const mask = this.#constraint.allowed();
    if (this.#phase === "guided") return mask;
    const more = mask.slice();
    more[this.#thinkBegin! >>> 5]! |= 1 << (this.#thinkBegin! & 31);
    return more;
  }

  accept(id: number): void {
    if (this.#phase === "thinking") {
      this.#tail = (this.#tail + (this.#tokenizer.tokenOf(id) ?? "")).slice(-2 * THINK_END.length);
      if (this.#tail.includes(THINK_END)) this.#phase = "guided";
    } else if (this.#phase === "may-think" && id === this.#thinkBegin) this.#phase = "thinking";
    else {
      this.#phase = "guided";
      this.#constraint.accept(id);
    }
  }
}
