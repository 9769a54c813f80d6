/** loadTasks() on files by nobody's hand: whatever comes, a TaskError or tasks, and in a short time. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { TaskError } from "../../src/base/errors.ts";
import { findChoice } from "../../src/tasks/letters.ts";
import { judgeRefusal } from "../../src/tasks/refusal-rules.ts";
import { scoreAnswer } from "../../src/tasks/scoring.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const SEED = 20251128;

async function attempt(path: string): Promise<number> {
  try {
    const tasks = await loadTasks([path]);
    for (const { questions, digest } of tasks) {
      assert.ok(questions.length > 0);
      assert.match(digest, /^[0-9a-f]{64}$/);
      assert.equal(new Set(questions.map(({ id }) => id)).size, questions.length);
      for (const { turns, answers, choices } of questions) {
        assert.ok(turns.length > 0 && [...turns, ...answers].every((text) => typeof text === "string"));
        assert.ok(!choices || answers.every((answer) => choices.includes(answer)));
      }
    }
    return tasks.length;
  } catch (error) {
    assert.ok(error instanceof TaskError, `threw ${String(error)}`);
    for (const { code, message, line, column } of error.problems) {
      assert.notEqual(code, "internal", message);
      assert.ok(line === undefined || (line >= 1 && column! >= 1), message);
      assert.doesNotMatch(message, /\p{Cc}/u);
    }
    return 0;
  }
}

const json = fc.json({ maxDepth: 3 });
const name = fc.constantFrom(
  ...[
    "id",
    "question",
    "answer",
    "choices",
    "turns",
    "question_id",
    "category",
    "subject",
    "topic",
    "problem",
    "Answer",
    "domain",
    "A",
    "__proto__",
  ],
);
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(0, 1, 42, "A", "#### 7", "7", "x", ["a", "b"], ["a", "b", "c", "d"], "1,000", ""),
);
const row = fc.dictionary(name, value, { maxKeys: 6 }).map((fields) => JSON.stringify(fields));
const lines = fc
  .array(fc.oneof({ weight: 8, arbitrary: row }, json, fc.string({ maxLength: 20 })), { maxLength: 5 })
  .map((rows) => rows.join("\n"));

test("loadTasks() throws nothing but TaskError on arbitrary data files", async (t) => {
  const folder = temporaryFolder(t);
  const kind = fc.constantFrom("d.jsonl", "d.json", "d.csv");
  const csv = fc
    .array(fc.constantFrom('"', ",", "\n", "\r\n", "a", "question", "answer", "1"), { maxLength: 20 })
    .map((parts) => parts.join(""));
  const data = fc.oneof(
    lines,
    lines.map((text) => `[${text.replaceAll("\n", ",")}]`),
    csv,
    fc.string({ unit: "binary", maxLength: 60 }),
  );
  const bytes = fc.oneof(data, fc.uint8Array({ maxLength: 30 }));
  await fc.assert(
    fc.asyncProperty(kind, bytes, async (file, content) => {
      writeFileSync(join(folder, file), content);
      await attempt(join(folder, file));
    }),
    { seed: SEED, numRuns: 400 },
  );
});

test("loadTasks() throws nothing but TaskError on arbitrary task files", async (t) => {
  const folder = temporaryFolder(t);
  const key = fc.constantFrom(
    ...[
      "task",
      "data",
      "format",
      "prompt",
      "answer",
      "id",
      "topic",
      "choices",
      "system",
      "mode",
      "scoring",
      "generation",
      "x",
    ],
  );
  const word = fc.constantFrom<unknown>(
    ...[
      "sums",
      "d.jsonl",
      "gsm8k",
      "mmlu",
      "aime",
      "mt-bench",
      "jsonl",
      "question",
      "{{question}}",
      "raw",
      "chat",
      "numeric",
      "choice",
      "none",
      "regex",
    ],
    { kind: "regex", pattern: "(a|b)*c" },
    { kind: "choice", method: "likelihood" },
    { max_tokens: 3 },
    [],
    null,
    7,
    ["d.jsonl"],
  );
  const yaml = fc.oneof(
    fc
      .dictionary(key, fc.oneof(word, fc.jsonValue({ maxDepth: 2 })), { maxKeys: 8 })
      .map((fields) => JSON.stringify({ task: "a", data: "d.jsonl", ...fields })),
    fc
      .array(
        fc.constantFrom(
          "task: a\n",
          "data: d.jsonl\n",
          "scoring:",
          "- ",
          " ",
          "{",
          "}",
          "[",
          "&x ",
          "*x",
          "!function f",
          "!t ",
          "|\n",
          "'",
          "\t",
          "#",
          "\0",
          "x: y\n",
          "include: a.yaml\n",
        ),
        { maxLength: 25 },
      )
      .map((parts) => parts.join("")),
  );
  let loaded = 0;
  await fc.assert(
    fc.asyncProperty(yaml, lines, async (text, data) => {
      writeFileSync(join(folder, "a.yaml"), text);
      writeFileSync(
        join(folder, "d.jsonl"),
        fc.stringify(data).length % 2 ? data : '{"question":"q","answer":1,"choices":["1","2"]}\n',
      );
      loaded += await attempt(join(folder, "a.yaml"));
    }),
    { seed: SEED, numRuns: 400 },
  );
  assert.ok(loaded > 0);
});

test("loadTasks() throws nothing but TaskError on arbitrary tasks of lm-evaluation-harness", async (t) => {
  const folder = temporaryFolder(t);
  const template = fc
    .array(
      fc.constantFrom(
        "{{",
        "}}",
        "q",
        "{% if q %}",
        "{% endif %}",
        "{% for a in l %}",
        "{% endfor %}",
        "a",
        "|trim",
        ".strip()",
        "[0]",
        " ",
        "'",
        "\n",
        "{#",
        "none",
        "l",
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join(""));
  const key = fc.constantFrom(
    ...[
      "doc_to_text",
      "doc_to_target",
      "doc_to_choice",
      "output_type",
      "target_delimiter",
      "generation_kwargs",
      "filter_list",
      "metric_list",
      "include",
      "num_fewshot",
      "description",
      "dataset_kwargs",
      "test_split",
    ],
  );
  const setting = fc.oneof(
    template,
    fc.constantFrom<unknown>(
      "multiple_choice",
      "generate_until",
      "l",
      "q",
      0,
      1,
      null,
      ["x", "y"],
      [{ metric: "acc" }],
      [{ metric: "exact_match" }],
      [{ name: "f", filter: [{ function: "regex", regex_pattern: "(\\d+)" }, { function: "take_first" }] }],
      { until: ["\n"] },
      { data_files: "d.jsonl" },
    ),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const base = {
    task: "a",
    dataset_path: "json",
    dataset_kwargs: { data_files: { test: "d.jsonl" } },
    test_split: "test",
    doc_to_text: "q",
    doc_to_target: "{{q}}",
  };
  writeFileSync(join(folder, "d.jsonl"), '{"q":"x","l":["x","y"],"n":1}\n{"q":"y","l":["y","z"]}\n');
  let loaded = 0;
  await fc.assert(
    fc.asyncProperty(fc.dictionary(key, setting, { maxKeys: 4 }), async (fields) => {
      writeFileSync(join(folder, "a.yaml"), JSON.stringify({ ...base, ...fields }));
      loaded += await attempt(join(folder, "a.yaml"));
    }),
    { seed: SEED, numRuns: 60 },
  );
  assert.ok(loaded > 0);
});

test("answers of any kind are judged and scored", () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 80 }),
    fc.string({ unit: "binary", maxLength: 40 }),
  );
  fc.assert(
    fc.property(text, (content) => {
      assert.equal(typeof judgeRefusal(content).refused, "boolean");
      const index = findChoice(content, ["a", "b"]);
      assert.ok(index === undefined || index === 0 || index === 1);
      const question = { id: "1", turns: ["q"], answers: ["1"], choices: ["1", "2"] };
      for (const kind of ["numeric", "exact"] as const) {
        const scoring = kind === "numeric" ? { kind, tolerance: 0 } : { kind, ignoreCase: true };
        assert.equal(typeof scoreAnswer(scoring, question, content, false).correct, "boolean");
      }
    }),
    { seed: SEED, numRuns: 2000 },
  );
});
