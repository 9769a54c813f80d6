/**
 * YAML text -> a small tree of values with positions.
 *
 * The tree keeps what a JS object loses: the order of keys that look like numbers, keys that stand twice,
 * and how a word was written (`1.0` as the name of a parent). YAML 1.2 only: `no` is text, `<<` is a key
 * like any other. Aliases share the value of their anchor instead of copying it, and what they would
 * expand to is counted first, so an alias bomb costs nothing.
 */
import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  parseDocument,
} from "yaml";
import { formatInteger } from "../base/format.ts";
import type { Faults } from "./faults.ts";
import type { Position } from "./position.ts";
import { escapeControls, quote } from "./wording.ts";

export type Value = ScalarValue | ListValue | MappingValue | BrokenValue;

/** Something that a fault was added for already; readers pass over it. */
export interface BrokenValue {
  kind: "broken";
  at: Position;
}

export interface ScalarValue {
  kind: "scalar";
  value: string | number | boolean | null;
  /** As written, without quotes. */
  text: string;
  at: Position;
}

export interface ListValue {
  kind: "list";
  items: Value[];
  at: Position;
}

export interface MappingValue {
  kind: "mapping";
  /** In the order of the text; a key may stand twice. */
  entries: Field[];
  at: Position;
}

export interface Field {
  key: string;
  /** Of the key. */
  at: Position;
  value: Value;
}

export const START: Position = { line: 1, column: 1 };

// Recipes nest 8 deep. The yaml package recurses, and where the stack ends inside a regular expression
// V8 does not throw but ends the process ("- " 30,000 times does it): nesting is measured beforehand.
const MAX_DEPTH = 100;

// 1 MB of text without aliases holds at most half a million values.
const MAX_VALUES = 1e6;

/** The root of the text, or undefined when faults were added that keep it from being read. */
export function readDocument(text: string, faults: Faults): Value | undefined {
  const { noun, maxBytes } = faults.kind;
  // The characters first: encoding a file that was named by mistake would cost its size again.
  if (text.length > maxBytes || new TextEncoder().encode(text).length > maxBytes) {
    const limit = formatInteger(maxBytes);
    const message = `Cannot read the ${noun}: it has more than ${limit} bytes, wanted at most that many`;
    faults.add(START, `${noun}-too-large`, message);
    return undefined;
  }
  const deep = firstTooDeep(text);
  if (deep !== undefined) {
    const message = `Cannot read the ${noun}: more than ${MAX_DEPTH} values lie within each other, wanted fewer`;
    faults.add(deep, "nested-too-deeply", message);
    return undefined;
  }
  const lines = new LineCounter();
  const document = parseDocument<Node, true>(text, {
    version: "1.2",
    schema: "core",
    merge: false,
    resolveKnownTags: false, // "!!binary" and the like become a warning, which is a fault here
    uniqueKeys: false, // the package compares each key with all others; the reader uses a set
    prettyErrors: false,
    lineCounter: lines,
  });
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return line === 0 ? START : { line, column: col };
  };
  for (const { message, pos, code } of [...document.errors, ...document.warnings]) {
    const what = message.charAt(0).toLowerCase() + escapeControls(message.slice(1, 200).replace(/\s+/g, " "));
    const note =
      code === "MULTIPLE_DOCS" ? `One file holds one ${noun}; remove what follows the line ---` : undefined;
    faults.add(at(pos[0]), "yaml-syntax", `Cannot read the ${noun} as YAML: ${what}, wanted YAML 1.2`, note);
  }
  const yaml = document.directives?.yaml;
  if (yaml?.explicit && yaml.version !== "1.2") {
    const message = `Cannot read the ${noun} as YAML ${yaml.version}: a ${noun} is YAML 1.2, wanted no %YAML line or 1.2`;
    faults.add(START, "yaml-syntax", message);
  }
  if (document.errors.length > 0) return undefined; // what the rest means is a guess then
  return new Converter(at, faults).convertRoot(document.contents);
}

/** Where nesting passes the limit. The package's lexer and parser do not recurse; its composer does. */
function firstTooDeep(text: string): Position | undefined {
  const lines = new LineCounter();
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    for (const _ of parser.next(lexeme)); // documents come out; only the depth matters here
    if (parser.stack.length > MAX_DEPTH) {
      const { line, col } = lines.linePos(Math.max(0, parser.offset - lexeme.length));
      return { line, column: col };
    }
  }
  return undefined;
}

