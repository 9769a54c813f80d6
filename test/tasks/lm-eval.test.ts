/** Tasks of lm-evaluation-harness: the same prompts and verdicts, and a refusal at the line for all else. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { likeliestChoice, scoreAnswer } from "../../src/tasks/scoring.ts";
import type { Scoring } from "../../src/tasks/task.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { folderOf, loadOne, problemsOf } from "./support.ts";

const DATA = "test/tasks/data/lm-eval";

test("loadTasks() reads generate_until with its filter and its metric", async () => {
  const [task] = await loadTasks([join(DATA, "sums-generate.yaml")]);
  const { name, mode, scoring, generation, questions } = task!;
  assert.deepEqual(
    [name, mode, generation],
    ["sums_generate", "raw", { maxTokens: 64, temperature: 0, topP: 1, stop: ["Question:", "\n\n"] }],
  );
  assert.deepEqual(
    questions.map(({ id, turns, answers }) => [id, turns, answers]),
    [
      ["0", ["Solve the sum.\n\nQuestion: What is 1 + 1?\nAnswer:\n"], ["2"]],
      ["1", ["Solve the sum.\n\nQuestion: What is 40 * 25?\nAnswer:\n"], ["1,000"]],
      ["2", ["Solve the sum.\n\nQuestion: What is 3 - 10? (only here)\nAnswer:\n"], ["-7"]],
    ],
  );
  const verdict = (index: number, content: string) => scoreAnswer(scoring, questions[index]!, content, false);
  assert.deepEqual(verdict(0, " It is 2."), { correct: true, extracted: "2." });
  assert.deepEqual(verdict(1, "40 * 25 is $1000."), { correct: true, extracted: "$1000." });
  assert.deepEqual(verdict(1, "1 000"), { correct: false, extracted: "000" });
  assert.deepEqual(verdict(2, "-7"), { correct: true, extracted: "-7" });
  assert.deepEqual(verdict(2, "minus seven"), { correct: false, extracted: "[invalid]" });
});

test("loadTasks() reads multiple_choice as likelihoods of continuations", async () => {
  const [task] = await loadTasks([join(DATA, "sums-choice.yaml")]);
  assert.deepEqual(task!.scoring, {
    kind: "choice",
    method: "likelihood",
    normalise: "characters",
    delimiter: " ",
  });
  assert.deepEqual(task!.questions[0], {
    id: "0",
    turns: ["Question: What is 1 + 1?\nAnswer:"],
    topic: "sums_choice",
    answers: ["it's two"],
    choices: ["one", "it's two", "three"],
  });
  const [letters] = await loadTasks([join(DATA, "sums-letters.yaml")]);
  assert.deepEqual(letters!.scoring, {
    kind: "choice",
    method: "likelihood",
    normalise: "none",
    delimiter: "",
  });
  assert.deepEqual(
    letters!.questions.map(({ answers }) => answers),
    [["B"], ["A"], ["C"]],
  );
  assert.equal(
    letters!.questions[0]!.turns[0],
    "What is 1 + 1? \nA. one\nB. it's two\nC. three\n['one', \"it's two\", 'three'] False\nAnswer:",
  );
});

test("loadTasks() takes fields by their names, lists as several right answers, and compares as it is", async () => {
  const [task] = await loadTasks([join(DATA, "sums-plain.yaml")]);
  const { scoring, generation, questions } = task!;
  assert.deepEqual(generation, { maxTokens: 256, temperature: 0, topP: 1, stop: ["\n\n"] });
  assert.deepEqual(questions[0], {
    id: "0",
    turns: ["What is 1 + 1? "],
    topic: "sums_plain",
    answers: ["2", "two"],
  });
  assert.equal(scoreAnswer(scoring, questions[0]!, "two", false).correct, true);
  assert.equal(scoreAnswer(scoring, questions[0]!, " two", false).correct, false); // as there, nothing is trimmed
});

/** A line of expected.ndjson, which scripts/lm-eval-verdicts.py made with lm_eval itself. */
interface Expected {
  task: string;
  questions: { prompt: string; verdicts: { answer?: string; likelihoods?: number[]; correct: boolean }[] }[];
  continuations?: string[];
  until?: string[];
}

const EXPECTED = readFileSync(join(DATA, "expected.ndjson"), "utf8").trim().split("\n");

test("the verdicts of lm_eval are there for every task", async () => {
  const tasks = await loadTasks([DATA]);
  const names = EXPECTED.map((line) => (JSON.parse(line) as Expected).task);
  assert.deepEqual(names.sort(), tasks.map(({ name }) => name).sort());
});

