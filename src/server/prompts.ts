/**
 * Texts to ids, once for all choices of a request. Cutting a text into tokens holds up everybody else, so that one
 * which cannot fit, however it is cut, is refused before.
 */
import type { Tokenizer } from "../text/tokenizer.ts";
import { ApiError, invalid } from "./api-error.ts";
import type { LoadedModel } from "./served-model.ts";
import { bytesOf } from "./token-text.ts";

interface Place {
  /** Key of the request that holds the text. */
  param: string;
}

/** What `encode` makes of a text. Throws ApiError 400 for one that is too long. */
export function idsWithin(
  { text: { tokenizer }, batch: { limit } }: LoadedModel,
  text: string,
  { param, encode }: Place & { encode: () => readonly number[] },
): readonly number[] {
  // A token stands for so many bytes at the most, and a text has as many bytes as UTF-16 units, or more.
  const least = Math.ceil(text.length / longestOf(tokenizer));
  if (least > limit) throw tooLong(`at least ${least}`, { limit, param });
  let ids: readonly number[];
  try {
    ids = encode();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw invalid(param, `Cannot cut the prompt into tokens: a word of it is too long (${error.message})`);
  }
  if (ids.length === 0) throw invalid(param, `"${param}" gives an empty prompt, wanted a token`);
  requireRoom(ids, { limit, param });
  return ids;
}

/** Throws ApiError 400 for a prompt that the context does not hold. */
export function requireRoom(
  { length }: { length: number },
  { limit, param }: Place & { limit: number },
): void {
  if (length > limit) throw tooLong(String(length), { limit, param });
}

function tooLong(count: string, { limit, param }: Place & { limit: number }): ApiError {
  const message = `Cannot use the prompt: it has ${count} tokens, wanted at most the ${limit} of the context`;
  return new ApiError(400, message, { code: "context_length_exceeded", param });
}

const LONGEST = new WeakMap<Tokenizer, number>();

/** Bytes of the longest token; of a tokenizer that is not byte-level nothing is known. */
function longestOf(tokenizer: Tokenizer): number {
  let longest = LONGEST.get(tokenizer);
  if (longest !== undefined) return longest;
  longest = tokenizer.isByteLevel ? 1 : Number.POSITIVE_INFINITY;
  if (tokenizer.isByteLevel)
    for (let id = 0; id < tokenizer.vocabSize; id++)
      longest = Math.max(longest, bytesOf(tokenizer, id).length);
  LONGEST.set(tokenizer, longest);
  return longest;
}
