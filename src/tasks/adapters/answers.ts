/** The wanted answers of a row, as the scoring of its task needs them. */
import { quote } from "../../yaml/wording.ts";
import { parseNumber } from "../numbers.ts";
import type { RowReader } from "../row-reader.ts";
import type { Scoring } from "../task.ts";

/** undefined where a fault was added; empty where nothing is compared. */
export function readAnswers(
  row: RowReader,
  names: readonly string[],
  scoring: Scoring,
): string[] | undefined {
  switch (scoring.kind) {
    case "numeric":
      return numbers(row, names, row.texts(names, "a number, or a list of them"));
    case "exact":
    case "contains":
      return row.texts(names, "the wanted answer: a text, a number or a list of them");
    case "regex":
      if (row.nameOf(names) === undefined) return [];
      return row.texts(names, "the wanted answer: a text, a number or a list of them");
    case "choice":
    case "harness": // its answers come from a template
    case "refusal":
    case "none":
      return [];
    default:
      return scoring satisfies never;
  }
}

/** The texts, if each is one number. */
export function numbers(
  row: RowReader,
  names: readonly string[],
  texts: readonly string[] | undefined,
): string[] | undefined {
  if (!texts) return undefined;
  const none = texts.find((text) => parseNumber(text) === undefined);
  if (none === undefined) return [...texts];
  const field = quote(row.nameOf(names) ?? names[0]!);
  const message = `Cannot use the answer in ${field}: ${quote(none)} is no number, wanted one, since the scoring is "numeric"`;
  return row.fault("not-a-number", message);
}
