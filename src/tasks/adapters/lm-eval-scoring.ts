/** Metrics, filters and generation settings of lm-evaluation-harness -> a scoring that gives the same verdicts. */
import type { Field, Value } from "../../yaml/document.ts";
import type { Faults } from "../../yaml/faults.ts";
import { describe } from "../../yaml/fields.ts";
import { oneOf, quote } from "../../yaml/wording.ts";
import type { GenerationSettings, HarnessFilter, Scoring } from "../task.ts";
import { MAX_TOKENS } from "../vocabulary.ts";
import { type HarnessFields, type Placed, refuse } from "./placed.ts";
import { PythonRegexFault, type Translated, translateRegex } from "./python-regex.ts";

type OutputType = "generate_until" | "multiple_choice";

/** How lengths count in each metric of choices. */
const NORMALISE = { acc: "none", acc_norm: "characters", acc_bytes: "bytes" } as const;

export function readHarnessScoring(fields: HarnessFields, type: OutputType, delimiter: string): Scoring {
  const metrics = readMetrics(fields.get("metric_list"), type);
  const filters = readFilters(fields.get("filter_list"), type);
  if (type === "multiple_choice") {
    // acc and acc_norm come from the same likelihoods: the first that is listed is the score.
    const first = metrics[0]?.name as keyof typeof NORMALISE | undefined;
    return {
      kind: "choice",
      method: "likelihood",
      normalise: NORMALISE[first ?? "acc"] ?? "none",
      delimiter,
    };
  }
  const options = metrics[0]?.options;
  return {
    kind: "harness",
    filters,
    ignoreCase: options?.ignoreCase ?? false,
    ignorePunctuation: options?.ignorePunctuation ?? false,
    ignoreNumbers: options?.ignoreNumbers ?? false,
    ignore: options?.ignore ?? [],
  };
}

interface Metric {
  name: string;
  options: { ignoreCase: boolean; ignorePunctuation: boolean; ignoreNumbers: boolean; ignore: Translated[] };
}

/** Empty: the harness's default, exact_match or acc. */
function readMetrics(placed: Placed | undefined, type: OutputType): Metric[] {
  if (!placed) return [];
  const { field, faults } = placed;
  if (field.value.kind !== "list" || field.value.items.length === 0) {
    refuse(placed, describe(field.value), "a list of metrics");
    return [];
  }
  const known = type === "multiple_choice" ? Object.keys(NORMALISE) : ["exact_match"];
  const metrics = field.value.items.flatMap((item) => readMetric(item, { known, field, faults }) ?? []);
  if (type === "generate_until" && field.value.items.length > 1)
    refuse(placed, "it lists several metrics", "one: a question has one score");
  return metrics;
}

interface MetricContext {
  known: readonly string[];
  field: Field;
  faults: Faults;
}

function readMetric(item: Value, { known, field, faults }: MetricContext): Metric | undefined {
  const at = (value: Value, key = field.key): Placed => ({ field: { ...field, key, value }, faults });
  if (item.kind !== "mapping") return refuse(at(item), describe(item), 'a mapping with "metric"');
  const options: Metric["options"] = {
    ignoreCase: false,
    ignorePunctuation: false,
    ignoreNumbers: false,
    ignore: [],
  };
  let name: string | undefined;
  for (const { key, value } of item.entries) {
    const scalar = value.kind === "scalar" ? value.value : undefined;
    const flag = () => {
      if (typeof scalar === "boolean") return scalar;
      refuse(at(value, key), describe(value), "true or false");
      return false;
    };
    if (key === "metric") {
      if (typeof scalar === "string" && known.includes(scalar)) name = scalar;
      else refuse(at(value, key), describe(value), `${oneOf(known)}; others are not scored here`);
    } else if (key === "aggregation") {
      if (scalar !== "mean") refuse(at(value, key), describe(value), '"mean"');
    } else if (key === "higher_is_better") {
      if (scalar !== true) refuse(at(value, key), describe(value), "true");
    } else if (key === "hf_evaluate") {
      if (scalar !== false) refuse(at(value, key), describe(value), "false: no metric is downloaded");
    } else if (key === "ignore_case" && known.includes("exact_match")) options.ignoreCase = flag();
    else if (key === "ignore_punctuation" && known.includes("exact_match"))
      options.ignorePunctuation = flag();
    else if (key === "ignore_numbers" && known.includes("exact_match")) options.ignoreNumbers = flag();
    else if (key === "regexes_to_ignore" && known.includes("exact_match")) {
      if (value.kind !== "list") refuse(at(value, key), describe(value), "a list of regular expressions");
      else options.ignore = value.items.flatMap((each) => readRegex(each, at(each, key)) ?? []);
    } else refuse(at(value, key), "it is unknown in an entry of metric_list", "an entry without it");
  }
  if (!item.entries.some(({ key }) => key === "metric"))
    return refuse(at(item), 'it has no "metric"', oneOf(known));
  return name === undefined ? undefined : { name, options };
}

