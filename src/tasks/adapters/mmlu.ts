/**
 * MMLU: four choices, the right one by its index from 0 or its letter; topic: the subject.
 *
 * JSON as in the dataset on the Hub (question, subject, choices, answer), or the original CSV, which has no
 * line of names: question, A, B, C, D, letter.
 */
import { own } from "../../text/json-file.ts";
import { letterPrompt } from "../row-reader.ts";
import type { Adapter } from "./adapter.ts";

const COLUMNS = ["question", "A", "B", "C", "D", "answer"];

export const mmlu: Adapter = {
  format: "mmlu",
  scoring: { kind: "choice", method: "letter" },
  scorings: ["choice"],
  form: {
    columns: (first) => (first.length === 6 && /^\s*[A-D]\s*$/.test(first[5]!) ? COLUMNS : undefined),
  },
  recognises(fields) {
    const choices = own(fields, "choices");
    const isListed = Array.isArray(choices) && choices.length >= 2;
    const isTable = COLUMNS.every((name) => typeof own(fields, name) === "string");
    const answer = own(fields, "answer");
    return (
      typeof own(fields, "question") === "string" &&
      (isListed || isTable) &&
      (Number.isInteger(answer) || /^\s*[A-Z]\s*$/.test(String(answer)))
    );
  },
  draft(row, names, scoring) {
    const isTable = names.choices === undefined && !row.has("choices") && row.has("A");
    const letters = isTable ? COLUMNS.slice(1, 5).map((name) => row.text([name], "a choice")) : undefined;
    const choices = letters
      ? letters.every((choice) => choice !== undefined)
        ? letters
        : undefined
      : row.choices([names.choices ?? "choices"]);
    const prompt = names.prompt ?? "question";
    const text = row.prompt(prompt, choices);
    const answers = choices && row.rightChoices([names.answer ?? "answer"], choices);
    const topic = row.optionalText([names.topic ?? "subject"], "the subject as a text");
    if (!choices || text === undefined || !answers) return undefined;
    const isWhole = prompt.includes("{{") || (scoring.kind === "choice" && scoring.method === "likelihood");
    return {
      turns: [isWhole ? text : letterPrompt(text, choices)],
      answers,
      choices,
      ...(topic === undefined ? {} : { topic }),
    };
  },
};
