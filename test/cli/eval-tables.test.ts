/** Tables of runs on terminals of any width. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { overviewTable } from "../../src/cli/eval-tables.ts";
import type { EvalRecord } from "../../src/eval/record.ts";
import { summarise } from "../../src/eval/summary.ts";

const record: EvalRecord = {
  ...{
    task: "t",
    id: "1",
    topic: "a",
    turns: ["?"],
    wanted: ["!"],
    reasoning: "",
    content: "!",
    finish: "stop",
  },
  ...{ opensThinking: false, closesThinking: false, tokens: 10, thinkingTokens: 0, answerTokens: 10 },
  ...{ correct: true, refused: false },
};
const run = (name: string, records: EvalRecord[]) => ({
  name,
  summary: summarise({ name, digest: "", asked: 1 }, records, []),
});

test("overviewTable() fits the terminal: fewer columns on a narrow one, accuracy, tokens and refusals on every", () => {
  const runs = [run("mini-v3", [record]), run("a-name-that-is-longer", []), run("mini-r1", [record, record])];
  const widths = [Number.POSITIVE_INFINITY, 100, 80, 60].map((columns) => {
    const lines = overviewTable(runs, columns).split("\n");
    assert.equal(lines.length, 4);
    for (const word of ["accuracy", "tokens", "opens", "refused"]) assert.ok(lines[0]!.includes(word), word);
    assert.match(lines[2]!, /no answers/);
    return Math.max(...lines.map((line) => line.length));
  });
  assert.ok(widths[0]! > 100 && widths[1]! <= 100 && widths[2]! <= 80 && widths[3]! <= 60, String(widths));
  assert.match(overviewTable(runs, 1000), /median.*p90.*thinking.*answer.*closes.*tokens\/s/);
});
