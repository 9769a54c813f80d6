/**
 * GSM8K: "question", and an "answer" that is a solution in prose ending in "#### 1,234".
 *
 * What stands behind the last "####" is wanted; the solution is not shown.
 */
import { own } from "../../text/json-file.ts";
import { quote } from "../../yaml/wording.ts";
import { parseNumber } from "../numbers.ts";
import type { Adapter } from "./adapter.ts";

const MARK = "####";

export const gsm8k: Adapter = {
  format: "gsm8k",
  scoring: { kind: "numeric", tolerance: 0 },
  scorings: ["numeric"],
  recognises(fields) {
    const answer = own(fields, "answer");
    return typeof own(fields, "question") === "string" && typeof answer === "string" && answer.includes(MARK);
  },
  draft(row, names) {
    const name = names.answer ?? "answer";
    const prompt = row.prompt(names.prompt ?? "question");
    const solution = row.text([name], `a solution that ends in "${MARK} 42"`);
    if (prompt === undefined || solution === undefined) return undefined;
    const at = solution.lastIndexOf(MARK);
    const answer = at < 0 ? "" : solution.slice(at + MARK.length).trim();
    if (parseNumber(answer)) return { turns: [prompt], answers: [answer] };
    const what = at < 0 ? `it has no "${MARK}"` : `${quote(answer)} behind "${MARK}" is no number`;
    return row.fault(
      "not-a-number",
      `Cannot use the answer in ${quote(name)}: ${what}, wanted "${MARK} 42" at its end`,
    );
  },
};
