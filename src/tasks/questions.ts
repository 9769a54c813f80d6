/** Rows -> questions with ids that are unique and topics; and the digest of a task. */
import { createHash } from "node:crypto";
import type { Faults } from "../yaml/faults.ts";
import type { Position } from "../yaml/position.ts";
import { quote } from "../yaml/wording.ts";
import type { Adapter, Draft, FieldNames } from "./adapters/adapter.ts";
import type { Row } from "./data-file.ts";
import { RowReader } from "./row-reader.ts";
import type { Question, Scoring, Task } from "./task.ts";

export interface QuestionRules {
  adapter: Adapter;
  scoring: Scoring;
  fields: FieldNames;
  /** Name of the field of ids. */
  id?: string | undefined;
  mode: "chat" | "raw";
  /** Goes before the line number where a row has no id and the task has several files. */
  prefix: string;
  /** Topic of rows that have none. */
  topic: string;
}

/** Where the ids of a task stand, over all of its files. */
export type KnownIds = Map<string, { file: string; at: Position }>;

export function readQuestions(
  rows: readonly Row[],
  rules: QuestionRules,
  { file, known, faults }: { file: string; known: KnownIds; faults: Faults },
): Question[] {
  const questions: Question[] = [];
  for (const row of rows) {
    const reader = new RowReader(row, faults);
    const draft = rules.adapter.draft(reader, rules.fields, rules.scoring);
    if (!draft) continue;
    const id = idOf(reader, draft, rules);
    const topic = topicOf(reader, draft, rules);
    if (id === undefined || topic === undefined) continue;
    if (rules.mode === "raw" && draft.turns.length > 1) {
      reader.fault("several-turns", `Cannot ask ${draft.turns.length} turns: the mode is "raw", wanted one`);
    }
    const first = known.get(id);
    if (first) {
      const where = first.file === file ? "" : ` of "${first.file}"`;
      const note = `The first is at line ${first.at.line}${where}`;
      reader.fault("duplicate-id", `Cannot use the id ${quote(id)}: it stands twice, wanted once`, note);
      continue;
    }
    known.set(id, { file, at: row.at });
    const { turns, answers, choices } = draft;
    questions.push({ id, turns, topic, answers, ...(choices ? { choices } : {}) });
  }
  return questions;
}

function idOf(row: RowReader, draft: Draft, rules: QuestionRules): string | undefined {
  if (rules.id !== undefined) return row.text([rules.id], "an id: a text or a number");
  if (draft.id !== undefined) return draft.id;
  return row.has("id") ? row.text(["id"], "an id: a text or a number") : `${rules.prefix}${row.row.number}`;
}

function topicOf(row: RowReader, draft: Draft, { fields, topic }: QuestionRules): string | undefined {
  if (draft.topic !== undefined) return draft.topic;
  if (fields.topic !== undefined) return row.text([fields.topic], "a topic: a text or a number");
  return row.has("topic") ? row.text(["topic"], "a topic: a text or a number") : topic;
}

/** SHA-256 over what decides questions and scores; the name and where it came from do not. */
export function digestOf(task: Omit<Task, "digest">): string {
  const { system = null, mode, scoring, generation } = task;
  const hash = createHash("sha256");
  const { maxTokens, temperature, topP, stop } = generation;
  const settings = Object.entries(scoring).sort(([a], [b]) => (a < b ? -1 : 1));
  hash.update(JSON.stringify(["task", 1, system, mode, settings, maxTokens, temperature, topP, stop]));
  for (const { id, turns, topic, answers, choices } of task.questions)
    hash.update(`\n${JSON.stringify([id, turns, topic, answers, choices ?? null])}`);
  return hash.digest("hex");
}
