/**
 * The checks that every reader of a YAML file shares: which keys a mapping may have, and what kind of value.
 *
 * Each adds a fault and gives undefined where the text is wrong, so that a reader can go on with the rest.
 */
import { type Field, START, type Value } from "./document.ts";
import type { Faults } from "./faults.ts";
import type { Position } from "./position.ts";
import { didYouMean, oneOf, quote } from "./wording.ts";

/** "it is empty", `it is the text "abc"` … */
export function describe(value: Value): string {
  if (value.kind !== "scalar") return `it is a ${value.kind}`;
  if (value.value === null) return value.text === "" ? "it is empty" : "it is null";
  if (typeof value.value === "boolean") return `it is ${value.value}`;
  if (typeof value.value === "number") return `it is the number ${value.text.slice(0, 80)}`;
  return value.value === "" ? "it is an empty text" : `it is the text ${quote(value.value)}`;
}

/** `subject` names what is read, quoted where it is a word of the file. */
export function addWrongType(
  faults: Faults,
  subject: string,
  value: Value,
  wanted: string,
  note?: string,
): void {
  if (value.kind === "broken") return;
  faults.add(value.at, "wrong-type", `Cannot read ${subject}: ${describe(value)}, wanted ${wanted}`, note);
}

/**
 * The entries of a mapping by key, the first one where a key stands twice. `keys`: what is known; absent
 * where any key may stand. `whole` names the mapping: "the rule".
 */
export function readFields(
  value: Value,
  whole: string,
  keys: readonly string[] | undefined,
  faults: Faults,
): Map<string, Field> | undefined {
  if (value.kind !== "mapping") {
    const wanted = keys ? `a mapping with ${oneOf(keys)}` : "a mapping";
    addWrongType(faults, whole, value, wanted);
    return undefined;
  }
  const fields = new Map<string, Field>();
  for (const entry of value.entries) {
    const first = fields.get(entry.key);
    if (first) {
      const message = `Cannot use the key ${quote(entry.key)}: it stands twice in ${whole}, wanted once`;
      const { line, column } = first.at;
      faults.add(entry.at, "duplicate-key", message, `The first is at line ${line}, column ${column}`);
      continue;
    }
    fields.set(entry.key, entry);
    if (keys && !keys.includes(entry.key)) {
      const message = `Cannot use the key ${quote(entry.key)}: unknown in ${whole}, wanted ${oneOf(keys)}`;
      const note =
        entry.key === "<<"
          ? "Merge keys belong to YAML 1.1; write the keys out, or give a whole value an anchor"
          : didYouMean(entry.key, keys);
      faults.add(entry.at, "unknown-key", message, note);
    }
  }
  return fields;
}

/** A key that must be there; reported where its mapping starts. */
export function requireField(
  fields: Map<string, Field>,
  key: string,
  at: Position | undefined,
  whole: string,
  wanted: string,
  faults: Faults,
): Field | undefined {
  const field = fields.get(key);
  if (!field) {
    faults.add(
      at ?? START,
      "missing-key",
      `Cannot read ${whole}: ${quote(key)} is missing, wanted ${wanted}`,
    );
  }
  return field;
}

/** One of a list of words. */
export function readWord<Word extends string>(
  { key, value }: Field,
  words: readonly Word[],
  code: string,
  faults: Faults,
): Word | undefined {
  if (value.kind !== "scalar" || value.value === null) {
    addWrongType(faults, quote(key), value, oneOf(words));
    return undefined;
  }
  const word = words.find((each) => each === value.text);
  if (word === undefined) {
    const message = `Cannot use the ${key} ${quote(value.text)}: unknown, wanted ${oneOf(words)}`;
    faults.add(value.at, code, message, didYouMean(value.text, words));
  }
  return word;
}

/** A text that is not blank. */
export function readText(
  value: Value,
  subject: string,
  wanted: string,
  faults: Faults,
  note?: string,
): string | undefined {
  if (value.kind === "scalar" && typeof value.value === "string" && value.value.trim() !== "")
    return value.value;
  addWrongType(faults, subject, value, wanted, note);
  return undefined;
}
