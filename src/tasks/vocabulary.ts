/** The words of a task file, for its reader, its schema and its documentation; and how much of it is read. */

export const FORMATS = ["jsonl", "gsm8k", "aime", "mmlu", "mt-bench", "speechmap"] as const;
export type Format = (typeof FORMATS)[number];

export const MODES = ["chat", "raw"] as const;

export const SCORINGS = ["exact", "numeric", "contains", "regex", "choice", "refusal", "none"] as const;
export type ScoringKind = (typeof SCORINGS)[number];

export const TASK_KEYS: readonly string[] = [
  ...[
    "task",
    "description",
    "data",
    "format",
    "prompt",
    "answer",
    "id",
    "topic",
    "choices",
    "system",
    "mode",
  ],
  ...["scoring", "generation"],
];

export const GENERATION_KEYS: readonly string[] = ["max_tokens", "temperature", "top_p", "stop"];

/** Keys of a scoring beside "kind". */
export const SCORING_KEYS: Readonly<Record<ScoringKind, readonly string[]>> = {
  exact: ["ignore_case"],
  numeric: ["tolerance"],
  contains: ["ignore_case"],
  regex: ["pattern", "flags"],
  choice: ["method", "normalise", "delimiter"],
  refusal: ["wanted"],
  none: [],
};

export const NORMALISATIONS = ["none", "characters", "bytes"] as const;

export const TASK_NAME: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

export const MAX_TASK_BYTES = 1_000_000;
/** GSM8K has 0.7 MB, all of MMLU 8 MB. */
export const MAX_DATA_BYTES = 256_000_000;
export const MAX_QUESTIONS = 200_000;
/** Of one message. A context of 160,000 tokens has some 600,000. */
export const MAX_PROMPT_CHARACTERS = 2_000_000;
/** The letters of the alphabet. */
export const MAX_CHOICES = 26;
export const MAX_TOKENS = 1_000_000;
