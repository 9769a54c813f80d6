/**
 * Edits of a JSON object's top-level entries in its text: everything else stays as it was written, down to
 * the spelling of numbers (1e-06), which parsing and printing would change.
 */
import { JsonScanner } from "../checkpoint/strict-json.ts";

/** A new value as JSON text; undefined removes the entry. Entries that are not there are appended. */
export type Edits = ReadonlyMap<string, string | undefined>;

/** Applies edits to a text that JSON.parse accepts and that holds an object. */
export function editJsonText(text: string, edits: Edits): string {
  const scanner = new JsonScanner(text);
  const entries: { key: string; begin: number; valueAt: number; end: number }[] = [];
  let position = text.indexOf("{") + 1;
  scanner.object((key) => {
    scanner.peek(); // to the value's first character
    const valueAt = scanner.offset;
    const begin = text[position] === "," ? position + 1 : position;
    scanner.skip();
    entries.push({ key, begin, valueAt, end: scanner.offset });
    position = scanner.offset;
    if (scanner.peek() === 0x2c) position = scanner.offset;
  });
  const kept = entries
    .filter(({ key }) => !edits.has(key) || edits.get(key) !== undefined)
    .map(
      ({ key, begin, valueAt, end }) =>
        text.slice(begin, valueAt) + (edits.get(key) ?? text.slice(valueAt, end)),
    );
  const present = new Set(entries.map(({ key }) => key));
  const indent = /\n[ \t]*/.exec(text)?.[0] ?? " ";
  for (const [key, value] of edits) {
    if (!present.has(key) && value !== undefined) kept.push(`${indent}${JSON.stringify(key)}: ${value}`);
  }
  const close = text.slice(entries.at(-1)?.end ?? text.indexOf("{") + 1);
  return text.slice(0, text.indexOf("{") + 1) + kept.join(",") + close;
}
