/**
 * What a chat template puts before the model's first token: read, not run.
 *
 * The generation prompt decides much of whether a child thinks (checkpoint-format.md section 8): R1's ends in
 * `<think>\n`, V3's does not. The template is cut into Jinja's tags; the literal text of the last
 * `{% if add_generation_prompt %}` is the prompt, up to the first thing that depends on something else.
 */

export interface GenerationPrompt {
  /** Literal text, up to the first condition or variable. */
  text: string;
  /** What follows the last `<｜Assistant｜>` of it; absent where the template has another marker. */
  suffix?: string;
  /** Whether the model starts inside a trace. "depends": on a variable of the template. */
  opensThink: boolean | "depends";
}

const ASSISTANT = "<｜Assistant｜>";
const THINK = "<think>";
const CLOSERS: Record<string, string> = { "{%": "%}", "{{": "}}", "{#": "#}" };

interface Token {
  kind: "text" | "statement" | "expression";
  text: string;
}

/** undefined when the template has no add_generation_prompt. */
export function generationPromptOf(template: string): GenerationPrompt | undefined {
  const tokens = tokenize(template);
  const start = tokens.findLastIndex(
    ({ kind, text }) => kind !== "text" && /\badd_generation_prompt\b/.test(text),
  );
  const opener = tokens[start];
  if (!opener) return undefined;
  // {{ '<|assistant|>' if add_generation_prompt }} or a block up to its endif.
  const isBlock = opener.kind === "statement" && /^(el)?if\b/.test(opener.text);
  const body = isBlock ? blockFrom(tokens, start + 1) : [inlineOf(opener)];

  let text = "";
  let at = 0;
  for (; at < body.length; at++) {
    const token = body[at]!;
    if (token.kind === "statement" && /^set\b/.test(token.text)) continue;
    const literal = token.kind === "text" ? token.text : literalOf(token);
    if (literal === undefined) break;
    text += literal;
  }
  const rest = body.slice(at).some((token) => token.text.includes(THINK));
  const marker = text.lastIndexOf(ASSISTANT);
  const prompt: GenerationPrompt = { text, opensThink: opensThink(text) || (rest ? "depends" : false) };
  if (marker >= 0) prompt.suffix = text.slice(marker + ASSISTANT.length);
  return prompt;
}

function opensThink(text: string): boolean {
  const at = text.lastIndexOf(THINK);
  return at >= 0 && !text.includes("</think>", at);
}

/** Tags and the text between them, trimmed as transformers does it (trim_blocks, lstrip_blocks). */
function tokenize(template: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trimLeft: "all" | "newline" | undefined;
  const addText = (text: string, before: string): void => {
    let kept = trimLeft === "all" ? text.trimStart() : trimLeft ? text.replace(/^\n/, "") : text;
    if (before.endsWith("-")) kept = kept.trimEnd();
    else if (before === "{%" || before === "{#") kept = withoutIndent(kept);
    if (kept) tokens.push({ kind: "text", text: kept });
  };
  for (;;) {
    const open = nextTag(template, at);
    if (open < 0) {
      addText(template.slice(at), "");
      return tokens;
    }
    const tag = template.slice(open, open + 2);
    const close = closeOf(template, open + 2, CLOSERS[tag]!);
    let inner = template.slice(open + 2, close);
    const dash = inner.startsWith("-");
    addText(template.slice(at, open), dash ? `${tag}-` : tag);
    trimLeft = inner.endsWith("-") ? "all" : tag === "{{" ? undefined : "newline";
    inner = inner.slice(dash ? 1 : 0, inner.endsWith("-") ? -1 : undefined).trim();
    if (tag !== "{#") tokens.push({ kind: tag === "{%" ? "statement" : "expression", text: inner });
    at = close + 2;
  }
}

/** Spaces between the start of a line and a block are no output. */
function withoutIndent(text: string): string {
  const line = text.lastIndexOf("\n") + 1;
  return line > 0 && text.slice(line).trim() === "" ? text.slice(0, line) : text;
}

function nextTag(template: string, from: number): number {
  for (let at = template.indexOf("{", from); at >= 0; at = template.indexOf("{", at + 1)) {
    if (CLOSERS[template.slice(at, at + 2)]) return at;
  }
  return -1;
}

/** Where a tag closes: a closer inside a quoted string does not count, as in '{"a": {}}'. */
function closeOf(template: string, from: number, closer: string): number {
  let quote = "";
  for (let at = from; at < template.length; at++) {
    const char = template.charAt(at);
    if (quote) {
      if (char === "\\") at++;
      else if (char === quote) quote = "";
    } else if (closer !== "#}" && (char === "'" || char === '"')) quote = char;
    else if (template.startsWith(closer, at)) return at;
  }
  return template.length;
}

/** The tokens up to the endif, else or elif that belongs to the if before `start`. */
function blockFrom(tokens: readonly Token[], start: number): Token[] {
  let depth = 0;
  for (let at = start; at < tokens.length; at++) {
    const { kind, text } = tokens[at]!;
    if (kind !== "statement") continue;
    const word = /^\w+/.exec(text)?.[0] ?? "";
    if (depth === 0 && ["endif", "else", "elif"].includes(word)) return tokens.slice(start, at);
    if (["if", "for", "macro"].includes(word)) depth++;
    else if (["endif", "endfor", "endmacro"].includes(word)) depth--;
  }
  return tokens.slice(start);
}

function inlineOf({ text }: Token): Token {
  return { kind: "expression", text: text.replace(/\s+if\s[^'"]*$/, "") };
}

/** 'a' + "b" -> ab; undefined for anything but string literals. */
function literalOf({ kind, text }: Token): string | undefined {
  if (kind !== "expression") return undefined;
  const literal = /\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*(\+|$)/suy;
  let value = "";
  for (let at = 0; at < text.length; at = literal.lastIndex) {
    literal.lastIndex = at;
    const match = literal.exec(text);
    if (!match) return undefined;
    value += (match[1] ?? match[2]!).replace(/\\(u[0-9a-f]{4}|.)/gisu, character);
  }
  return value;
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r" };

function character(_: string, code: string): string {
  if (code.length > 1) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
  return ESCAPES[code] ?? code;
}
