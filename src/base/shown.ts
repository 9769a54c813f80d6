/**
 * Text of strangers in messages: names of tensors and files, pieces of JSON, paths.
 *
 * A name may hold anything, and a message may end in a terminal, a log or a web page. What has no shape of
 * its own there (control characters with their escape sequences, marks that turn the direction of writing,
 * line separators, lone surrogates) is shown as an escape.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const LONGEST = 200;

/** "a\u001b[31m" for an escape sequence; line feeds are escaped too. */
export function printable(text: string): string {
  return text.replace(UNSEEN, (character) => {
    const hex = character.codePointAt(0)!.toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
  });
}

/** A name as messages show it: printable, and cut after 200 characters. */
export function shown(name: string): string {
  if (name.length <= LONGEST) return printable(name);
  // Never between the halves of a surrogate pair.
  const end = /[\ud800-\udbff]/.test(name.charAt(LONGEST - 1)) ? LONGEST - 1 : LONGEST;
  return `${printable(name.slice(0, end))}…`;
}
