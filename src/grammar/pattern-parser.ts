/**
 * Reads the regular expressions of JSON Schema's "pattern", as far as they are regular.
 *
 * The subset of ECMAScript (flag u): characters, ".", classes with ranges and negation, \d \D \w \W \s \S, escapes
 * (\n \t \r \f \v \0 \xhh \uhhhh \u{h…} and signs), groups (also named and (?:…), without back references),
 * alternation, quantifiers (lazy ones match the same texts), and ^ and $ at the ends of the pattern or of an
 * alternative outside of groups. Without anchors anything may stand before and after, as JSON Schema has it.
 */
import { complement, normalised, pointsOf } from "./characters.ts";
import type { Range } from "./grammar.ts";
import { ANYTHING, type Pattern } from "./pattern.ts";

/** What in a pattern is not of the subset. */
export class PatternFault extends Error {
  override name = "PatternFault";
}

const DEEPEST = 64;
const LONGEST = 10_000;
const MOST_TIMES = 10_000;
const DIGITS: readonly Range[] = [[0x30, 0x39]];
const WORD: readonly Range[] = [...DIGITS, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACES = normalised([
  [9, 13],
  ...pointsOf("\u0020\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"),
  [0x2000, 0x200a],
]);
const NOT_LINE_ENDS = complement(pointsOf("\n\r\u2028\u2029"));
const CLASSES: ReadonlyMap<string, readonly Range[]> = new Map([
  ["d", DIGITS],
  ["D", complement(DIGITS)],
  ["w", WORD],
  ["W", complement(WORD)],
  ["s", SPACES],
  ["S", complement(SPACES)],
]);
const CONTROLS: ReadonlyMap<string, number> = new Map([
  ["n", 10],
  ["r", 13],
  ["t", 9],
  ["f", 12],
  ["v", 11],
]);

/** Throws PatternFault, of which the message says what it met and what is supported. */
export function parsePattern(source: string): Pattern {
  const characters = Array.from(source);
  if (characters.length > LONGEST) throw new PatternFault(`it has over ${LONGEST} characters`);
  return new Parser(characters).parse();
}

class Parser {
  readonly #source: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(source: readonly string[]) {
    this.#source = source;
  }

  parse(): Pattern {
    const alternatives: Pattern[] = [];
    do {
      const before = this.#take("^") ? [] : [ANYTHING];
      const items = this.#sequence();
      const after = this.#take("$") ? [] : [ANYTHING];
      alternatives.push({ kind: "sequence", items: [...before, ...items, ...after] });
    } while (this.#take("|"));
    if (this.#at < this.#source.length) this.#refuse();
    return alternatives.length === 1 ? alternatives[0]! : { kind: "choice", items: alternatives };
  }

  #sequence(): Pattern[] {
    const items: Pattern[] = [];
    for (let next = this.#peek(); next !== undefined && !"|)$".includes(next); next = this.#peek()) {
      items.push(this.#quantified(this.#atom()));
    }
    return items;
  }

  #atom(): Pattern {
    const next = this.#source[this.#at++]!;
    switch (next) {
      case "(":
        return this.#group();
      case "[":
        return { kind: "character", ranges: this.#class() };
      case ".":
        return { kind: "character", ranges: NOT_LINE_ENDS };
      case "\\":
        return { kind: "character", ranges: this.#escape({ inClass: false }) };
    }
    if ("^*+?{}])".includes(next)) {
      this.#at--;
      this.#refuse();
    }
    return { kind: "character", ranges: pointsOf(next) };
  }

  #group(): Pattern {
    if (++this.#depth > DEEPEST) throw new PatternFault(`its groups nest deeper than ${DEEPEST}`);
    if (this.#take("?")) {
      const kind = this.#source.slice(this.#at, this.#at + 2).join("");
      if (this.#take("<") && !/^<[=!]/.test(kind)) {
        while (this.#peek() !== undefined && this.#source[this.#at++] !== ">");
      } else if (!this.#take(":")) {
        const what = /^[=!]/.test(kind) ? "lookahead" : /^<[=!]/.test(kind) ? "lookbehind" : "a modifier";
        throw new PatternFault(`it has ${what}, "(?${kind}"`);
      }
    }
    const items: Pattern[] = [];
    do items.push({ kind: "sequence", items: this.#sequence() });
    while (this.#take("|"));
    if (this.#peek() === "$") throw new PatternFault('it has an anchor inside a group, "$"');
    if (!this.#take(")")) throw new PatternFault('a group has no end, ")"');
    this.#depth--;
    return { kind: "choice", items };
  }

  #quantified(item: Pattern): Pattern {
    let counts: { min: number; max?: number } | undefined;
    if (this.#take("*")) counts = { min: 0 };
    else if (this.#take("+")) counts = { min: 1 };
    else if (this.#take("?")) counts = { min: 0, max: 1 };
    else if (this.#peek() === "{") counts = this.#counts();
    if (!counts) return item;
    this.#take("?"); // lazy
    if (counts.min > (counts.max ?? counts.min) || Math.max(counts.min, counts.max ?? 0) > MOST_TIMES)
      throw new PatternFault(
        `it repeats from ${counts.min} to ${counts.max} times, at most ${MOST_TIMES} go`,
      );
    return { kind: "repeat", item, ...counts };
  }

  #counts(): { min: number; max?: number } {
    const end = this.#source.indexOf("}", this.#at);
    const text = this.#source.slice(this.#at, end + 1).join("");
    const match = /^\{(\d{1,9})(,(\d{1,9})?)?\}$/.exec(text);
    if (!match) this.#refuse();
    this.#at = end + 1;
    const min = Number(match[1]);
    if (match[2] === undefined) return { min, max: min };
    return match[3] === undefined ? { min } : { min, max: Number(match[3]) };
  }

  /** After "[". */
  #class(): Range[] {
    const isNegated = this.#take("^");
    const ranges: Range[] = [];
    while (!this.#take("]")) {
      const first = this.#classMember();
      if (this.#peek() !== "-" || this.#source[this.#at + 1] === "]") {
        ranges.push(...first);
        continue;
      }
      this.#at++;
      const last = this.#classMember();
      const from = pointOf(first);
      const to = pointOf(last);
      if (from === undefined || to === undefined || from > to)
        throw new PatternFault("a class has a range that is not from one character to a later one");
      ranges.push([from, to]);
    }
    return isNegated ? complement(ranges) : normalised(ranges);
  }

  #classMember(): readonly Range[] {
    const next = this.#source[this.#at++];
    if (next === undefined) throw new PatternFault('a class has no end, "]"');
    return next === "\\" ? this.#escape({ inClass: true }) : pointsOf(next);
  }

  /** After a backslash. */
  #escape({ inClass }: { inClass: boolean }): readonly Range[] {
    const next = this.#source[this.#at++];
    if (next === undefined) throw new PatternFault("it ends with a backslash");
    const named = CLASSES.get(next);
    if (named) return named;
    const control = CONTROLS.get(next) ?? (inClass && next === "b" ? 8 : undefined);
    if (control !== undefined) return [[control, control]];
    if (next === "x") return this.#hex(/^[\da-f]{2}/i);
    if (next === "u") return this.#hex(/^(?:[\da-f]{4}|\{[\da-f]{1,6}\})/i);
    if (next === "0" && !/\d/.test(this.#peek() ?? "")) return [[0, 0]];
    if (/\d/.test(next) || next === "k") throw new PatternFault(`it has a back reference, "\\${next}"`);
    if (next === "b" || next === "B") throw new PatternFault(`it has a word boundary, "\\${next}"`);
    if (next === "p" || next === "P") throw new PatternFault(`it has a Unicode property, "\\${next}"`);
    if (/[a-z]/i.test(next)) throw new PatternFault(`it has an escape that is not known, "\\${next}"`);
    return pointsOf(next);
  }

  #hex(form: RegExp): Range[] {
    let point = this.#hexUnit(form);
    const next = this.#source.slice(this.#at, this.#at + 6).join("");
    // Two escapes may be the halves of one character.
    if (point >= 0xd800 && point <= 0xdbff && /^\\ud[c-f]/i.test(next)) {
      this.#at += 2;
      point = 0x10000 + ((point - 0xd800) << 10) + (this.#hexUnit(form) - 0xdc00);
    }
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
      throw new PatternFault("an escape is half a surrogate pair, or no character");
    return [[point, point]];
  }

  #hexUnit(form: RegExp): number {
    const [text] = form.exec(this.#source.slice(this.#at, this.#at + 8).join("")) ?? [];
    if (text === undefined) throw new PatternFault("an escape has no hexadecimal digits");
    this.#at += text.length;
    return Number.parseInt(text.replaceAll(/[{}]/g, ""), 16);
  }

  #peek(): string | undefined {
    return this.#source[this.#at];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #refuse(): never {
    const next = this.#peek();
    if (next === "^" || next === "$") throw new PatternFault(`it has an anchor inside, "${next}"`);
    throw new PatternFault(`character ${this.#at + 1}, "${next}", has nothing to do there`);
  }
}

function pointOf(ranges: readonly Range[]): number | undefined {
  const [range] = ranges;
  return ranges.length === 1 && range![0] === range![1] ? range![0] : undefined;
}