/** What a yaml node became, and how many values it stands for when every alias is written out. */
interface Converted {
  value: Value;
  size: number;
}

class Converter {
  readonly #anchors = new Map<string, Converted | "open">();
  readonly #at: (offset: number) => Position;
  readonly #faults: Faults;

  constructor(at: (offset: number) => Position, faults: Faults) {
    this.#at = at;
    this.#faults = faults;
  }

  convertRoot(node: Node | null): Value | undefined {
    const { value, size } = this.#convert(node, START);
    if (size <= MAX_VALUES) return value;
    this.#faults.add(
      START,
      `${this.#faults.kind.noun}-too-large`,
      `Cannot read the ${this.#faults.kind.noun}: its aliases stand for ${size} values, wanted at most ${MAX_VALUES}`,
    );
    return undefined;
  }

  // `otherwise`: where something stands that has no text of its own, as the value of a bare key.
  #convert(node: Node | null | undefined, otherwise: Position): Converted {
    if (!node) return { value: nothing(otherwise), size: 1 };
    if (isAlias(node)) return this.#follow(node);
    if ("anchor" in node && node.anchor !== undefined) this.#anchors.set(node.anchor, "open");
    const converted = this.#convertContent(node, node.range ? this.#at(node.range[0]) : otherwise, otherwise);
    if ("anchor" in node && node.anchor !== undefined) this.#anchors.set(node.anchor, converted);
    return converted;
  }

  #convertContent(node: Node, at: Position, otherwise: Position): Converted {
    if (isSeq<Node | null>(node)) {
      const items = node.items.map((item) => this.#convert(item, at));
      return { value: { kind: "list", items: items.map(({ value }) => value), at }, size: sizeOf(items) };
    }
    if (isMap<Node, Node | null>(node)) {
      const entries: Field[] = [];
      const values: Converted[] = [];
      for (const pair of node.items) {
        const key = this.#convert(pair.key, at).value;
        const converted = this.#convert(pair.value, key.at);
        values.push(converted);
        if (key.kind === "scalar") entries.push({ key: key.text, at: key.at, value: converted.value });
        else if (key.kind !== "broken") {
          const what = key.kind === "list" ? "a list" : "a mapping";
          this.#faults.add(
            key.at,
            "wrong-type",
            `Cannot use a key: it is ${what}, wanted a word`,
            QUOTE_GLOBS,
          );
        }
      }
      return { value: { kind: "mapping", entries, at }, size: sizeOf(values) };
    }
    if (!isScalar(node)) throw new Error(`internal: a yaml node of an unknown kind`);
    const { value } = node;
    if (value === null && !node.source) return { value: nothing(otherwise), size: 1 };
    const text = typeof value === "string" ? value : (node.source ?? String(value));
    const simple = typeof value === "number" || typeof value === "boolean" || value === null;
    return { value: { kind: "scalar", value: simple ? value : text, text, at }, size: 1 };
  }

  #follow(alias: Alias): Converted {
    const at = this.#at(alias.range?.[0] ?? 0);
    const target = this.#anchors.get(alias.source);
    if (target !== undefined && target !== "open") return target;
    const word = quote(`*${alias.source}`);
    const [code, message, note] =
      target === "open"
        ? [
            "recursive-alias",
            `Cannot use the alias ${word}: it lies within itself, wanted a value without it`,
          ]
        : [
            "unknown-alias",
            `Cannot use the alias ${word}: nothing before it has the anchor ${quote(`&${alias.source}`)}, wanted one`,
            QUOTE_GLOBS,
          ];
    this.#faults.add(at, code!, message!, note);
    return { value: { kind: "broken", at }, size: 1 };
  }
}

/** What to do about YAML that takes a glob for something else. */
export const QUOTE_GLOBS = 'A glob that starts with "*", "[" or "{" must be quoted: name: "*.experts.*"';

function nothing(at: Position): ScalarValue {
  return { kind: "scalar", value: null, text: "", at };
}

function sizeOf(parts: readonly Converted[]): number {
  return parts.reduce((sum, { size }) => sum + size, 1);
}
