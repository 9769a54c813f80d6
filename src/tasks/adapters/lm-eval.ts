/**
 * A task of lm-evaluation-harness (0.4) -> settings, if it can be asked and scored here exactly as there.
 *
 * What cannot (Python functions, examples before the question, data sets of the Hub, other metrics) is refused at
 * its line: a score that is nearly the harness's is worse than none. What has no bearing on prompts and scores of
 * a run without examples (tags, splits for training, metadata) is passed over. lm-eval-rows.ts renders the rows,
 * lm-eval-scoring.ts reads metrics and filters.
 */
import type { Value } from "../../yaml/document.ts";
import type { Faults } from "../../yaml/faults.ts";
import { describe, readText } from "../../yaml/fields.ts";
import type { Position } from "../../yaml/position.ts";
import { didYouMean, oneOf, quote } from "../../yaml/wording.ts";
import type { GenerationSettings, Scoring } from "../task.ts";
import { TASK_NAME } from "../vocabulary.ts";
import { readGenerationSettings, readHarnessScoring } from "./lm-eval-scoring.ts";
import { type HarnessFields, type Placed, refuse } from "./placed.ts";

export interface HarnessSettings {
  name: string;
  nameAt: Position;
  /** Of the same data file: a path as written. */
  data: { path: string; at: Position; faults: Faults }[];
  description: string;
  text: string;
  target: string | number | (string | number)[];
  choice?: string | string[];
  scoring: Scoring;
  generation: GenerationSettings;
}

const USED = [
  ...["task", "include", "dataset_path", "dataset_kwargs", "dataset_name", "test_split", "validation_split"],
  ...[
    "output_type",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "target_delimiter",
    "fewshot_delimiter",
  ],
  ...["generation_kwargs", "filter_list", "metric_list", "description", "num_fewshot", "repeats"],
];

/** Of no bearing without examples; or only names and notes. */
const IDLE = [
  ...["tag", "task_alias", "metadata", "training_split", "fewshot_split", "fewshot_config"],
  ...["should_decontaminate", "doc_to_decontamination_query"],
];

const REFUSED: Readonly<Record<string, string>> = {
  process_docs: "it changes the data by a Python function",
  process_results: "it scores by a Python function",
  custom_dataset: "it makes the data by a Python function",
  class: "the task is written in Python",
  doc_to_image: "it asks about images",
  doc_to_audio: "it asks about sound",
  use_prompt: "the prompt comes from another project",
  unsafe_code: "it runs what the model writes",
  gen_prefix: "it begins the answer for the model",
  group: "it is a group of tasks",
  task_list: "it is a list of tasks",
};

const MARKS = [
  "dataset_path",
  "dataset_kwargs",
  "output_type",
  "doc_to_text",
  "doc_to_target",
  "metric_list",
  "include",
];

/** Whether a file is one of the harness: by its keys, which no task of ours has. */
export function isHarness(root: Value): boolean {
  return root.kind === "mapping" && root.entries.some(({ key }) => MARKS.includes(key));
}

