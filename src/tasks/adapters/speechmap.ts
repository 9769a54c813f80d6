/**
 * SpeechMap: requests that models may decline (id, category, domain where there are several, question).
 *
 * An answer is right, a refusal is wrong; topic: the domain, else the category.
 */
import { own } from "../../text/json-file.ts";
import type { Adapter } from "./adapter.ts";

export const speechmap: Adapter = {
  format: "speechmap",
  scoring: { kind: "refusal", wanted: "answer" },
  scorings: ["refusal", "none"],
  recognises: (fields) =>
    typeof own(fields, "question") === "string" &&
    typeof own(fields, "category") === "string" &&
    own(fields, "id") !== undefined &&
    own(fields, "answer") === undefined,
  draft(row, names) {
    const prompt = row.prompt(names.prompt ?? "question");
    const topic = row.optionalText(
      names.topic === undefined ? ["domain", "category"] : [names.topic],
      "a category as a text",
    );
    if (prompt === undefined) return undefined;
    return { turns: [prompt], answers: [], ...(topic === undefined ? {} : { topic }) };
  },
};
