/**
 * AIME: a problem whose answer is a whole number from 0 to 999.
 *
 * Public dumps differ in the names: problem/answer, Problem/Answer, question/answer; the number may be a text
 * with leading zeros ("073"). The instruction is the one that reasoning models are usually asked with.
 */
import { own } from "../../text/json-file.ts";
import { quote } from "../../yaml/wording.ts";
import type { Adapter } from "./adapter.ts";

const PROBLEM = ["problem", "Problem", "question", "Question"];
const ANSWER = ["answer", "Answer", "expected_answer"];
const ID = ["id", "ID", "Id", "problem_id", "url"];
export const BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}.";

export const aime: Adapter = {
  format: "aime",
  scoring: { kind: "numeric", tolerance: 0 },
  scorings: ["numeric"],
  recognises(fields) {
    const problem = own(fields, "problem") ?? own(fields, "Problem");
    const answer = ANSWER.map((name) => own(fields, name)).find((value) => value !== undefined);
    return typeof problem === "string" && wholeNumber(answer) !== undefined;
  },
  draft(row, names) {
    const problem = names.prompt?.includes("{{")
      ? row.prompt(names.prompt)
      : row.text(names.prompt === undefined ? PROBLEM : [names.prompt], "the problem as a text");
    const wanted = "a whole number from 0 to 999";
    const found = row.require(names.answer === undefined ? ANSWER : [names.answer], wanted);
    if (problem === undefined || !found) return undefined;
    const answer = wholeNumber(found.value);
    if (answer === undefined) return row.wrongType(found.name, found.value, wanted);
    const idName = row.nameOf(ID);
    const id = idName === undefined ? undefined : row.value(idName);
    if (id !== undefined && typeof id !== "string" && typeof id !== "number")
      return row.fault("wrong-type", `Cannot read the field ${quote(idName!)}: it is no text, wanted an id`);
    const turn = names.prompt?.includes("{{") ? problem : `${problem}\n\n${BOXED_INSTRUCTION}`;
    return { turns: [turn], answers: [answer], ...(id === undefined ? {} : { id: String(id) }) };
  },
};

/** "073" -> "73". */
function wholeNumber(value: unknown): string | undefined {
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value.trim() : "";
  return /^\d{1,3}(?:\.0)?$/.test(text) ? String(Number(text)) : undefined;
}
