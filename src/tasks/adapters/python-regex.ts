/**
 * A regular expression of Python's `re` for texts -> the same in JavaScript.
 *
 * The two differ in what \d, \w, \b, "." and "$" mean, in names of groups and in which escapes and braces are
 * literal. Each of them is written out; what JavaScript has no equal for (atomic groups, conditions, (?x)) is
 * refused rather than read as something else.
 */

export interface Translated {
  pattern: string;
  flags: string;
}

/** Thrown for what cannot be translated. */
export class PythonRegexFault extends Error {}

const WORD = "\\p{L}\\p{N}_";
const START = "(?<![\\s\\S])";
const END = "(?![\\s\\S])";
const BOUNDARY = `(?:(?<=[${WORD}])(?![${WORD}])|(?<![${WORD}])(?=[${WORD}]))`;
const NO_BOUNDARY = `(?:(?<=[${WORD}])(?=[${WORD}])|(?<![${WORD}])(?![${WORD}]))`;
const CONTROLS: Record<string, string> = { a: "\\x07", f: "\\f", n: "\\n", r: "\\r", t: "\\t", v: "\\v" };

export function translateRegex(source: string): Translated {
  const translator = new Translator(source);
  const pattern = translator.run();
  const flags = translator.ignoresCase ? "iu" : "u";
  try {
    new RegExp(pattern, flags);
  } catch (error) {
    const what = (error as Error).message.replace(/^Invalid regular expression: .*: /, "");
    throw new PythonRegexFault(what.charAt(0).toLowerCase() + what.slice(1));
  }
  return { pattern, flags };
}

class Translator {
  readonly #source: string;
  #at = 0;
  #lines = false; // (?m)
  #dotAll = false; // (?s)
  ignoresCase = false; // (?i)

  constructor(source: string) {
    this.#source = source;
  }

  run(): string {
    let result = "";
    this.#readFlags();
    while (this.#at < this.#source.length) result += this.#next();
    return result;
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    const sticky = new RegExp(pattern.source, "yu");
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.#source);
    if (match) this.#at += match[0].length;
    return match ?? undefined;
  }

  #readFlags(): void {
    const flags = this.#take(/\(\?([a-zA-Z]+)\)/)?.[1] ?? "";
    for (const flag of flags) {
      if (flag === "i") this.ignoresCase = true;
      else if (flag === "m") this.#lines = true;
      else if (flag === "s") this.#dotAll = true;
      else if (flag !== "u") throw new PythonRegexFault(`the flag "${flag}" has no equal`);
    }
  }

  #next(): string {
    const quantifier = this.#take(/(?:[*+?]|\{\d+(?:,\d*)?\}|\{,\d+\})/)?.[0];
    if (quantifier !== undefined) {
      if (this.#take(/\+/)) throw new PythonRegexFault("a possessive quantifier has no equal");
      return quantifier.replace("{,", "{0,");
    }
    if (this.#take(/\(\?P=(\w+)\)/)) throw new PythonRegexFault("a reference by name has no equal here");
    const named = this.#take(/\(\?P<(\w+)>/);
    if (named) return `(?<${named[1]}>`;
    const group = this.#take(/\(\?(?::|=|!|<=|<!)/);
    if (group) return group[0];
    if (this.#take(/\(\?/))
      throw new PythonRegexFault(`the group "(?${this.#source.charAt(this.#at)}" has no equal`);
    if (this.#source.startsWith("[", this.#at)) return this.#class();
    if (this.#source.startsWith("\\", this.#at)) return this.#escape(false);
    const char = this.#take(/[\s\S]/)![0];
    if (char === ".") return this.#dotAll ? "[\\s\\S]" : "[^\\n]";
    if (char === "^") return this.#lines ? "(?<![^\\n])" : START;
    if (char === "$") return this.#lines ? `(?=\\n|${END})` : `(?=\\n?${END})`;
    return /[{}\]/]/.test(char) ? `\\${char}` : char;
  }

  #class(): string {
    let result = this.#take(/\[\^?/)![0];
    for (let isFirst = true; ; isFirst = false) {
      if (this.#at >= this.#source.length) throw new PythonRegexFault('a "[" is never closed');
      if (this.#source.startsWith("\\", this.#at)) {
        result += this.#escape(true);
        continue;
      }
      const char = this.#take(/[\s\S]/)![0];
      if (char === "]" && !isFirst) return `${result}]`;
      result += /[[\]]/.test(char) ? `\\${char}` : char;
    }
  }

  #escape(inClass: boolean): string {
    const code = this.#take(/\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})/);
    if (code) return code[0];
    const reference = inClass ? undefined : this.#take(/\\[1-9]\d?/);
    if (reference) return `(?:${reference[0]})`;
    const char = this.#take(/\\([\s\S])/)?.[1];
    if (char === undefined) throw new PythonRegexFault('it ends in a "\\"');
    switch (char) {
      case "d":
        return "\\p{Nd}";
      case "D":
        return "\\P{Nd}";
      case "s":
      case "S":
        return `\\${char}`;
      case "w":
        return inClass ? WORD : `[${WORD}]`;
      case "W":
        if (inClass) throw new PythonRegexFault('"\\W" within a "[…]" has no equal');
        return `[^${WORD}]`;
      case "b":
        return inClass ? "\\x08" : BOUNDARY;
      case "B":
        if (!inClass) return NO_BOUNDARY;
        break;
      case "A":
        if (!inClass) return START;
        break;
      case "Z":
        if (!inClass) return END;
        break;
      default:
        if (CONTROLS[char] !== undefined) return CONTROLS[char];
        if (/[\^$\\.*+?()[\]{}|/]/.test(char) || (char === "-" && inClass)) return `\\${char}`;
        if (!/[A-Za-z0-9]/.test(char)) return char;
    }
    throw new PythonRegexFault(`the escape "\\${char}" has no equal`);
  }
}