/** Settings that are right only if no faults were added. `whole`: the file that was asked for. */
export function readHarness(fields: HarnessFields, whole: { at: Position; faults: Faults }): HarnessSettings {
  for (const [key, placed] of fields) checkKey(key, placed);
  const missing = (key: string, wanted: string) =>
    whole.faults.add(
      whole.at,
      "missing-key",
      `Cannot read the task: ${quote(key)} is missing, wanted ${wanted}`,
    );
  const name = textOf(fields.get("task"), "a name");
  if (name === undefined) {
    if (!fields.has("task")) missing("task", "a name");
  } else if (!TASK_NAME.test(name)) {
    const { field, faults } = fields.get("task")!;
    const message = `Cannot name a task ${quote(name)}: it has other characters, wanted letters, digits, ".", "_" and "-"`;
    faults.add(field.value.at, "bad-name", message);
  }
  const outputType = readOutputType(fields.get("output_type"));
  const text = fields.get("doc_to_text");
  const target = fields.get("doc_to_target");
  if (!text) missing("doc_to_text", "a field or a template of the prompt");
  if (!target) missing("doc_to_target", "a field or a template of the answer");
  const choice = fields.get("doc_to_choice");
  if (outputType === "multiple_choice" && !choice) missing("doc_to_choice", "the choices");
  const choices = choice && readChoices(choice);
  const delimiter = rawTextOf(fields.get("target_delimiter")) ?? " ";
  const separator = rawTextOf(fields.get("fewshot_delimiter")) ?? "\n\n";
  checkExamples(fields);
  return {
    name: name ?? "",
    nameAt: fields.get("task")?.field.value.at ?? whole.at,
    data: readData(fields, missing),
    description: rawTextOf(fields.get("description")) ?? "",
    text: rawTextOf(text) ?? "",
    target: target ? (readTarget(target) ?? "") : "",
    ...(choices === undefined ? {} : { choice: choices }),
    scoring: readHarnessScoring(fields, outputType, delimiter),
    generation: readGenerationSettings(fields.get("generation_kwargs"), outputType, separator),
  };
}

function checkKey(key: string, { field, faults }: Placed): void {
  if (USED.includes(key) || IDLE.includes(key)) return;
  const why = REFUSED[key];
  if (why === undefined) {
    const known = [...USED, ...IDLE];
    const message = `Cannot use the key ${quote(key)}: unknown in a task of lm-evaluation-harness, wanted one that is known`;
    faults.add(field.at, "unknown-key", message, didYouMean(key, known));
  } else if (!isNothing(field.value)) {
    faults.add(field.at, "harness-unmapped", `Cannot use ${quote(key)}: ${why}, wanted a task without it`);
  }
}

/** null and false, which say what is so anyway. */
function isNothing(value: Value): boolean {
  return value.kind === "scalar" && (value.value === null || value.value === false);
}

function textOf(placed: Placed | undefined, wanted: string): string | undefined {
  return placed && readText(placed.field.value, quote(placed.field.key), wanted, placed.faults);
}

/** A text that may be blank, or null for nothing. */
function rawTextOf(placed: Placed | undefined): string | undefined {
  if (!placed) return undefined;
  const { value } = placed.field;
  if (value.kind === "scalar" && typeof value.value === "string") return value.value;
  if (value.kind === "scalar" && value.value === null) return undefined;
  return refuse(placed, describe(value), "a text");
}

function readOutputType(placed: Placed | undefined): "generate_until" | "multiple_choice" {
  const text = textOf(placed, '"generate_until" or "multiple_choice"');
  if (placed === undefined || text === undefined || text === "generate_until") return "generate_until";
  if (text === "multiple_choice") return text;
  refuse(
    placed,
    `it is ${quote(text)}, which is scored otherwise`,
    oneOf(["generate_until", "multiple_choice"]),
  );
  return "generate_until";
}

function readTarget(placed: Placed): HarnessSettings["target"] | undefined {
  const { value } = placed.field;
  if (value.kind === "scalar" && (typeof value.value === "string" || typeof value.value === "number"))
    return value.value;
  if (value.kind === "list") {
    const items = value.items.map((item) => (item.kind === "scalar" ? item.value : null));
    if (items.every((item) => typeof item === "string" || typeof item === "number")) return items;
  }
  return refuse(placed, describe(value), "a field, a template, an index or a list of answers");
}

function readChoices(placed: Placed): string | string[] | undefined {
  const { value } = placed.field;
  if (value.kind === "scalar" && typeof value.value === "string") return value.value;
  if (value.kind === "scalar" && value.value === null) return undefined;
  const items =
    value.kind === "mapping"
      ? value.entries.map((entry) => entry.value)
      : value.kind === "list"
        ? value.items
        : [];
  const texts = items.map((item) =>
    item.kind === "scalar" && typeof item.value === "string" ? item.value : "",
  );
  if (texts.length >= 2 && !texts.includes("")) return texts;
  return refuse(
    placed,
    `${describe(value)} of other things than two or more texts`,
    "a field, a template or a list of texts",
  );
}

