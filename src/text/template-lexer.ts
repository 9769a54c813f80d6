/**
 * Where the tokens of a Jinja template stand.
 *
 * @huggingface/jinja says what is wrong with a template but not where: its tokens have no offsets. This
 * lexer follows the same rules and yields nothing but offsets, one for each token of the library that is not
 * text, in the same order. It also finds the place at which the library's own lexer gives up.
 */

export interface Lexeme {
  kind: "open" | "close" | "comment" | "word" | "number" | "string" | "operator";
  offset: number;
  /** As written; of strings and comments only the opening mark. */
  text: string;
}

export interface Lexed {
  lexemes: Lexeme[];
  /** Where lexing stops: a character that no token begins with, a string or a tag that is never closed. */
  stopsAt?: number;
}

const TAG = /\{[%{#]/g;
const GENERATION = /\{%-?\s*(?:end)?generation\s*-?%\}/y; // transformers' own tag; the library drops it first
const OPEN_TRIMMING = /\{[%{]-/y;
const SPACE = /\s*/y;
const CLOSE = /-?[%}]\}/y;
const SIGNED = /[-+](?:\d+(?:\.\d+)?)?/y;
const NUMBER = /\d+(?:\.\d+)?/y;
const INTEGER = /\d+/y;
const OPERATOR = /\{[%{]|<=|>=|==|!=|\*\*|\/\/|[(){}[\],.:|<>+\-~*/%=]/y;
const WORD = /\w+/y;
const ESCAPE = /\\(?:[ntrbfv'"\\]|x[0-9a-f]{2}|u[0-9a-f]{4})/iy;

export function lexTemplate(source: string): Lexed {
  const lexemes: Lexeme[] = [];
  let at = 0;
  let depth = 0; // of { } inside an expression: }} closes it only outside
  const read = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  };
  const push = (kind: Lexeme["kind"], text: string, end = at + text.length) => {
    lexemes.push({ kind, offset: at, text });
    at = end;
  };
  const stop = (stopsAt: number): Lexed => ({ lexemes, stopsAt });

  for (;;) {
    const before = lexemes.at(-1);
    if (!before || before.kind === "close" || before.kind === "comment") {
      at = nextTag(source, at);
      if (at >= source.length) return { lexemes };
    }
    if (source.startsWith("{#", at)) {
      const end = source.indexOf("#}", at + 2);
      if (end < 0) return stop(at);
      push("comment", "{#", end + 2);
      continue;
    }
    const open = read(OPEN_TRIMMING); // as the library, only where no space stands before it
    if (open) {
      if (open === "{{-") depth = 0;
      push("open", open);
      continue;
    }
    at += read(SPACE)?.length ?? 0;
    if (at >= source.length) return stop(lexemes.findLast(({ kind }) => kind === "open")?.offset ?? at);

    const close = read(CLOSE);
    if (close && (close !== "}}" || depth <= 0)) {
      push("close", close);
      continue;
    }
    const char = source.charAt(at);
    if ((char === "-" || char === "+") && !endsOperand(before)) {
      const text = read(SIGNED)!;
      push(text.length > 1 ? "number" : "operator", text);
      continue;
    }
    const operator = read(OPERATOR);
    if (operator) {
      const isOpen = operator.length > 1 && operator.startsWith("{");
      if (operator === "{{") depth = 0;
      else if (operator === "{") depth++;
      else if (operator === "}") depth--;
      push(isOpen ? "open" : "operator", operator);
      continue;
    }
    if (char === "'" || char === '"') {
      const end = endOfString(source, at);
      if (!end.closed) return stop(end.at);
      push("string", char, end.at);
      continue;
    }
    const number = read(before?.text === "." ? INTEGER : NUMBER);
    const word = number ?? read(WORD);
    if (word === undefined) return stop(at);
    push(number === undefined ? "word" : "number", word);
  }
}

function nextTag(source: string, from: number): number {
  let at = from;
  for (;;) {
    TAG.lastIndex = at;
    const tag = TAG.exec(source);
    if (!tag) return source.length;
    GENERATION.lastIndex = tag.index;
    if (!GENERATION.test(source)) return tag.index;
    at = GENERATION.lastIndex;
  }
}

/** After these a sign is a binary operator. */
function endsOperand(lexeme: Lexeme | undefined): boolean {
  if (!lexeme) return false;
  return ["word", "number", "string"].includes(lexeme.kind) || lexeme.text === ")" || lexeme.text === "]";
}

/** After the closing quote; or where it fails: at an escape that Jinja does not know, or at the opening quote. */
function endOfString(source: string, start: number): { at: number; closed: boolean } {
  const quote = source.charAt(start);
  for (let at = start + 1; at < source.length; at++) {
    if (source.charAt(at) === quote) return { at: at + 1, closed: true };
    if (source.charAt(at) !== "\\") continue;
    ESCAPE.lastIndex = at;
    if (!ESCAPE.test(source)) return { at: at + 1 < source.length ? at : start, closed: false };
    at = ESCAPE.lastIndex - 1;
  }
  return { at: start, closed: false };
}
