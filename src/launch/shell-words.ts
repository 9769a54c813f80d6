/** Words of a shell: written so that it takes them as they are, and read as it would. */
import { BuildError } from "../base/errors.ts";

/** One word of a POSIX shell, whatever is in it. Throws BuildError for a NUL, which none can hold. */
export function shellWord(text: string): string {
  if (text.includes("\0"))
    throw new BuildError("bad-word", "Cannot write a shell word: it holds a NUL character, wanted none");
  return /^[\w./@%+:,=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function shellCommand(words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}

/** Splits as a shell does: quotes and backslashes, no variables. Throws BuildError for a quote that does not end. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (quote !== "" && character === quote) quote = "";
    else if (character === "\\" && quote !== "'" && i + 1 < text.length) {
      const next = text[++i]!;
      word = (word ?? "") + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next);
    } else if (quote !== "") word = (word ?? "") + character;
    else if (character === "'" || character === '"') {
      quote = character;
      word ??= "";
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + character;
  }
  if (quote !== "")
    throw new BuildError(
      "bad-word",
      `Cannot split ${JSON.stringify(text)}: a quote does not end, wanted its end`,
    );
  if (word !== undefined) words.push(word);
  return words;
}
