/**
 * Rows of data -> questions, as lm-evaluation-harness makes them: a setting is the name of a field, or a Jinja
 * template; numbers that a template prints are indexes of choices, lists are several right answers.
 */
import type { JsonObject } from "../../text/json-file.ts";
import { own } from "../../text/json-file.ts";
import { count, quote } from "../../yaml/wording.ts";
import type { Row } from "../data-file.ts";
import { describe, type RowReader } from "../row-reader.ts";
import { MAX_CHOICES } from "../vocabulary.ts";
import type { HarnessSettings } from "./lm-eval.ts";
import { parseList } from "./python-literal.ts";

/** Renders a template with a row's fields; adds a fault and gives undefined where that fails. */
export type Render = (template: string, fields: JsonObject, row: RowReader) => Promise<string | undefined>;

export interface HarnessDraft {
  prompt: string;
  answers: string[];
  choices?: string[];
}

/** Every field of any row: a row that lacks one has None there, as a table would. */
export function withAllFields(rows: readonly Row[]): Row[] {
  const names = new Set(rows.flatMap(({ fields }) => Object.keys(fields)));
  const nothing = [...names].map((name) => [name, null]);
  return rows.map((row) => ({ ...row, fields: { ...Object.fromEntries(nothing), ...row.fields } }));
}

export async function draftHarness(
  row: RowReader,
  settings: HarnessSettings,
  render: Render,
): Promise<HarnessDraft | undefined> {
  const resolve = new Resolver(row, render);
  const description = await resolve.text(settings.description, "description");
  const prompt = await resolve.text(settings.text, "doc_to_text");
  const target = await resolve.value(settings.target);
  if (settings.choice === undefined) {
    const answers =
      target === undefined ? undefined : (Array.isArray(target) ? target : [target]).map(asPython);
    if (description === undefined || prompt === undefined || !answers) return undefined;
    if (answers.every((answer) => answer !== undefined)) return { prompt: description + prompt, answers };
    return row.fault(
      "wrong-type",
      `Cannot use the answer that "doc_to_target" gives: ${describe(target)}, wanted a text`,
    );
  }
  const choices = await resolve.choices(settings.choice);
  const answers = choices && target !== undefined ? resolve.chosen(target, choices) : undefined;
  if (prompt !== undefined && /^\d+$/.test(prompt))
    return row.fault(
      "harness-unmapped",
      `Cannot use the prompt ${quote(prompt)}: with choices a number means a prompt for each of them, wanted one prompt`,
    );
  if (description === undefined || prompt === undefined || !choices || !answers) return undefined;
  return {
    prompt: description + prompt,
    answers,
    ...(settings.scoring.kind === "choice" ? { choices } : {}),
  };
}

type Target = string | number | boolean | null | unknown[];

class Resolver {
  readonly #row: RowReader;
  readonly #render: Render;
  readonly #fields: JsonObject;

  constructor(row: RowReader, render: Render) {
    this.#row = row;
    this.#render = render;
    this.#fields = row.row.fields;
  }

  async text(setting: string, key: string): Promise<string | undefined> {
    if (setting === "") return "";
    if (!Object.hasOwn(this.#fields, setting)) return this.#render(setting, this.#fields, this.#row);
    const value = own(this.#fields, setting);
    if (typeof value === "string") return value;
    return this.#row.fault(
      "wrong-type",
      `Cannot use the field ${quote(setting)} as "${key}": ${describe(value)}, wanted a text`,
    );
  }

  async value(setting: HarnessSettings["target"]): Promise<Target | undefined> {
    if (typeof setting !== "string") return setting;
    if (Object.hasOwn(this.#fields, setting)) {
      const value = own(this.#fields, setting);
      if (typeof value !== "object" || value === null || Array.isArray(value)) return value as Target;
      return this.#row.fault(
        "wrong-type",
        `Cannot use the field ${quote(setting)} as "doc_to_target": it is an object, wanted a text, a number or a list`,
      );
    }
    const text = await this.#render(setting, this.#fields, this.#row);
    if (text === undefined) return undefined;
    return /^\[[\s\S]*\]$/.test(text) ? (parseList(text) ?? text) : text;
  }

  async choices(setting: string | string[]): Promise<string[] | undefined> {
    const found = await this.#choiceList(setting);
    if (found === undefined) return undefined;
    const texts = Array.isArray(found)
      ? found.filter((choice) => typeof choice === "string" && choice !== "")
      : [];
    const isRight = Array.isArray(found) && texts.length === found.length;
    if (isRight && texts.length >= 2 && texts.length <= MAX_CHOICES) return texts as string[];
    const what = Array.isArray(found) && isRight ? count(found.length, "choice") : "something else";
    return this.#row.fault(
      "wrong-type",
      `Cannot use what "doc_to_choice" gives: it is ${what}, wanted a list of 2 to ${MAX_CHOICES} texts`,
    );
  }

  async #choiceList(setting: string | string[]): Promise<unknown> {
    if (typeof setting !== "string") return setting;
    if (Object.hasOwn(this.#fields, setting)) return own(this.#fields, setting) ?? "";
    const text = await this.#render(setting, this.#fields, this.#row);
    return text === undefined ? undefined : (parseList(text) ?? text);
  }

  /** The right choices, by index or by text. */
  chosen(target: Target, choices: readonly string[]): string[] | undefined {
    const items = Array.isArray(target) ? target : [target];
    const texts = items.map((item) => {
      if (typeof item === "number") return choices[item];
      if (typeof item !== "string") return undefined;
      return /^\d+$/.test(item) && !choices.includes(item)
        ? choices[Number(item)]
        : choices.find((choice) => choice === item);
    });
    if (texts.length > 0 && texts.every((text) => text !== undefined)) return [...new Set(texts)];
    const what = items.length === 1 ? describe(items[0]) : describe(items);
    return this.#row.fault(
      "unknown-choice",
      `Cannot use the answer that "doc_to_target" gives: ${what}, wanted one of ${count(choices.length, "choice")} or its index from 0`,
    );
  }
}

/** str(value). */
function asPython(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "True" : "False";
  return value === null ? "None" : undefined;
}
