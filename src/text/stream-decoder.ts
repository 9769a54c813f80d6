/**
 * Token ids to text, one at a time: what is complete comes out at once, half a character waits.
 *
 * A byte-level token may end inside a UTF-8 sequence; TextDecoder holds back exactly such a tail and turns
 * what stays incomplete into U+FFFD at the end. Other vocabularies (SentencePiece, WordPiece) decode a token
 * by its neighbours, so the tokens since the last text are decoded again with each new one.
 */
import type { DecodeOptions, Tokenizer } from "./tokenizer.ts";

export interface StreamDecoder {
  /** The text that this token completes; "" when it only begins a character. */
  push(id: number): string;
  /** What was held back. The decoder can be used again, for another text. */
  flush(): string;
}

export function createStreamDecoder(tokenizer: Tokenizer, options: DecodeOptions = {}): StreamDecoder {
  return tokenizer.isByteLevel ? new ByteDecoder(tokenizer, options) : new WindowDecoder(tokenizer, options);
}

class ByteDecoder implements StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecial: boolean;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: Tokenizer, { skipSpecial = false }: DecodeOptions) {
    this.#tokenizer = tokenizer;
    this.#skipSpecial = skipSpecial;
  }

  push(id: number): string {
    if (this.#skipSpecial && this.#tokenizer.isSpecial(id)) return "";
    return this.#decoder.decode(this.#tokenizer.bytesOf(id), { stream: true });
  }

  flush(): string {
    return this.#decoder.decode();
  }
}

class WindowDecoder implements StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #options: DecodeOptions;
  /** Tokens whose text is out but that the next one's text depends on, then those that wait. */
  #window: number[] = [];
  #done = 0;

  constructor(tokenizer: Tokenizer, options: DecodeOptions) {
    this.#tokenizer = tokenizer;
    this.#options = options;
  }

  push(id: number): string {
    if (this.#options.skipSpecial && this.#tokenizer.isSpecial(id)) return "";
    this.#window.push(id);
    const text = this.#waiting();
    // Byte tokens that are not a whole character yet decode to U+FFFD.
    if (text === "" || text.endsWith("\ufffd")) return "";
    this.#window = this.#window.slice(this.#done);
    this.#done = this.#window.length;
    return text;
  }

  flush(): string {
    const text = this.#waiting();
    this.#window = [];
    this.#done = 0;
    return text;
  }

  #waiting(): string {
    const before = this.#tokenizer.decode(this.#window.slice(0, this.#done), this.#options);
    return this.#tokenizer.decode(this.#window, this.#options).slice(before.length);
  }
}