for (const line of EXPECTED) {
  const expected = JSON.parse(line) as Expected;
  test(`${expected.task} has the prompts and the verdicts of lm_eval itself`, async () => {
    const task = (await loadTasks([DATA])).find(({ name }) => name === expected.task)!;
    const { scoring, questions } = task;
    const prompts = expected.questions.map(({ prompt }) => prompt);
    assert.deepEqual(
      questions.flatMap(({ turns }) => turns),
      prompts,
    );
    if (expected.until) assert.deepEqual(task.generation.stop, expected.until);
    let numRight = 0;
    for (const [index, { verdicts }] of expected.questions.entries()) {
      const question = questions[index]!;
      for (const { answer, likelihoods, correct } of verdicts) {
        const content = answer ?? likeliest(scoring, question.choices!, likelihoods!);
        const what = JSON.stringify({ index, answer, likelihoods });
        assert.equal(scoreAnswer(scoring, question, content, false).correct, correct, what);
        numRight += Number(correct);
      }
    }
    assert.ok(numRight > 2, `${numRight} answers are right`);
    if (!expected.continuations || scoring.kind !== "choice" || scoring.method !== "likelihood") return;
    const { delimiter } = scoring;
    assert.deepEqual(
      questions[0]!.choices!.map((choice) => delimiter + choice),
      expected.continuations,
    );
  });
}

function likeliest(scoring: Scoring, choices: readonly string[], likelihoods: readonly number[]): string {
  assert.ok(scoring.kind === "choice" && scoring.method === "likelihood");
  return choices[likeliestChoice(scoring.normalise, choices, likelihoods)]!;
}

const GOOD = `task: t
dataset_path: json
dataset_kwargs: { data_files: { test: d.jsonl } }
test_split: test
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
`;
const ROW = '{"q":"question","a":"answer","n":1,"list":["x","y"]}\n';

test("loadTasks() finds the split: data_files by split, or the split train", async (t) => {
  const of = async (from: string, to: string) =>
    (await loadOne(t, { "t.yaml": GOOD.replace(from, to), "d.jsonl": ROW })).questions.length;
  assert.equal(await of("{ test: d.jsonl } }\ntest_split: test", "d.jsonl }\ntest_split: train"), 1);
  assert.equal(
    await of(
      "{ test: d.jsonl } }\ntest_split: test",
      "{ a: x.jsonl, b: [d.jsonl, d.jsonl] }, trust_remote_code: true }\nvalidation_split: b\ntest_split: null",
    ),
    2,
  );
});

