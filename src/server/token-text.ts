/** Tokens and their likelihoods as the protocol tells them, of chats and of completions. */
import type { TokenLikelihood } from "../runtime/likelihood.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

export interface ChatTokenLogprob {
  token: string;
  logprob: number;
  /** UTF-8; a token may be half a character. */
  bytes: number[];
  top_logprobs: { token: string; logprob: number; bytes: number[] }[];
}

export interface CompletionLogprobs {
  tokens: string[];
  /** null: the first one of a prompt, which nothing stands before. */
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[] | null;
  /** In code points of the text, as Python counts. */
  text_offset: number[];
}

/** No number of JSON is less. */
const LEAST_LOGPROB = -9999;

export function bytesOf(tokenizer: Tokenizer, id: number): Uint8Array {
  if (!tokenizer.hasToken(id)) return new Uint8Array();
  if (tokenizer.isByteLevel) return tokenizer.bytesOf(id);
  return new TextEncoder().encode(tokenizer.decode([id]));
}

export function tokenText(tokenizer: Tokenizer, id: number): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(tokenizer, id));
}

export function chatLogprob(
  tokenizer: Tokenizer,
  { token, logprob, top }: TokenLikelihood,
): ChatTokenLogprob {
  const told = (id: number, value: number) => ({
    token: tokenText(tokenizer, id),
    logprob: Math.max(value, LEAST_LOGPROB),
    bytes: [...bytesOf(tokenizer, id)],
  });
  return { ...told(token, logprob), top_logprobs: top.map((other) => told(other.token, other.logprob)) };
}

/** Gathers the likelihoods of a completion's tokens, with their places in the text. */
export class CompletionLikelihoods {
  readonly #tokenizer: Tokenizer;
  readonly #numTop: number;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #offset: number;
  #told = empty();

  constructor(tokenizer: Tokenizer, { numTop, offset = 0 }: { numTop: number; offset?: number }) {
    this.#tokenizer = tokenizer;
    this.#numTop = numTop;
    this.#offset = offset;
  }

  add(id: number, likelihood: TokenLikelihood | undefined): void {
    const told = this.#told;
    told.tokens.push(tokenText(this.#tokenizer, id));
    told.token_logprobs.push(likelihood ? Math.max(likelihood.logprob, LEAST_LOGPROB) : null);
    told.text_offset.push(this.#offset);
    told.top_logprobs!.push(likelihood ? this.#topOf(likelihood) : null);
    // Of half a character the first token begins where the second does.
    this.#offset += codePoints(this.#decoder.decode(bytesOf(this.#tokenizer, id), { stream: true }));
  }

  #topOf({ token, logprob, top }: TokenLikelihood): Record<string, number> {
    const likeliest: Record<string, number> = {};
    // Several tokens may have one text; the likeliest counts. The token itself is told too, as harnesses expect.
    for (const other of [...top, { token, logprob }]) {
      const text = tokenText(this.#tokenizer, other.token);
      if (!Object.hasOwn(likeliest, text))
        Object.defineProperty(likeliest, text, {
          value: Math.max(other.logprob, LEAST_LOGPROB),
          enumerable: true,
        });
    }
    return likeliest;
  }

  /** What was added since the last call. */
  taken(): CompletionLogprobs {
    const told = this.#told;
    this.#told = empty();
    return this.#numTop === 0 ? { ...told, top_logprobs: null } : told;
  }
}

export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function empty(): CompletionLogprobs {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
}
