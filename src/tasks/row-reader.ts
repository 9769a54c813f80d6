/**
 * The fields of one row, read as what a question needs; each fault names the field and stands at the row.
 */
import { isObject, type JsonObject, own } from "../text/json-file.ts";
import type { Faults } from "../yaml/faults.ts";
import { didYouMean, oneOf, quote } from "../yaml/wording.ts";
import type { Row } from "./data-file.ts";
import { letterOf } from "./letters.ts";
import { MAX_CHOICES, MAX_PROMPT_CHARACTERS } from "./vocabulary.ts";

/** Asks for a letter; behind every question whose choices are listed and scored by letter. */
export const LETTER_INSTRUCTION = "Answer with the letter of the right choice.";

export class RowReader {
  readonly row: Row;
  readonly #faults: Faults;

  constructor(row: Row, faults: Faults) {
    this.row = row;
    this.#faults = faults;
  }

  fault(code: string, message: string, note?: string): undefined {
    this.#faults.add(this.row.at, code, message, note);
    return undefined;
  }

  has(name: string): boolean {
    return (own(this.row.fields, name) ?? null) !== null;
  }

  /** The first of these names that the row has; null counts as absent. */
  nameOf(names: readonly string[]): string | undefined {
    return names.find((name) => this.has(name));
  }

  value(name: string): unknown {
    return own(this.row.fields, name);
  }

  /** The value of a field that must be there. */
  require(names: readonly string[], wanted: string): { name: string; value: unknown } | undefined {
    const name = this.nameOf(names);
    if (name !== undefined) return { name, value: this.value(name) };
    const message = `Cannot read the row: it has no field ${oneOf(names)}, wanted ${wanted}`;
    return this.fault("missing-field", message, nearestField(names[0]!, this.row.fields));
  }

  wrongType(name: string, value: unknown, wanted: string): undefined {
    return this.fault(
      "wrong-type",
      `Cannot read the field ${quote(name)}: ${describe(value)}, wanted ${wanted}`,
    );
  }

  /** A text that is not blank, or a number as it is written. */
  text(names: readonly string[], wanted: string): string | undefined {
    const found = this.require(names, wanted);
    if (!found) return undefined;
    return asText(found.value) ?? this.wrongType(found.name, found.value, wanted);
  }

  /** As text(), where the field may be missing. */
  optionalText(names: readonly string[], wanted: string): string | undefined {
    return this.nameOf(names) === undefined ? undefined : this.text(names, wanted);
  }

  /** A text, a number, or a list of them that is not empty. */
  texts(names: readonly string[], wanted: string): string[] | undefined {
    const found = this.require(names, wanted);
    if (!found) return undefined;
    const items = Array.isArray(found.value) ? found.value : [found.value];
    const texts = items.map(asText);
    if (texts.length > 0 && texts.every((text) => text !== undefined)) return texts;
    return this.wrongType(found.name, found.value, wanted);
  }

  /** At least two, at most as many as there are letters. */
  choices(names: readonly string[]): string[] | undefined {
    const wanted = `a list of 2 to ${MAX_CHOICES} choices`;
    const found = this.require(names, wanted);
    if (!found) return undefined;
    const texts = Array.isArray(found.value) ? found.value.map(asText) : [];
    const isRight = texts.length >= 2 && texts.length <= MAX_CHOICES;
    if (isRight && texts.every((text) => text !== undefined)) return texts;
    return this.wrongType(found.name, found.value, wanted);
  }

  /** The right choices: each by its text, its letter, or as a number its index from 0. */
  rightChoices(names: readonly string[], choices: readonly string[]): string[] | undefined {
    const wanted = `the text, the letter (A to ${letterOf(choices.length - 1)}) or the index (from 0) of a choice`;
    const found = this.require(names, wanted);
    if (!found) return undefined;
    const items = Array.isArray(found.value) ? found.value : [found.value];
    const texts = items.map((item) => choiceOf(item, choices));
    if (texts.length > 0 && texts.every((text) => text !== undefined)) return [...new Set(texts)];
    return this.wrongType(found.name, found.value, wanted);
  }

  /**
   * A prompt: the field of this name, or a template with {{field}}; {{choices}} are the choices with their
   * letters where there are some.
   */
  prompt(prompt: string, choices?: readonly string[]): string | undefined {
    const text = prompt.includes("{{")
      ? this.#fill(prompt, choices)
      : this.text([prompt], "the question as a text");
    if (text === undefined || text.length <= MAX_PROMPT_CHARACTERS) return text;
    const message = `Cannot use the question: it has ${text.length} characters, wanted at most ${MAX_PROMPT_CHARACTERS}`;
    return this.fault("question-too-long", message);
  }

  #fill(template: string, choices: readonly string[] | undefined): string | undefined {
    let isComplete = true;
    const text = template.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (_, name: string) => {
      if (name === "choices" && choices) return lettered(choices);
      const value = this.value(name);
      if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
        return String(value);
      isComplete = false;
      const wanted = "a field of the row that is a text or a number";
      const what = value === undefined ? "there is none" : describe(value);
      const message = `Cannot fill {{${quote(name).slice(1, -1)}}}: ${what}, wanted ${wanted}`;
      this.fault("unknown-field", message, nearestField(name, this.row.fields));
      return "";
    });
    return isComplete ? text : undefined;
  }
}

/** "A. Paris\nB. London". */
export function lettered(choices: readonly string[]): string {
  return choices.map((choice, index) => `${letterOf(index)}. ${choice}`).join("\n");
}

/** The question, its choices, and the request for a letter. */
export function letterPrompt(question: string, choices: readonly string[]): string {
  return `${question}\n\n${lettered(choices)}\n\n${LETTER_INSTRUCTION}`;
}

function asText(value: unknown): string | undefined {
  if (typeof value === "string") return value.trim() === "" ? undefined : value;
  return typeof value === "number" ? String(value) : undefined;
}

function choiceOf(value: unknown, choices: readonly string[]): string | undefined {
  if (typeof value === "number") return Number.isInteger(value) ? choices[value] : undefined;
  if (typeof value !== "string") return undefined;
  if (choices.includes(value)) return value;
  const letter = /^\s*\(?([A-Za-z])\)?\.?\s*$/.exec(value)?.[1];
  return letter === undefined ? undefined : choices[letter.toUpperCase().charCodeAt(0) - 65];
}

function nearestField(name: string, fields: JsonObject): string | undefined {
  const names = Object.keys(fields).slice(0, 50);
  if (names.length === 0) return undefined;
  return didYouMean(name, names) ?? `The row has ${names.slice(0, 12).map(quote).join(", ")}`;
}

export function describe(value: unknown): string {
  if (value === null) return "it is null";
  if (Array.isArray(value)) return value.length === 0 ? "it is an empty list" : "it is a list";
  if (isObject(value)) return "it is an object";
  if (typeof value === "string") return value.trim() === "" ? "it is blank" : `it is ${quote(value)}`;
  return `it is ${String(value).slice(0, 80)}`;
}
