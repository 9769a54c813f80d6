/**
 * A pull scanner for JSON that is read as a known shape: shard headers and shard indexes.
 *
 * JSON.parse keeps the last of two equal keys in silence and builds an object per entry; a header must
 * refuse duplicates, and the largest are 100 MB. The scanner walks the text once, allocates nothing but
 * what the caller asks for, does not recurse, and reports what it found with its offset. It accepts what
 * JSON.parse accepts, less lone surrogates in strings that are asked for (the reference reader refuses
 * them), values nested deeper than 64, and numbers longer than 400 characters.
 */
import { CheckpointError } from "../base/errors.ts";
import { printable, shown } from "./shown.ts";

/** Thrown for text that is not what was asked for; the caller adds the file's name. */
export class JsonFault extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(printable(message));
    this.offset = offset;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const MAX_DEPTH = 64;
const MAX_WORD = 400;
const WORD = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const LONE_SURROGATE = /\p{Cs}/u;

/**
 * Decodes a text and scans all of it; returns it. What is wrong becomes a CheckpointError with this code.
 */
export function scanJson(
  bytes: Uint8Array,
  { file, code }: { file: string; code: string },
  scan: (scanner: JsonScanner) => void,
): string {
  const fail = (what: string): never => {
    throw new CheckpointError(code, `Cannot read "${shown(file)}": ${what}`);
  };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail("it is not valid UTF-8");
  }
  const scanner = new JsonScanner(text);
  try {
    scan(scanner);
    scanner.end();
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    fail(`${error.message} (at character ${error.offset})`);
  }
  return text;
}

export class JsonScanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get offset(): number {
    return this.#at;
  }

  #skipSpace(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) this.#at++;
      else return;
    }
  }

  /** What stands next, for messages. */
  #found(): string {
    if (this.#at >= this.#text.length) return "the end of the text";
    return JSON.stringify(this.#text.slice(this.#at, this.#at + 12));
  }

  fail(message: string): never {
    throw new JsonFault(message, this.#at);
  }

  #expect(code: number, what: string): void {
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#at) !== code) this.fail(`found ${this.#found()}, wanted ${what}`);
    this.#at++;
  }

  /** Code of the next character that is not space, unread; NaN at the end. */
  peek(): number {
    this.#skipSpace();
    return this.#text.charCodeAt(this.#at);
  }

  /** Calls `entry` with each key, standing before the key's value, which `entry` must read. */
  object(entry: (key: string) => void): void {
    this.#expect(OPEN_BRACE, "{");
    if (this.peek() === CLOSE_BRACE) {
      this.#at++;
      return;
    }
    for (;;) {
      const key = this.string();
      this.#expect(COLON, ":");
      entry(key);
      if (this.peek() === COMMA) {
        this.#at++;
        continue;
      }
      this.#expect(CLOSE_BRACE, ", or }");
      return;
    }
  }

  /** Calls `element` for each element, which it must read. At most `limit` elements. */
  array(limit: number, element: (index: number) => void): void {
    this.#expect(OPEN_BRACKET, "[");
    if (this.peek() === CLOSE_BRACKET) {
      this.#at++;
      return;
    }
    for (let index = 0; ; index++) {
      if (index >= limit) this.fail(`found more than ${limit} elements in a list`);
      element(index);
      if (this.peek() === COMMA) {
        this.#at++;
        continue;
      }
      this.#expect(CLOSE_BRACKET, ", or ]");
      return;
    }
  }

  string(): string {
    this.#skipSpace();
    const start = this.#at + 1;
    const escaped = this.#passString();
    const raw = this.#text.slice(start, this.#at - 1);
    if (!escaped) return raw;
    const value = JSON.parse(`"${raw}"`) as string;
    if (LONE_SURROGATE.test(value)) {
      this.fail(`found "${shown(value)}", which holds half of a surrogate pair, wanted Unicode text`);
    }
    return value;
  }

  /** Moves past a string; true when it has escapes. */
  #passString(): boolean {
    this.#expect(QUOTE, "a string");
    let escaped = false;
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c === BACKSLASH) {
        ESCAPE.lastIndex = this.#at;
        if (!ESCAPE.test(this.#text)) this.fail(`found ${this.#found()}, wanted an escape that JSON knows`);
        this.#at = ESCAPE.lastIndex;
        escaped = true;
        continue;
      }
      if (Number.isNaN(c)) this.fail("found the end of the text inside a string");
      if (c < 0x20) this.fail("found a control character inside a string");
      this.#at++;
      if (c === QUOTE) return escaped;
    }
  }

  /** A whole number from 0 to 2^53 - 1, in plain digits. A message says `what` of which `owner` it is. */
  integer(what: string, owner: string): number {
    this.#skipSpace();
    const start = this.#at;
    let value = 0;
    let c = this.#text.charCodeAt(start);
    while (isDigit(c)) {
      value = value * 10 + (c - 0x30); // passes 2^53 before it becomes inexact
      c = this.#text.charCodeAt(++this.#at);
    }
    const length = this.#at - start;
    const leadingZero = length > 1 && this.#text.charCodeAt(start) === 0x30;
    const goesOn = c === 0x2e || c === 0x65 || c === 0x45; // . e E
    if (length === 0 || leadingZero || goesOn || !Number.isSafeInteger(value)) {
      this.#at = start;
      const word = this.#text.slice(start, start + 24).split(/[\s,\]}]/)[0];
      const found = `found ${what} ${word || this.#found()} of "${shown(owner)}"`;
      this.fail(`${found}, wanted a whole number from 0 to 2^53 - 1`);
    }
    return value;
  }

  /** Skips any value and returns its text; nesting deeper than 64 is refused. */
  skip(): string {
    this.#skipSpace();
    const start = this.#at;
    const closers: number[] = []; // what each open value waits for
    for (;;) {
      const c = this.peek();
      if (c === OPEN_BRACE || c === OPEN_BRACKET) {
        if (closers.length === MAX_DEPTH) this.fail(`found values nested deeper than ${MAX_DEPTH}`);
        this.#at++;
        const closer = c + 2; // { and }, [ and ] stand two apart
        if (this.peek() === closer) this.#at++;
        else {
          closers.push(closer);
          if (closer === CLOSE_BRACE) this.#passKey();
          continue;
        }
      } else if (c === QUOTE) this.#passString();
      else this.#passWord();
      if (!this.#passEnds(closers)) return this.#text.slice(start, this.#at);
    }
  }

  /** After a value: closes what closes here. False when nothing is open, true when a value must follow. */
  #passEnds(closers: number[]): boolean {
    for (;;) {
      const closer = closers.at(-1);
      if (closer === undefined) return false;
      if (this.peek() === COMMA) {
        this.#at++;
        if (closer === CLOSE_BRACE) this.#passKey();
        return true;
      }
      this.#expect(closer, closer === CLOSE_BRACE ? ", or }" : ", or ]");
      closers.pop();
    }
  }

  #passKey(): void {
    this.#passString();
    this.#expect(COLON, ":");
  }

  #passWord(): void {
    const start = this.#at;
    while (this.#at - start <= MAX_WORD && /[\w.+-]/.test(this.#text.charAt(this.#at))) this.#at++;
    const word = this.#text.slice(start, this.#at);
    if (word.length <= MAX_WORD && WORD.test(word)) return;
    this.#at = start;
    this.fail(`found ${this.#found()}, wanted a value`);
  }

  /** Requires that nothing but space follows. */
  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.fail(`found ${this.#found()} after the end, wanted nothing`);
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
