/**
 * The checkpoint's chat template: found, run apart, its failures with their place.
 *
 * chat_template.jinja wins over tokenizer_config.json, where `chat_template` is a text or a list of named
 * ones. There is no built-in one to fall back on: a wrong template makes a model that works look broken, so
 * a missing or a broken one is an error.
 */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import { printable, shown } from "../checkpoint/shown.ts";
import { isObject, own, readJsonObject, readText, type TextFiles } from "./json-file.ts";
import { TEMPLATE_GLOBALS, type TemplateFailure } from "./template-program.ts";
import { TemplateThread } from "./template-thread.ts";
import { type ToolGrammar, toolGrammarOf } from "./tool-grammar.ts";

const TEMPLATE_FILE = "chat_template.jinja";
const CONFIG_FILE = "tokenizer_config.json";
/** The longest known are under 30,000 characters. */
const MAX_TEMPLATE_BYTES = 1_000_000;
const RAW_NOTE = "With --raw the prompt goes to the model as it is, without a template";

/** As the OpenAI protocol has it; templates look at further keys. */
export interface ChatMessage {
  role: string;
  content?: unknown;
  [key: string]: unknown;
}

export interface RenderOptions {
  tools?: readonly unknown[] | undefined;
  /** Ends the prompt where the assistant's answer begins. Default true. */
  addGenerationPrompt?: boolean;
  bosToken?: string;
  eosToken?: string;
  /** Further variables, such as thinking: true. */
  variables?: Record<string, unknown> | undefined;
  /** The clock of templates that show the date. Default: now. */
  now?: Date;
  signal?: AbortSignal | undefined;
}

export interface TemplateLimits {
  /** Default 10,000: a loaded machine takes its time too. */
  timeMs?: number;
  /** Default 16 million. */
  maxCharacters?: number;
}

/** One template of a checkpoint. */
export interface TemplateText {
  /** Where it stands, as messages name it: "chat_template.jinja", "tokenizer_config.json (tool_use)". */
  origin: string;
  text: string;
}

/** Throws CheckpointError when there is none, or when what there is is no template. */
export async function loadChatTemplate(files: TextFiles, limits: TemplateLimits = {}): Promise<ChatTemplate> {
  const texts = await findTemplates(files);
  if (texts.size > 0) return new ChatTemplate(texts, limits);
  const what = `there is no ${TEMPLATE_FILE}, and no chat_template in ${CONFIG_FILE}`;
  throw new CheckpointError("template-missing", `Cannot find a chat template: ${what}`, { note: RAW_NOTE });
}

async function findTemplates(files: TextFiles): Promise<Map<string, TemplateText>> {
  const single = await readText(files, TEMPLATE_FILE, MAX_TEMPLATE_BYTES);
  if (single !== undefined) return new Map([["default", { origin: TEMPLATE_FILE, text: single }]]);
  const config = await readJsonObject(files, CONFIG_FILE);
  const value = config && (own(config, "chat_template") ?? undefined);
  if (value === undefined) return new Map();
  if (typeof value === "string") return new Map([["default", { origin: CONFIG_FILE, text: checked(value) }]]);
  if (!Array.isArray(value)) refuse("chat_template is neither a text nor a list");
  const texts = new Map<string, TemplateText>();
  for (const [index, entry] of value.entries()) {
    const name = isObject(entry) ? own(entry, "name") : undefined;
    const text = isObject(entry) ? own(entry, "template") : undefined;
    if (typeof name !== "string" || typeof text !== "string")
      refuse(`entry ${index} of chat_template has no name and template`);
    texts.set(name, { origin: `${CONFIG_FILE} (${shown(name)})`, text: checked(text) });
  }
  return texts;
}

function checked(text: string): string {
  if (text.length <= MAX_TEMPLATE_BYTES) return text;
  return refuse(`chat_template has ${text.length} characters, wanted at most ${MAX_TEMPLATE_BYTES}`);
}

function refuse(what: string): never {
  throw new CheckpointError("template", `Cannot use "${CONFIG_FILE}": ${what}`, { note: RAW_NOTE });
}

export class ChatTemplate {
  readonly #texts: ReadonlyMap<string, TemplateText>;
  readonly #timeMs: number;
  readonly #maxCharacters: number;
  readonly #thread = new TemplateThread();

  /** Templates by name; "default" is the usual one, "tool_use" that for conversations with tools. */
  constructor(
    texts: ReadonlyMap<string, TemplateText>,
    { timeMs = 10_000, maxCharacters = 16_000_000 }: TemplateLimits = {},
  ) {
    this.#texts = texts;
    this.#timeMs = timeMs;
    this.#maxCharacters = maxCharacters;
  }

