/** The format of this project's own tasks: whatever fields the task file names. */
import { letterPrompt, type RowReader } from "../row-reader.ts";
import type { Scoring } from "../task.ts";
import { SCORINGS } from "../vocabulary.ts";
import type { Adapter, Draft, FieldNames } from "./adapter.ts";
import { readAnswers } from "./answers.ts";

export const jsonl: Adapter = {
  format: "jsonl",
  scoring: { kind: "exact", ignoreCase: false },
  scorings: SCORINGS,
  recognises: () => false,
  draft: draftOf,
};

/** Shared with formats that are this one with other names. */
export function draftOf(row: RowReader, names: FieldNames, scoring: Scoring): Draft | undefined {
  if (scoring.kind === "choice") return draftChoice(row, names, scoring.method);
  const prompt = names.prompt ?? "question";
  const turns = turnsOf(row, prompt);
  const answers = readAnswers(row, [names.answer ?? "answer"], scoring);
  return turns && answers && { turns, answers };
}

/** A prompt that is a list of texts is a conversation. */
function turnsOf(row: RowReader, prompt: string): string[] | undefined {
  if (!prompt.includes("{{") && Array.isArray(row.value(prompt)))
    return row.texts([prompt], "a text, or a list of texts that are asked one after the other");
  const text = row.prompt(prompt);
  return text === undefined ? undefined : [text];
}

export function draftChoice(
  row: RowReader,
  names: FieldNames,
  method: "letter" | "likelihood",
): Draft | undefined {
  const prompt = names.prompt ?? "question";
  const choices = row.choices([names.choices ?? "choices"]);
  const text = row.prompt(prompt, choices);
  const answers = choices && row.rightChoices([names.answer ?? "answer"], choices);
  if (!choices || text === undefined || !answers) return undefined;
  // A template says itself where the choices stand.
  const isWhole = prompt.includes("{{") || method === "likelihood";
  return { turns: [isWhole ? text : letterPrompt(text, choices)], answers, choices };
}
