/** `scoring` of a task file: a kind with its defaults, or a mapping with "kind" and its keys. */
import type { Field } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType, readFields, readText, readWord, requireField } from "../yaml/fields.ts";
import { oneOf, quote } from "../yaml/wording.ts";
import { readBoolean, readNumber } from "./read-values.ts";
import type { Scoring } from "./task.ts";
import { NORMALISATIONS, SCORING_KEYS, SCORINGS, type ScoringKind } from "./vocabulary.ts";

export function readScoring(field: Field, faults: Faults): Scoring | undefined {
  const { value } = field;
  if (value.kind !== "mapping") {
    const kind = readWord(field, SCORINGS, "unknown-scoring", faults);
    return kind && scoringOf(kind, new Map(), field, faults);
  }
  const kindValue = value.entries.find(({ key }) => key === "kind");
  const kind = kindValue && readWord(kindValue, SCORINGS, "unknown-scoring", faults);
  const whole = kind ? `the scoring ${quote(kind)}` : "the scoring";
  const keys = kind && ["kind", ...SCORING_KEYS[kind]];
  const fields = readFields(value, whole, keys, faults);
  if (!fields) return undefined;
  requireField(fields, "kind", value.at, whole, oneOf(SCORINGS), faults);
  return kind && scoringOf(kind, fields, field, faults);
}

function scoringOf(
  kind: ScoringKind,
  fields: Map<string, Field>,
  whole: Field,
  faults: Faults,
): Scoring | undefined {
  const boolean = (key: string) => {
    const field = fields.get(key);
    return field ? (readBoolean(field, faults) ?? false) : false;
  };
  switch (kind) {
    case "exact":
    case "contains":
      return { kind, ignoreCase: boolean("ignore_case") };
    case "numeric": {
      const field = fields.get("tolerance");
      const range = { wanted: "a number from 0", accepts: (value: number) => value >= 0 && value < Infinity };
      return { kind, tolerance: (field && readNumber(field, range, faults)) ?? 0 };
    }
    case "regex":
      return readRegex(fields, whole, faults);
    case "choice":
      return readChoice(fields, faults);
    case "refusal": {
      const field = fields.get("wanted");
      const words = ["answer", "decline"] as const;
      return { kind, wanted: (field && readWord(field, words, "unknown-word", faults)) ?? "answer" };
    }
    case "none":
      return { kind };
    default:
      return kind satisfies never;
  }
}

function readRegex(fields: Map<string, Field>, whole: Field, faults: Faults): Scoring | undefined {
  const field = requireField(
    fields,
    "pattern",
    whole.value.at,
    'the scoring "regex"',
    "a regular expression",
    faults,
  );
  const pattern = field && readText(field.value, '"pattern"', "a regular expression", faults);
  const flagsField = fields.get("flags");
  const flags = flagsField ? readFlags(flagsField, faults) : "";
  if (!field || pattern === undefined || flags === undefined) return undefined;
  try {
    new RegExp(pattern, flags);
  } catch (error) {
    const what = (error as Error).message.replace(/^Invalid regular expression: /, "");
    const message = `Cannot use the pattern ${quote(pattern)}: ${quote(what).slice(1, -1)}, wanted a regular expression of JavaScript`;
    faults.add(field.value.at, "bad-regex", message);
    return undefined;
  }
  return { kind: "regex", pattern, flags };
}

function readFlags({ key, value }: Field, faults: Faults): string | undefined {
  const text = value.kind === "scalar" && typeof value.value === "string" ? value.value : undefined;
  if (text !== undefined && /^[imsu]*$/.test(text) && new Set(text).size === text.length) return text;
  addWrongType(faults, quote(key), value, 'some of the letters "i", "m", "s", "u", each once');
  return undefined;
}

function readChoice(fields: Map<string, Field>, faults: Faults): Scoring | undefined {
  const methodField = fields.get("method");
  const method = methodField
    ? readWord(methodField, ["letter", "likelihood"], "unknown-method", faults)
    : "letter";
  if (method === undefined) return undefined;
  const normaliseField = fields.get("normalise");
  const delimiterField = fields.get("delimiter");
  if (method === "letter") {
    for (const field of [normaliseField, delimiterField]) {
      if (!field) continue;
      const message = `Cannot use the key ${quote(field.key)}: choices are scored by letter, wanted it with "method: likelihood" only`;
      faults.add(field.at, "unused-key", message);
    }
    return { kind: "choice", method };
  }
  const normalise = normaliseField
    ? (readWord(normaliseField, NORMALISATIONS, "unknown-word", faults) ?? "none")
    : "none";
  return { kind: "choice", method, normalise, delimiter: readDelimiter(delimiterField, faults) };
}

function readDelimiter(field: Field | undefined, faults: Faults): string {
  if (!field) return " ";
  const { value } = field;
  if (value.kind === "scalar" && typeof value.value === "string") return value.value;
  addWrongType(faults, '"delimiter"', value, 'a text, like " "');
  return " ";
}