const REFUSED: [what: string, from: string | undefined, to: string, problem: string][] = [
  ["a data set of the Hub", "dataset_path: json", "dataset_path: gsm8k", "t.yaml:2:15 harness-unmapped"],
  ["data without files", "{ data_files: { test: d.jsonl } }", "{}", "t.yaml:3:17 harness-unmapped"],
  ["data elsewhere", "d.jsonl", "https://example.org/d.jsonl", "t.yaml:3:39 harness-unmapped"],
  ["data by a pattern", "d.jsonl", "'*.jsonl'", "t.yaml:3:39 harness-unmapped"],
  ["data that are not there", "d.jsonl", "e.jsonl", "t.yaml:3:39 missing"],
  ["an unknown split", "test_split: test", "test_split: dev", "t.yaml:4:13 harness-unmapped"],
  ["a split of files without one", "{ test: d.jsonl }", "d.jsonl", "t.yaml:4:13 harness-unmapped"],
  ["a function as the prompt", '"{{q}}"', "!function utils.text", "t.yaml:5:14 harness-unmapped"],
  [
    "a function in a list",
    undefined,
    "metric_list:\n  - metric: !function utils.f\n",
    "t.yaml:8:13 harness-unmapped",
  ],
  ["examples", undefined, "num_fewshot: 5\n", "t.yaml:7:14 harness-unmapped"],
  ["repeats", undefined, "repeats: 4\n", "t.yaml:7:10 harness-unmapped"],
  ["rolling likelihoods", undefined, "output_type: loglikelihood_rolling\n", "t.yaml:7:14 harness-unmapped"],
  ["another metric", undefined, "metric_list: [{ metric: bleu }]\n", "t.yaml:7:25 harness-unmapped"],
  [
    "two metrics",
    undefined,
    "metric_list: [{ metric: exact_match }, { metric: exact_match }]\n",
    "t.yaml:7:14 harness-unmapped",
  ],
  [
    "another aggregation",
    undefined,
    "metric_list: [{ metric: exact_match, aggregation: median }]\n",
    "t.yaml:7:51 harness-unmapped",
  ],
  [
    "an unknown setting of a metric",
    undefined,
    "metric_list: [{ metric: exact_match, ignore_space: true }]\n",
    "t.yaml:7:52 harness-unmapped",
  ],
  [
    "a regular expression without an equal",
    undefined,
    'metric_list: [{ metric: exact_match, regexes_to_ignore: ["a++"] }]\n',
    "t.yaml:7:58 harness-unmapped",
  ],
  [
    "two filters",
    undefined,
    "filter_list: [{ name: a, filter: [{ function: take_first }] }, { name: b, filter: [{ function: take_first }] }]\n",
    "t.yaml:7:14 harness-unmapped",
  ],
  [
    "an unknown filter",
    undefined,
    "filter_list: [{ name: a, filter: [{ function: majority_vote }, { function: take_first }] }]\n",
    "t.yaml:7:47 harness-unmapped",
  ],
  [
    "a filter of letters",
    undefined,
    "filter_list: [{ name: a, filter: [{ function: take_first }, { function: lowercase }] }]\n",
    "t.yaml:7:14 harness-unmapped",
  ],
  [
    "the third match",
    undefined,
    "filter_list: [{ name: a, filter: [{ function: regex, regex_pattern: x, group_select: 2 }, { function: take_first }] }]\n",
    "t.yaml:7:86 harness-unmapped",
  ],
  [
    "sampling without a temperature",
    undefined,
    "generation_kwargs: { do_sample: true }\n",
    "t.yaml:7:20 harness-unmapped",
  ],
  [
    "settings without an equal",
    undefined,
    "generation_kwargs: { top_k: 5 }\n",
    "t.yaml:7:29 harness-unmapped",
  ],
  [
    "two limits of tokens",
    undefined,
    "generation_kwargs: { max_gen_toks: 5, max_tokens: 6 }\n",
    "t.yaml:7:51 harness-unmapped",
  ],
  ["code", undefined, "process_docs: x\n", "t.yaml:7:1 harness-unmapped"],
  ["an unknown key", undefined, "doc_to_txt: x\n", "t.yaml:7:1 unknown-key"],
  ["an include that is not there", undefined, "include: none.yaml\n", "t.yaml:7:10 missing"],
  ["an include of itself", undefined, "include: t.yaml\n", "t.yaml:7:10 harness-unmapped"],
  ["choices that are missing", undefined, "output_type: multiple_choice\n", "t.yaml:1:1 missing-key"],
  ["a template that ends too soon", '"{{q}}"', '"{{q"', "d.jsonl:1:1 template"],
  ["a name that is not there", '"{{q}}"', '"{{question}}"', "d.jsonl:1:1 template"],
  [
    "a condition on a name that is not there",
    '"{{q}}"',
    '"{% if question %}x{% endif %}"',
    "d.jsonl:1:1 template",
  ],
  ["a filter that the library lacks", '"{{q}}"', '"{{q | regex_replace(1, 2)}}"', "d.jsonl:1:1 template"],
  [
    "a template without an end",
    '"{{q}}"',
    '"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"',
    "d.jsonl:1:1 template",
  ],
  ["a prompt that is no text", '"{{q}}"', "list", "d.jsonl:1:1 wrong-type"],
  [
    "a choice that is none",
    undefined,
    "doc_to_choice: list\noutput_type: multiple_choice\n",
    "d.jsonl:1:1 unknown-choice",
  ],
  [
    "a prompt for each choice",
    '"{{q}}"\ndoc_to_target: "{{a}}"',
    '"{{n}}"\ndoc_to_target: 0\ndoc_to_choice: list\noutput_type: multiple_choice',
    "d.jsonl:1:1 harness-unmapped",
  ],
];

for (const [what, from, to, problem] of REFUSED) {
  test(`loadTasks() refuses of lm-evaluation-harness ${what}`, async (t) => {
    const yaml = from === undefined ? GOOD + to : GOOD.replace(from, to);
    assert.notEqual(yaml, GOOD);
    assert.deepEqual(await problemsOf(t, { "t.yaml": yaml, "d.jsonl": ROW }), [problem]);
  });
}

test("what is wrong in an included file is told in that file", async (t) => {
  const files = {
    "t.yaml": GOOD.replace("task: t", "task: t\ninclude: [a.yaml]"),
    "a.yaml": "include: b.yaml\nx: 1\n",
    "b.yaml": "repeats: 2\n",
    "d.jsonl": ROW,
  };
  assert.deepEqual(await problemsOf(t, files), ["a.yaml:2:1 unknown-key", "b.yaml:1:10 harness-unmapped"]);
});

test("a key beats the one of the file it includes, a later include the one before", async (t) => {
  const folder = folderOf(t, {
    "t.yaml": GOOD.replace("task: t", "include: [a.yaml, b.yaml]\ntask: t"),
    "a.yaml": "description: a\ntask: a\nfewshot_delimiter: x\n",
    "b.yaml": "description: b\n",
    "d.jsonl": ROW,
  });
  const [task] = await loadTasks([join(folder, "t.yaml")]);
  assert.deepEqual(
    [task!.name, task!.questions[0]!.turns[0], task!.generation.stop],
    ["t", "bquestion", ["x"]],
  );
});
