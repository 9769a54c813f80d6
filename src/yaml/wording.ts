/** How messages quote and list things. Whatever comes from a file is escaped: it may hold terminal codes. */
import { nearest } from "../base/nearest.ts";

/** Quoted, on one line, at most about 80 characters. */
export function quote(text: string): string {
  return escapeControls(JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text));
}

/** Without line breaks and terminal codes; JSON leaves DEL and the C1 controls as they are. */
export function escapeControls(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `"a"`, `"a" or "b"`, `one of "a", "b", "c"`. */
export function oneOf(words: readonly string[]): string {
  const quoted = words.map(quote);
  return quoted.length > 2 ? `one of ${quoted.join(", ")}` : quoted.join(" or ");
}

/** The note for a word that nobody knows: the nearest one that is known. */
export function didYouMean(word: string, words: Iterable<string>): string | undefined {
  const best = nearest(word, words);
  return best === undefined ? undefined : `Did you mean ${quote(best)}?`;
}

/** 1 -> "1 parent", 3 -> "3 parents". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