  /** The template that a conversation gets. */
  textFor({ tools = false }: { tools?: boolean } = {}): TemplateText {
    const text =
      (tools ? this.#texts.get("tool_use") : undefined) ??
      this.#texts.get("default") ??
      (this.#texts.size === 1 ? [...this.#texts.values()][0] : undefined);
    if (text) return text;
    const names = [...this.#texts.keys()].map((name) => `"${shown(name)}"`).join(", ");
    return refuse(`chat_template has ${names}, wanted one that is called "default"`);
  }

  /** How the model writes tool calls. */
  get toolGrammar(): ToolGrammar {
    return toolGrammarOf(this.textFor({ tools: true }).text);
  }

  /**
   * The prompt. An assistant's message with tool calls and no content gets the content null: templates ask
   * for `content is none`, which a missing key is not.
   *
   * Throws CheckpointError for what is wrong with the template (code "template-refused" when the template
   * itself refuses the messages), TypeError for variables that it must not get.
   */
  async render(messages: readonly ChatMessage[], options: RenderOptions = {}): Promise<string> {
    const { tools, addGenerationPrompt = true, bosToken = "", eosToken = "", signal } = options;
    const template = this.textFor({ tools: tools !== undefined && tools.length > 0 });
    const task = {
      source: template.text,
      variables: {
        ...extraVariables(options.variables ?? {}),
        messages: messages.map(withContent),
        ...(tools && tools.length > 0 ? { tools } : {}),
        add_generation_prompt: addGenerationPrompt,
        bos_token: bosToken,
        eos_token: eosToken,
      },
      maxCharacters: this.#maxCharacters,
      now: (options.now ?? new Date()).getTime(),
    };
    const answer = await this.#thread.run(task, this.#timeMs, signal);
    switch (answer.kind) {
      case "rendered":
        return answer.text;
      case "failed":
        throw failureError(template, answer.failure);
      case "interrupted":
        throw new Interrupted("Rendering the chat template was interrupted");
      case "timeout":
        throw renderError("template-timeout", template, `it ran for ${this.#timeMs} ms, wanted less`);
      case "died":
        throw renderError("template-died", template, `its thread ended: ${printable(answer.message)}`);
      default:
        throw answer satisfies never;
    }
  }

  /** Ends the thread. render() starts it anew. */
  async close(): Promise<void> {
    await this.#thread.close();
  }
}

function extraVariables(variables: Record<string, unknown>): Record<string, unknown> {
  const ours = ["messages", "tools", "add_generation_prompt", "bos_token", "eos_token"];
  const taken = Object.keys(variables).find((name) => TEMPLATE_GLOBALS.includes(name) || ours.includes(name));
  if (taken === undefined) return variables;
  throw new TypeError(`Cannot give the chat template a variable "${taken}": it has one, wanted another name`);
}

function withContent(message: ChatMessage, index: number): ChatMessage {
  if (typeof message?.role !== "string")
    throw new TypeError(`Cannot render message ${index}: it has no role, wanted a text`);
  return message.role === "assistant" && message.content === undefined
    ? { ...message, content: null }
    : message;
}

const ACTS = {
  syntax: ["template-syntax", "parse"],
  runtime: ["template-runtime", "render"],
  refused: ["template-refused", "render"],
  "too-long": ["template-too-long", "render"],
} as const;

function failureError(template: TemplateText, { kind, message, offset }: TemplateFailure): CheckpointError {
  const what = kind === "refused" ? `the template refuses the messages: ${message}` : message;
  const [code, act] = ACTS[kind];
  return renderError(code, template, printable(what), { act, offset });
}

function renderError(
  code: string,
  { origin, text }: TemplateText,
  what: string,
  { act = "render", offset }: { act?: string; offset?: number | undefined } = {},
): CheckpointError {
  const place = offset === undefined ? undefined : placeOf(text, offset);
  const at = place ? `:${place.line}:${place.column}` : "";
  const where = place ? `, in ${place.excerpt}` : "";
  const note = code === "template-refused" ? undefined : RAW_NOTE;
  const message = `Cannot ${act} chat template "${origin}${at}": ${what}${where}`;
  return new CheckpointError(code, message, note === undefined ? {} : { note });
}

const EXCERPT = 100;

/** Line and column from 1, and the line itself, cut to the characters round the place. */
function placeOf(text: string, offset: number): { line: number; column: number; excerpt: string } {
  const start = text.lastIndexOf("\n", offset - 1) + 1;
  const next = text.indexOf("\n", offset);
  const end = next < 0 ? text.length : next;
  const line = text.slice(0, start).split("\n").length;
  // Templates in tokenizer_config.json are one line of thousands of characters.
  const from = Math.max(start, Math.min(offset - EXCERPT / 2, end - EXCERPT));
  const to = Math.min(end, from + EXCERPT);
  const cut = `${from > start ? "…" : ""}${printable(text.slice(from, to)).trim()}${to < end ? "…" : ""}`;
  return { line, column: offset - start + 1, excerpt: `«${cut}»` };
}
