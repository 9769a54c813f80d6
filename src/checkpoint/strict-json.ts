/**
 * A pull scanner for JSON that is read as a known shape: shard headers and shard indexes.
 *
 * JSON.parse keeps the last of two equal keys in silence and builds an object per entry; a header must
 * refuse duplicates, and the largest are 100 MB. The scanner walks the text once, allocates nothing but
 * what the caller asks for, does not recurse, and reports what it found with its offset.
 */

/** Thrown for text that is not what was asked for; the caller adds the file's name. */
export class JsonFault extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

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
      this.#expect(0x3a, ":");
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
    this.#expect(QUOTE, "a string");
    const start = this.#at;
    let escaped = false;
    for (;;) {
      const c = this.#text.charCodeAt(this.#at);
      if (c === QUOTE) break;
      if (Number.isNaN(c)) this.fail("found the end of the text inside a string");
      if (c < 0x20) this.fail("found a control character inside a string");
      if (c === BACKSLASH) {
        escaped = true;
        this.#at++;
      }
      this.#at++;
    }
    const raw = this.#text.slice(start, this.#at);
    this.#at++;
    if (!escaped) return raw;
    try {
      return JSON.parse(`"${raw}"`) as string;
    } catch {
      return this.fail(`found ${JSON.stringify(raw.slice(0, 40))}, which is not a valid string`);
    }
  }

  /** A whole number from 0 to 2^53 - 1, in plain digits. */
  integer(what: string): number {
    this.#skipSpace();
    const start = this.#at;
    if (this.#text.charCodeAt(this.#at) === 0x2d) this.#at++;
    while (isDigit(this.#text.charCodeAt(this.#at))) this.#at++;
    const digits = this.#text.slice(start, this.#at);
    const next = this.#text.charCodeAt(this.#at);
    const isWhole = /^(0|[1-9]\d*)$/.test(digits) && next !== 0x2e && next !== 0x65 && next !== 0x45;
    const value = Number(digits);
    if (!isWhole || !Number.isSafeInteger(value)) {
      this.#at = start;
      const shown = this.#text.slice(start, start + 24).split(/[\s,\]}]/)[0];
      this.fail(`found ${what} ${shown || this.#found()}, wanted a whole number from 0 to 2^53 - 1`);
    }
    return value;
  }

  /** Skips any value and returns its text; nesting deeper than 64 is refused. */
  skip(): string {
    let depth = 0;
    this.#skipSpace();
    const start = this.#at;
    do {
      const c = this.peek();
      if (c === QUOTE) this.string();
      else if (c === OPEN_BRACE || c === OPEN_BRACKET) {
        this.#at++;
        if (++depth > 64) this.fail("found values nested deeper than 64");
      } else if (c === CLOSE_BRACE || c === CLOSE_BRACKET) {
        this.#at++;
        depth--;
      } else if ((c === COMMA || c === 0x3a) && depth > 0) this.#at++;
      else if (!this.#skipWord()) this.fail(`found ${this.#found()}, wanted a value`);
    } while (depth > 0);
    return this.#text.slice(start, this.#at);
  }

  #skipWord(): boolean {
    const start = this.#at;
    while (/[\w.+-]/.test(this.#text.charAt(this.#at))) this.#at++;
    return this.#at > start;
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