function readRegex(value: Value, placed: Placed): Translated | undefined {
  if (value.kind !== "scalar" || typeof value.value !== "string")
    return refuse(placed, describe(value), "a regular expression");
  try {
    return translateRegex(value.value);
  } catch (error) {
    if (!(error instanceof PythonRegexFault)) throw error;
    return refuse(
      placed,
      `${quote(value.value)}: ${error.message}`,
      "a regular expression that JavaScript has too",
    );
  }
}

const FILTERS = ["regex", "remove_whitespace", "lowercase", "uppercase", "take_first"];

/** One pipeline that ends with take_first; a question has one score, so it cannot have several. */
function readFilters(placed: Placed | undefined, type: OutputType): HarnessFilter[] {
  if (!placed || (placed.field.value.kind === "scalar" && placed.field.value.value === null)) return [];
  const { field, faults } = placed;
  const { value } = field;
  if (value.kind !== "list" || value.items.length === 0)
    return refuse(placed, describe(value), "a list of filters") ?? [];
  if (type === "multiple_choice") return refuse(placed, "choices are not filtered", "none") ?? [];
  if (value.items.length > 1) {
    const note = 'A file with "include: …" and a "filter_list" of its own can keep one of them';
    return (
      refuse(placed, `it has ${value.items.length} filters, each with a score of its own`, "one", note) ?? []
    );
  }
  const steps =
    value.items[0]!.kind === "mapping"
      ? value.items[0]!.entries.find(({ key }) => key === "filter")?.value
      : undefined;
  if (steps?.kind !== "list") return refuse(placed, 'its entry has no list "filter"', "one") ?? [];
  const filters = steps.items.map((step) => readFilter(step, { field: { ...field, value: step }, faults }));
  if (filters.at(-1) !== "take_first" || filters.indexOf("take_first") !== filters.length - 1)
    refuse(placed, "its filter does not end with take_first", "take_first as the last function, once");
  return filters.filter((filter) => filter !== undefined && filter !== "take_first");
}

