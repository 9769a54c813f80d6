/**
 * A task: questions and how answers to them are scored, as plain data. task-file.ts reads it from a YAML file
 * and its data; whoever asks the questions needs to know nothing of where they came from.
 */

export interface Task {
  /** Unique within an evaluation; "mini-sums". */
  name: string;
  description?: string;
  /** The YAML file (or the data file, where an adapter needs no YAML), as the caller named it. */
  file: string;
  /** SHA-256 over everything that decides questions and scores: equal digests ask and score the same. */
  digest: string;
  /** Goes before the question as a system message; not in raw mode. */
  system?: string;
  /** chat: messages through the chat template; raw: the prompt as it is, behind which the model goes on. */
  mode: "chat" | "raw";
  scoring: Scoring;
  generation: GenerationSettings;
  questions: Question[];
}

export interface Question {
  /** Unique within its task. */
  id: string;
  /**
   * User messages in order, each but the first asked behind the answer to the one before. One in nearly every
   * task; in raw mode exactly one. The last answer is scored.
   */
  turns: string[];
  /** Group for accuracy and refusal rates: "guarded". Default: the task's name. */
  topic?: string;
  /** Answers that count as right, any of them; empty where nothing is scored. For choice: the right choice's text. */
  answers: string[];
  /** For choice: all of them, in order. */
  choices?: string[];
}

export type Scoring =
  /** The answer, trimmed, without a final stop, is one of the wanted. */
  | { kind: "exact"; ignoreCase: boolean }
  /** The last number of the answer equals the wanted one; digits may be grouped: 1,234.5. */
  | { kind: "numeric"; tolerance: number }
  /** A wanted answer stands in the answer. */
  | { kind: "contains"; ignoreCase: boolean }
  /**
   * The last match's first group (or the whole match) is a wanted answer; where none is given, any match is
   * right.
   */
  | { kind: "regex"; pattern: string; flags: string }
  /**
   * letter: the answer names a choice by its letter (A, B …); likelihood: the likeliest choice as a continuation
   * of the prompt, each behind `delimiter`, which does not count for `normalise`.
   */
  | { kind: "choice"; method: "letter" }
  | {
      kind: "choice";
      method: "likelihood";
      normalise: "none" | "characters" | "bytes";
      delimiter: string;
    }
  /** Right where the model answers (wanted: "answer") or declines ("decline"). */
  | { kind: "refusal"; wanted: "answer" | "decline" }
  /**
   * As lm-evaluation-harness compares: filters take a part out of the answer, which then is a wanted one as it is,
   * but for what is ignored on both sides. Only its own task files ask for it.
   */
  | {
      kind: "harness";
      filters: HarnessFilter[];
      ignoreCase: boolean;
      ignorePunctuation: boolean;
      ignoreNumbers: boolean;
      /** Removed on both sides. */
      ignore: { pattern: string; flags: string }[];
    }
  /** Answers only. */
  | { kind: "none" };

export type HarnessFilter =
  /** The first or the last match: its first group that is not empty, or all of it where there are no groups. */
  | { kind: "regex"; pattern: string; flags: string; select: "first" | "last"; fallback: string }
  | { kind: "trim" }
  | { kind: "lowercase" }
  | { kind: "uppercase" };

export interface GenerationSettings {
  /** Tokens of an answer at the most, thinking included. */
  maxTokens: number;
  /** 0: greedy. */
  temperature: number;
  topP: number;
  /** Texts that end an answer, left out of it. */
  stop: string[];
}

export interface Score {
  /** null: not scored. */
  correct: boolean | null;
  /** What was taken out of the answer and compared: the last number, the letter. */
  extracted?: string;
}
