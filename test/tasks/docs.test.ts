/** docs/TASKS.md says what the code does: its rules, its keys, its example. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { REFUSAL_RULES } from "../../src/tasks/refusal-rules.ts";
import { FORMATS, SCORINGS, TASK_KEYS } from "../../src/tasks/vocabulary.ts";
import { loadOne } from "./support.ts";

const DOCS = readFileSync("docs/TASKS.md", "utf8");

test("docs/TASKS.md lists the refusal rules, with their examples", () => {
  const listed = [...DOCS.matchAll(/^\| `((?:en|zh)-[a-z-]+)` \| (.*) \| (.*) \|$/gm)].map((match) =>
    match.slice(1),
  );
  assert.deepEqual(
    listed,
    REFUSAL_RULES.map(({ id, matches, passes }) => [id, matches, passes]),
  );
});

test("docs/TASKS.md names every key, format and scoring", () => {
  for (const word of [...TASK_KEYS, ...FORMATS, ...SCORINGS]) assert.ok(DOCS.includes(`\`${word}\``), word);
});

test("the example of docs/TASKS.md is a task", async (t) => {
  const [yaml, data] = [...DOCS.matchAll(/^```(?:yaml)?\n(.*?)^```$/gms)].map((match) => match[1]!);
  const task = await loadOne(t, { "mini.yaml": yaml!, "sums.jsonl": data! });
  assert.deepEqual(task.questions, [
    { id: "1", turns: ["What is 17 + 25?"], topic: "plain", answers: ["42"] },
    { id: "2", turns: ["What is 999 + 1?"], topic: "mini-sums", answers: ["1000", "1,000"] },
  ]);
});