function readFilter(step: Value, placed: Placed): HarnessFilter | "take_first" | undefined {
  if (step.kind !== "mapping") return refuse(placed, describe(step), 'a mapping with "function"');
  const fields = new Map(step.entries.map((entry) => [entry.key, entry]));
  const at = (value: Value, key: string): Placed => ({
    field: { ...placed.field, key, value },
    faults: placed.faults,
  });
  const name = fields.get("function")?.value;
  const kind = name?.kind === "scalar" ? name.text : "";
  if (!FILTERS.includes(kind))
    return refuse(
      name ? at(name, "function") : placed,
      name ? describe(name) : 'it has no "function"',
      oneOf(FILTERS),
    );
  const keys = kind === "regex" ? ["function", "regex_pattern", "group_select", "fallback"] : ["function"];
  for (const { key, at: keyAt, value } of step.entries)
    if (!keys.includes(key))
      refuse(at({ ...value, at: keyAt }, key), `the filter ${quote(kind)} has no such setting`, oneOf(keys));
  switch (kind) {
    case "remove_whitespace":
      return { kind: "trim" };
    case "lowercase":
    case "uppercase":
      return { kind };
    case "take_first":
      return kind;
    default: {
      const pattern = fields.get("regex_pattern")?.value;
      const select = fields.get("group_select")?.value;
      const fallback = fields.get("fallback")?.value;
      const regex = pattern
        ? readRegex(pattern, at(pattern, "regex_pattern"))
        : translateRegex("#### (\\-?[0-9\\.\\,]+)");
      const index = select === undefined ? 0 : select.kind === "scalar" ? select.value : undefined;
      if (index !== 0 && index !== -1)
        return refuse(at(select!, "group_select"), describe(select!), "0 or -1: the first or the last match");
      const isText =
        fallback === undefined || (fallback.kind === "scalar" && typeof fallback.value === "string");
      if (!isText) return refuse(at(fallback!, "fallback"), describe(fallback!), "a text");
      if (!regex) return undefined;
      const otherwise = fallback?.kind === "scalar" ? String(fallback.value) : "[invalid]";
      return { kind: "regex", ...regex, select: index === 0 ? "first" : "last", fallback: otherwise };
    }
  }
}

const TOKEN_KEYS = ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"];

/** The harness's defaults: 256 tokens, greedy, ended by what separates examples. */
export function readGenerationSettings(
  placed: Placed | undefined,
  type: OutputType,
  separator: string,
): GenerationSettings {
  const settings: GenerationSettings = {
    maxTokens: 256,
    temperature: 0,
    topP: 1,
    stop: separator === "" ? [] : [separator],
  };
  if (!placed || (placed.field.value.kind === "scalar" && placed.field.value.value === null)) return settings;
  const { field, faults } = placed;
  if (field.value.kind !== "mapping") return refuse(placed, describe(field.value), "a mapping") ?? settings;
  if (type === "multiple_choice") return refuse(placed, "choices are not generated", "none") ?? settings;
  let samples: boolean | undefined;
  let limit: string | undefined;
  for (const { key, at, value } of field.value.entries) {
    const here: Placed = { field: { key, at, value }, faults };
    const scalar = value.kind === "scalar" ? value.value : undefined;
    if (key === "until") {
      const items = value.kind === "list" ? value.items : [value];
      const texts = items.map((item) => (item.kind === "scalar" ? item.value : null));
      if (texts.every((text) => typeof text === "string"))
        settings.stop = texts.filter((text) => text !== "");
      else refuse(here, "it holds other things than texts", "texts");
    } else if (TOKEN_KEYS.includes(key)) {
      if (limit !== undefined) refuse(here, `${quote(limit)} says how many tokens`, "one of the two");
      limit = key;
      if (typeof scalar === "number" && Number.isInteger(scalar) && scalar >= 1 && scalar <= MAX_TOKENS)
        settings.maxTokens = scalar;
      else refuse(here, describe(value), `a whole number from 1 to ${MAX_TOKENS}`);
    } else if (key === "do_sample") {
      if (typeof scalar === "boolean") samples = scalar;
      else refuse(here, describe(value), "true or false");
    } else if (key === "temperature") {
      if (typeof scalar === "number" && scalar >= 0 && scalar <= 100) settings.temperature = scalar;
      else refuse(here, describe(value), "a number from 0 to 100");
    } else if (key === "top_p") {
      if (typeof scalar === "number" && scalar > 0 && scalar <= 1) settings.topP = scalar;
      else refuse(here, describe(value), "a number above 0, at most 1");
    } else refuse(here, "it has no equal here", "none");
  }
  if (samples === false) settings.temperature = 0;
  if (samples === true && settings.temperature === 0)
    refuse(
      placed,
      "do_sample is true without a temperature, which each backend takes otherwise",
      "a temperature",
    );
  return settings;
}
