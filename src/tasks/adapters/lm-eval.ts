/**
 * A task of lm-evaluation-harness (0.4) -> settings, if it can be asked and scored here exactly as there.
 *
 * What cannot (Python functions, examples before the question, data sets of the Hub, other metrics) is refused at
 * its line: a score that is nearly the harness's is worse than none. What has no bearing on prompts and scores of
 * a run without examples (tags, splits for training, metadata) is passed over. lm-eval-data.ts finds the data,
 * lm-eval-scoring.ts reads metrics and filters, lm-eval-rows.ts renders the rows.
 */
import type { Value } from "../../yaml/document.ts";
import type { Faults } from "../../yaml/faults.ts";
import { describe } from "../../yaml/fields.ts";
import type { Position } from "../../yaml/position.ts";
import { didYouMean, oneOf, quote } from "../../yaml/wording.ts";
import type { GenerationSettings, Scoring } from "../task.ts";
import { TASK_NAME } from "../vocabulary.ts";
import { type HarnessFile, readData } from "./lm-eval-data.ts";
import { readGenerationSettings, readHarnessScoring } from "./lm-eval-scoring.ts";
import { type HarnessFields, isNothing, type Placed, refuse, textOf } from "./placed.ts";

export interface HarnessSettings {
  name: string;
  nameAt: Position;
  data: HarnessFile[];
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