function checkExamples(fields: HarnessFields): void {
  const shots = fields.get("num_fewshot");
  if (shots && !isNothing(shots.field.value)) {
    const { value } = shots.field;
    if (value.kind !== "scalar" || value.value !== 0)
      refuse(shots, `${describe(value)}: examples are drawn at random from other data`, "0");
  }
  const repeats = fields.get("repeats");
  if (repeats && (repeats.field.value.kind !== "scalar" || repeats.field.value.value !== 1))
    refuse(repeats, describe(repeats.field.value), "1: each question is asked once");
}

const LOCAL_ONLY =
  "Nothing is downloaded: write the data set to a JSON Lines file, and name it in dataset_kwargs: { data_files: … }";

/** The files of the split that is tested: test, or else validation. */
function readData(
  fields: HarnessFields,
  missing: (key: string, wanted: string) => void,
): HarnessSettings["data"] {
  const path = fields.get("dataset_path");
  const kwargs = fields.get("dataset_kwargs");
  const name = fields.get("dataset_name");
  if (!path) missing("dataset_path", '"json"');
  else if (path.field.value.kind !== "scalar" || path.field.value.value !== "json")
    refuse(
      path,
      `${describe(path.field.value)}, a data set that is not here`,
      '"json" with local data_files',
      LOCAL_ONLY,
    );
  if (name && !isNothing(name.field.value))
    refuse(name, describe(name.field.value), "none: local data have no name");
  const splitOf = (key: string) => {
    const placed = fields.get(key);
    return placed && !isNothing(placed.field.value) ? placed : undefined;
  };
  const split = splitOf("test_split") ?? splitOf("validation_split");
  if (!split) missing("test_split", "the split whose questions are asked");
  const splitName = textOf(split, "the name of a split");
  if (!kwargs) {
    if (path) missing("dataset_kwargs", "data_files: the path of a data file");
    return [];
  }
  const { field, faults } = kwargs;
  const entries = field.value.kind === "mapping" ? field.value.entries : undefined;
  const files = entries?.find(({ key }) => key === "data_files");
  for (const entry of entries ?? []) {
    if (entry.key === "data_files" || entry.key === "trust_remote_code") continue;
    refuse(
      { field: { ...entry, value: { ...entry.value, at: entry.at } }, faults },
      "it changes what is loaded",
      "data_files only",
    );
  }
  if (!files) {
    refuse(kwargs, "it has no data_files", "data_files: the path of a data file", LOCAL_ONLY);
    return [];
  }
  if (splitName === undefined || !split) return [];
  return filesOf({ field: files, faults }, splitName, split);
}

function filesOf(placed: Placed, split: string, splitPlace: Placed): HarnessSettings["data"] {
  let { value } = placed.field;
  if (value.kind === "mapping") {
    const entry = value.entries.find(({ key }) => key === split);
    if (!entry) {
      const splits = oneOf(value.entries.map(({ key }) => key));
      refuse(splitPlace, `data_files has no split ${quote(split)}`, splits || "a split");
      return [];
    }
    value = entry.value;
  } else if (split !== "train") {
    refuse(
      splitPlace,
      `it is ${quote(split)}; files without a split are the split "train"`,
      '"train"',
      `Or name it: data_files: { ${split}: … }`,
    );
  }
  const items = value.kind === "list" ? value.items : [value];
  return items.flatMap((item) => {
    const path = readText(item, '"data_files"', "the path of a data file", placed.faults);
    if (path === undefined) return [];
    if (/^[a-z0-9+]{2,}:\/\//i.test(path) || /[*?[\]]/.test(path)) {
      const what = `${quote(path)} is a pattern or lies elsewhere`;
      refuse(
        { field: { ...placed.field, value: item }, faults: placed.faults },
        what,
        "the path of a file",
        LOCAL_ONLY,
      );
      return [];
    }
    return [{ path, at: item.at, faults: placed.faults }];
  });
}
