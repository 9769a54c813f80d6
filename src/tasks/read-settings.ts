/** The YAML of a task file -> settings; everything but the data. Each setting keeps its place for later faults. */
import { type Field, START, type Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType, readFields, readText, readWord, requireField } from "../yaml/fields.ts";
import type { Position } from "../yaml/position.ts";
import { quote } from "../yaml/wording.ts";
import type { FieldNames } from "./adapters/adapter.ts";
import { ADAPTERS } from "./adapters/formats.ts";
import { readScoring } from "./read-scoring.ts";
import { readNumber, readTexts } from "./read-values.ts";
import type { GenerationSettings, Scoring } from "./task.ts";
import {
  FORMATS,
  type Format,
  GENERATION_KEYS,
  MAX_TOKENS,
  MODES,
  TASK_KEYS,
  TASK_NAME,
} from "./vocabulary.ts";

export interface Settings {
  name: string;
  nameAt: Position;
  description?: string;
  /** Paths as written. */
  data: { path: string; at: Position }[];
  format: Format;
  fields: FieldNames;
  /** Name of the field of ids. */
  id?: string;
  system?: string;
  mode: "chat" | "raw";
  scoring: Scoring;
  generation: GenerationSettings;
}

export const GENERATION: Readonly<GenerationSettings> = {
  maxTokens: 2048,
  temperature: 0,
  topP: 1,
  stop: [],
};

/** Settings that are right only if no faults were added. */
export function readSettings(root: Value, faults: Faults): Settings | undefined {
  if (root.kind === "scalar" && root.value === null) {
    faults.add(root.at, "empty-task", 'Cannot read the task: it is empty, wanted "task" and "data"');
    return undefined;
  }
  const fields = readFields(root, "the task", TASK_KEYS, faults);
  if (!fields) return undefined;
  const nameField = requireField(fields, "task", root.at, "the task", "a name", faults);
  const dataField = requireField(fields, "data", root.at, "the task", "the path of a data file", faults);
  const formatField = fields.get("format");
  const format = formatField ? readWord(formatField, FORMATS, "unknown-format", faults) : "jsonl";
  const text = (key: string, wanted: string) => {
    const field = fields.get(key);
    const found = field && readText(field.value, quote(key), wanted, faults);
    return found === undefined ? {} : { [key]: found };
  };
  const scoringField = fields.get("scoring");
  const scoring = (scoringField && readScoring(scoringField, faults)) ?? ADAPTERS[format ?? "jsonl"].scoring;
  if (format) checkScoring(scoring, format, scoringField?.value.at ?? root.at, faults);
  const names: FieldNames = {
    ...text("prompt", "the name of a field, or a template with {{field}}"),
    ...text("answer", "the name of a field"),
    ...text("topic", "the name of a field"),
    ...text("choices", "the name of a field"),
  };
  checkNames(fields, scoring, faults);
  return {
    name: nameField ? (readName(nameField, faults) ?? "") : "",
    nameAt: nameField?.value.at ?? START,
    ...text("description", "a text"),
    data: dataField ? readPaths(dataField, faults) : [],
    format: format ?? "jsonl",
    fields: names,
    ...text("id", "the name of a field"),
    ...text("system", "a text"),
    mode: readMode(fields, scoring, faults),
    scoring,
    generation: readGeneration(fields.get("generation"), faults),
  };
}

function readName({ value }: Field, faults: Faults): string | undefined {
  const wanted = 'letters, digits, ".", "_" and "-", a letter or a digit first';
  const isWord = value.kind === "scalar" && ["string", "number"].includes(typeof value.value);
  if (!isWord) {
    addWrongType(faults, '"task"', value, `a name: ${wanted}`);
    return undefined;
  }
  if (TASK_NAME.test(value.text)) return value.text;
  const what = value.text.length > 100 ? "it is longer than 100 characters" : "it has other characters";
  const message = `Cannot name a task ${quote(value.text)}: ${what}, wanted ${wanted}`;
  faults.add(value.at, "bad-name", message);
  return undefined;
}

function readPaths({ value }: Field, faults: Faults): Settings["data"] {
  const items = value.kind === "list" ? value.items : [value];
  if (items.length === 0) addWrongType(faults, '"data"', value, "the path of at least one data file");
  return items.flatMap((item) => {
    const path = readText(item, '"data"', "the path of a data file", faults);
    return path === undefined ? [] : [{ path, at: item.at }];
  });
}

function checkScoring(scoring: Scoring, format: Format, at: Position, faults: Faults): void {
  const { scorings } = ADAPTERS[format];
  if (scorings.includes(scoring.kind)) return;
  const wanted = scorings.map(quote).join(" or ");
  const message = `Cannot score the format ${quote(format)} by ${quote(scoring.kind)}: its data does not hold what that compares, wanted ${wanted}`;
  faults.add(
    at,
    "scoring-of-format",
    message,
    'With "format: jsonl" any field can be the prompt or the answer',
  );
}

/** Names of fields that nobody would look at. */
function checkNames(fields: Map<string, Field>, scoring: Scoring, faults: Faults): void {
  const unused = (key: string, why: string) => {
    const field = fields.get(key);
    if (field) faults.add(field.at, "unused-key", `Cannot use the key ${quote(key)}: ${why}, wanted none`);
  };
  if (scoring.kind !== "choice") unused("choices", `the scoring ${quote(scoring.kind)} has no choices`);
  if (scoring.kind === "refusal" || scoring.kind === "none")
    unused("answer", `the scoring ${quote(scoring.kind)} compares no answers`);
}

function readMode(fields: Map<string, Field>, scoring: Scoring, faults: Faults): "chat" | "raw" {
  const isLikelihood = scoring.kind === "choice" && scoring.method === "likelihood";
  const field = fields.get("mode");
  const mode = (field && readWord(field, MODES, "unknown-mode", faults)) ?? (isLikelihood ? "raw" : "chat");
  if (isLikelihood && mode === "chat") {
    const message = `Cannot use the mode "chat": choices are scored by likelihood behind the prompt itself, wanted "raw"`;
    faults.add(field!.value.at, "mode-of-scoring", message);
  }
  const system = fields.get("system");
  if (system && mode === "raw") {
    const message = `Cannot use "system": the mode is "raw", which has no messages, wanted it within the prompt`;
    faults.add(system.at, "unused-key", message);
  }
  return mode;
}

function readGeneration(field: Field | undefined, faults: Faults): GenerationSettings {
  const fields = field && readFields(field.value, '"generation"', GENERATION_KEYS, faults);
  const number = (key: string, wanted: string, accepts: (value: number) => boolean) => {
    const found = fields?.get(key);
    return found && readNumber(found, { wanted, accepts }, faults);
  };
  const isCount = (value: number) => Number.isInteger(value) && value >= 1 && value <= MAX_TOKENS;
  const stop = fields?.get("stop");
  return {
    maxTokens:
      number("max_tokens", `a whole number from 1 to ${MAX_TOKENS}`, isCount) ?? GENERATION.maxTokens,
    temperature:
      number("temperature", "a number from 0 to 100", (v) => v >= 0 && v <= 100) ?? GENERATION.temperature,
    topP: number("top_p", "a number above 0, at most 1", (v) => v > 0 && v <= 1) ?? GENERATION.topP,
    stop: (stop && readTexts(stop, "a text that ends an answer, not empty", faults)) ?? [],
  };
}
