/**
 * MT-Bench: two user turns and a category. Answers are kept and not scored; a "reference" is for human readers
 * and for judges and is not used.
 */
import { own } from "../../text/json-file.ts";
import type { Adapter } from "./adapter.ts";

export const mtBench: Adapter = {
  format: "mt-bench",
  scoring: { kind: "none" },
  scorings: ["none", "refusal"],
  recognises: (fields) => own(fields, "question_id") !== undefined && Array.isArray(own(fields, "turns")),
  draft(row, names) {
    const turns = names.prompt?.includes("{{")
      ? wrap(row.prompt(names.prompt))
      : row.texts([names.prompt ?? "turns"], "a list of texts that are asked one after the other");
    const id = row.optionalText(["question_id"], "an id");
    const topic = row.optionalText([names.topic ?? "category"], "a category");
    if (!turns) return undefined;
    return {
      turns,
      answers: [],
      ...(id === undefined ? {} : { id }),
      ...(topic === undefined ? {} : { topic }),
    };
  },
};

function wrap(text: string | undefined): string[] | undefined {
  return text === undefined ? undefined : [text];
}
