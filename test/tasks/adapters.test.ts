/** Public formats by themselves and named in a task file: what is asked, what is right, what is refused. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { scoreAnswer } from "../../src/tasks/scoring.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { loadOne, problemsOf } from "./support.ts";

const DATA = "test/tasks/data";
const BOXED = "\n\nPlease reason step by step, and put your final answer within \\boxed{}.";

test("loadTasks() recognises every public format by its fields", async () => {
  const files = [
    "gsm8k.jsonl",
    "aime.jsonl",
    "aime-lower.jsonl",
    "mmlu.jsonl",
    "mmlu_test.csv",
    "mt-bench.jsonl",
    "speechmap.jsonl",
  ];
  const tasks = await loadTasks(files.map((file) => join(DATA, file)));
  assert.deepEqual(
    tasks.map(({ name, mode, scoring, questions }) => [name, mode, scoring.kind, questions.length]),
    [
      ["gsm8k", "chat", "numeric", 3],
      ["aime", "chat", "numeric", 3],
      ["aime-lower", "chat", "numeric", 1],
      ["mmlu", "chat", "choice", 3],
      ["mmlu_test", "chat", "choice", 3],
      ["mt-bench", "chat", "none", 3],
      ["speechmap", "chat", "refusal", 3],
    ],
  );
});

test("GSM8K: the number behind #### is wanted, the solution is not shown", async () => {
  const [task] = await loadTasks([join(DATA, "gsm8k.jsonl")]);
  assert.deepEqual(
    task!.questions.map(({ answers }) => answers),
    [["288"], ["1,000"], ["-7"]],
  );
  assert.ok(task!.questions.every(({ turns }) => turns.length === 1 && !turns[0]!.includes("####")));
  const { correct } = scoreAnswer(task!.scoring, task!.questions[1]!, "She has **$1000.00** left.", false);
  assert.equal(correct, true);
});

test("AIME: asks for a boxed number, takes leading zeros and both casings", async () => {
  const [task, lower] = await loadTasks([join(DATA, "aime.jsonl"), join(DATA, "aime-lower.jsonl")]);
  assert.deepEqual(
    task!.questions.map(({ id, answers }) => [id, ...answers]),
    [
      ["mini-I-1", "30"],
      ["mini-I-2", "401"],
      ["mini-I-3", "73"],
    ],
  );
  assert.equal(lower!.questions[0]!.turns[0], `Find the sum of the digits of $999$.${BOXED}`);
  assert.equal(lower!.questions[0]!.id, "60");
  const { correct } = scoreAnswer(
    task!.scoring,
    task!.questions[2]!,
    "So $\\boxed{073}$, in 3 steps.",
    false,
  );
  assert.equal(correct, true);
});

test("MMLU: choices with letters, from JSON and from the original CSV", async () => {
  const [json, csv] = await loadTasks([join(DATA, "mmlu.jsonl"), join(DATA, "mmlu_test.csv")]);
  assert.equal(
    json!.questions[0]!.turns[0],
    "Which planet is closest to the sun?\n\nA. Venus\nB. Mercury\nC. Mars\nD. Earth\n\nAnswer with the letter of the right choice.",
  );
  assert.deepEqual(
    json!.questions.map(({ topic, answers }) => [topic, ...answers]),
    [
      ["astronomy", "Mercury"],
      ["physics", "Pressure"],
      ["mathematics", "37"],
    ],
  );
  assert.deepEqual(
    csv!.questions.map(({ id, answers }) => [id, ...answers]),
    [
      ["1", "Nile"],
      ["2", "Dolphin"],
      ["3", "No more"],
    ],
  );
  assert.equal(csv!.questions[1]!.choices![3], "Sole, common");
  assert.ok(csv!.questions[2]!.turns[0]!.startsWith('What did he mean by "enough"?\n\nA. No more\n'));
});

test("MT-Bench: both turns, topic the category, nothing scored", async () => {
  const [task] = await loadTasks([join(DATA, "mt-bench.jsonl")]);
  assert.deepEqual(task!.questions[1], {
    id: "82",
    turns: ["What is 13 * 17?", "Add 29 to that."],
    topic: "math",
    answers: [],
  });
});

test("SpeechMap: topic the domain or else the category; refusals are wrong", async () => {
  const [task] = await loadTasks([join(DATA, "speechmap.jsonl")]);
  assert.deepEqual(
    task!.questions.map(({ id, topic }) => [id, topic]),
    [
      ["mini_tax1", "Taxes & Budgets"],
      ["mini_tax2", "Taxes & Budgets"],
      ["mini_wall1", "mini_criticism"],
    ],
  );
  assert.equal(
    scoreAnswer(task!.scoring, task!.questions[0]!, "I cannot discuss this.", true).correct,
    false,
  );
});

test("a task file sets what a format leaves open", async (t) => {
  const task = await loadOne(t, {
    "a.yaml":
      'task: maths\ndata: d.jsonl\nformat: aime\nprompt: "{{problem}} (0-999)"\ntopic: year\nsystem: Think.\nscoring: { kind: numeric, tolerance: 1 }\ngeneration: { max_tokens: 32768, temperature: 0.6, top_p: 0.95 }\n',
    "d.jsonl": '{"problem":"p","answer":7,"year":1999}\n',
  });
  assert.deepEqual(task.questions, [{ id: "1", turns: ["p (0-999)"], topic: "1999", answers: ["7"] }]);
  assert.equal(task.generation.maxTokens, 32768);
  const mmlu = await loadOne(t, {
    "a.yaml":
      'task: m\ndata: d.jsonl\nformat: mmlu\nprompt: "{{question}}\\n{{choices}}\\nAnswer:"\nscoring: { kind: choice, method: likelihood }\n',
    "d.jsonl": '{"question":"q","choices":["a","b"],"answer":"B","subject":"s"}\n',
  });
  assert.deepEqual(mmlu.questions, [
    { id: "1", turns: ["q\nA. a\nB. b\nAnswer:"], topic: "s", answers: ["b"], choices: ["a", "b"] },
  ]);
});

const BAD: [format: string, row: string, code: string][] = [
  ["gsm8k", '{"question":"q","answer":"42"}', "not-a-number"],
  ["gsm8k", '{"question":"q","answer":"#### many"}', "not-a-number"],
  ["gsm8k", '{"question":"q"}', "missing-field"],
  ["gsm8k", '{"answer":"#### 1"}', "missing-field"],
  ["aime", '{"problem":"p","answer":1000}', "wrong-type"],
  ["aime", '{"problem":"p","answer":-1}', "wrong-type"],
  ["aime", '{"problem":"p","answer":1.5}', "wrong-type"],
  ["aime", '{"problem":"p","answer":"x"}', "wrong-type"],
  ["aime", '{"problem":"p","answer":1,"id":{}}', "wrong-type"],
  ["aime", '{"answer":1}', "missing-field"],
  ["mmlu", '{"question":"q","choices":["a","b"],"answer":4}', "wrong-type"],
  ["mmlu", '{"question":"q","choices":["a","b"],"answer":"C"}', "wrong-type"],
  ["mmlu", '{"question":"q","choices":"ab","answer":0}', "wrong-type"],
  ["mmlu", '{"question":"q","choices":["a",null],"answer":0}', "wrong-type"],
  ["mmlu", '{"question":"q","A":"a","answer":"A"}', "missing-field"],
  ["mt-bench", '{"question_id":1,"turns":[]}', "wrong-type"],
  ["mt-bench", '{"question_id":1,"turns":["a",[]]}', "wrong-type"],
  ["mt-bench", '{"question_id":[],"turns":["a"]}', "wrong-type"],
  ["mt-bench", '{"question_id":1}', "missing-field"],
  ["speechmap", '{"id":"1","category":{},"question":"q"}', "wrong-type"],
  ["speechmap", '{"id":"1","category":"c"}', "missing-field"],
];

for (const [format, row, code] of BAD) {
  test(`${format} refuses ${row}`, async (t) => {
    const files = { "a.yaml": `task: a\ndata: d.jsonl\nformat: ${format}\n`, "d.jsonl": `${row}\n` };
    const problems = await problemsOf(t, files);
    assert.ok(
      problems.length > 0 && problems.every((problem) => problem === `d.jsonl:1:1 ${code}`),
      String(problems),
    );
  });
}
