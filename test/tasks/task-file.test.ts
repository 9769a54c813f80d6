/** loadTasks() on files of this project's own format: what it reads, and everything that is wrong at once. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TaskError } from "../../src/base/errors.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { folderOf, loadOne, messagesOf, problemsOf } from "./support.ts";

const SUMS =
  '{"question":"1+1?","answer":2}\n\n{"question":"1+2?","answer":["3","three"],"id":"b","topic":"odd"}\n';

test("loadTasks() reads a task with its defaults", async (t) => {
  const { digest, file, ...task } = await loadOne(t, {
    "a.yaml": "task: sums\ndata: d.jsonl\n",
    "d.jsonl": SUMS,
  });
  assert.match(digest, /^[0-9a-f]{64}$/);
  assert.match(file, /a\.yaml$/);
  assert.deepEqual(task, {
    name: "sums",
    mode: "chat",
    scoring: { kind: "exact", ignoreCase: false },
    generation: { maxTokens: 2048, temperature: 0, topP: 1, stop: [] },
    questions: [
      { id: "1", turns: ["1+1?"], topic: "sums", answers: ["2"] },
      { id: "b", turns: ["1+2?"], topic: "odd", answers: ["3", "three"] },
    ],
  });
});

test("loadTasks() reads every key", async (t) => {
  const task = await loadOne(t, {
    "a.yaml": `task: 3.1
description: Sums
data: [d.jsonl, sub/e.json, f.csv]
prompt: "{{a}} + {{ b }} = ?"
answer: sum
id: nr
topic: kind
system: You count.
scoring: { kind: numeric, tolerance: 0.5 }
generation: { max_tokens: 400, temperature: 0.6, top_p: 0.95, stop: ["\\n\\n", "Q:"] }
`,
    "d.jsonl": '{"a":1,"b":2,"sum":3,"nr":1,"kind":"small"}\r\n',
    "sub/e.json": ' [ {"a":10,"b":2,"sum":"12","nr":2,"kind":7} ]',
    "f.csv": 'a,b,sum,nr,kind\n100,2,102,3,"la,rge"\n',
  });
  assert.equal(task.name, "3.1");
  assert.equal(task.description, "Sums");
  assert.equal(task.system, "You count.");
  assert.deepEqual(task.scoring, { kind: "numeric", tolerance: 0.5 });
  assert.deepEqual(task.generation, { maxTokens: 400, temperature: 0.6, topP: 0.95, stop: ["\n\n", "Q:"] });
  assert.deepEqual(task.questions, [
    { id: "1", turns: ["1 + 2 = ?"], topic: "small", answers: ["3"] },
    { id: "2", turns: ["10 + 2 = ?"], topic: "7", answers: ["12"] },
    { id: "3", turns: ["100 + 2 = ?"], topic: "la,rge", answers: ["102"] },
  ]);
});

test("loadTasks() reads choices: by letter with the choices in the prompt, by likelihood without", async (t) => {
  const data =
    '{"question":"Capital?","choices":["Rome","Paris"],"answer":"Paris"}\n{"question":"And?","choices":["a","b"],"answer":0,"id":"x"}\n{"question":"Last?","choices":["1","2","3"],"answer":["C","1"]}\n';
  const letters = await loadOne(t, {
    "a.yaml": "task: c\ndata: d.jsonl\nscoring: choice\n",
    "d.jsonl": data,
  });
  assert.deepEqual(letters.questions[0], {
    id: "1",
    turns: ["Capital?\n\nA. Rome\nB. Paris\n\nAnswer with the letter of the right choice."],
    topic: "c",
    answers: ["Paris"],
    choices: ["Rome", "Paris"],
  });
  assert.deepEqual(
    letters.questions.map(({ answers }) => answers),
    [["Paris"], ["a"], ["3", "1"]],
  );
  const likely = await loadOne(t, {
    "a.yaml":
      'task: c\ndata: d.jsonl\nprompt: "{{question}}\\n{{choices}}\\n"\nscoring: { kind: choice, method: likelihood, normalise: bytes }\n',
    "d.jsonl": data,
  });
  assert.equal(likely.mode, "raw");
  assert.deepEqual(likely.scoring, {
    kind: "choice",
    method: "likelihood",
    normalise: "bytes",
    delimiter: " ",
  });
  assert.deepEqual(likely.questions[0]!.turns, ["Capital?\nA. Rome\nB. Paris\n"]);
});

test("loadTasks() reads conversations, and answers that are not compared", async (t) => {
  const data = '{"question":["one","two"]}\n';
  const task = await loadOne(t, { "a.yaml": "task: c\ndata: d.jsonl\nscoring: none\n", "d.jsonl": data });
  assert.deepEqual(task.questions[0], { id: "1", turns: ["one", "two"], topic: "c", answers: [] });
  const regex = {
    "a.yaml": 'task: c\ndata: d.jsonl\nscoring: { kind: regex, pattern: "^y", flags: i }\n',
    "d.jsonl": data,
  };
  assert.deepEqual((await loadOne(t, regex)).questions[0]!.answers, []);
});

test("loadTasks() takes the files of a folder by name, without those that others include", async (t) => {
  const task = (name: string) => `task: ${name}\ndata: d.jsonl\n`;
  const files = {
    "b.yaml": task("b"),
    "a.yaml": task("a"),
    "_c.yaml": "x",
    "d.jsonl": SUMS,
    "notes.txt": "",
  };
  const folder = folderOf(t, files);
  mkdirSync(join(folder, "e.yaml.d"));
  const tasks = await loadTasks([folder]);
  assert.deepEqual(
    tasks.map(({ name }) => name),
    ["a", "b"],
  );
});

test("loadTasks() gives equal digests where questions and scores are equal", async (t) => {
  const digest = async (yaml: string, data = SUMS) =>
    (await loadOne(t, { "a.yaml": yaml, "d.jsonl": data })).digest;
  const first = await digest(
    "task: a\ndata: d.jsonl\ntopic: id\nid: question\n",
    '{"question":"q","answer":"1","id":"t"}',
  );
  assert.equal(
    first,
    await digest(
      "task: b\ndescription: other\ndata: ./d.jsonl\ntopic: id\nid: question\nscoring: exact\n",
      '{"question":"q","answer":"1","id":"t","more":1}',
    ),
  );
  const base = "task: a\ndata: d.jsonl\n";
  const digests = [
    await digest(base),
    await digest(`${base}scoring: { kind: exact, ignore_case: true }\n`),
    await digest(`${base}system: x\n`),
    await digest(`${base}mode: raw\n`),
    await digest(`${base}generation: { max_tokens: 1 }\n`),
    await digest(`${base}generation: { stop: [x] }\n`),
    await digest(base, SUMS.replace("1+1", "1+0")),
    await digest(base, SUMS.replace('"odd"', '"even"')),
    await digest(base, SUMS.replace('"b"', '"c"')),
    await digest(base, SUMS.replace('"three"', '"drei"')),
  ];
  assert.equal(new Set(digests).size, digests.length);
});

test("loadTasks() tells every problem of every file, at its place", async (t) => {
  const files = {
    "a.yaml":
      "tsk: a\ndata: [none.jsonl, d.jsonl]\nformat: gsm9k\nmode: talk\nscoring: { kind: numeric, tolerance: -1, x: 1 }\ngeneration: { max_tokens: 0, top_p: 2, stop: [1], seed: 3 }\nprompt: 3\n",
    "b.yaml": "task: a b\ndata: []\nscoring: fuzzy\nanswer: ''\n",
    "c.yaml": "task: [x\n",
    "e.yaml": "",
    "f.yaml": "task: f\ndata: d.jsonl\n",
    "g.yaml": "task: f\ndata: d.jsonl\n",
    "h.yaml": "task: h\ndata: bad.jsonl\n",
    "d.jsonl": SUMS,
    "bad.jsonl":
      '{"question":"q"}\n{"question":"q","answer":"1",}\n[1]\n{"question":["q",{}],"answer":"1"}\n{"question":"q","answer":{}}\n{"question":" ","answer":"x"}\n{"answer":"x"}\n',
  };
  assert.deepEqual(await problemsOf(t, files, ["."]), [
    "a.yaml:1:1 unknown-key",
    "a.yaml:1:1 missing-key",
    "a.yaml:2:8 missing",
    "a.yaml:3:9 unknown-format",
    "a.yaml:4:7 unknown-mode",
    "a.yaml:5:38 wrong-type",
    "a.yaml:5:42 unknown-key",
    "a.yaml:6:27 wrong-type",
    "a.yaml:6:37 wrong-type",
    "a.yaml:6:47 wrong-type",
    "a.yaml:6:51 unknown-key",
    "a.yaml:7:9 wrong-type",
    "b.yaml:1:7 bad-name",
    "b.yaml:2:7 wrong-type",
    "b.yaml:3:10 unknown-scoring",
    "b.yaml:4:9 wrong-type",
    "c.yaml:2:1 yaml-syntax",
    "e.yaml:1:1 empty-task",
    "bad.jsonl:1:1 missing-field",
    "bad.jsonl:2:30 json-syntax",
    "bad.jsonl:3:1 wrong-type",
    "bad.jsonl:4:1 wrong-type",
    "bad.jsonl:5:1 wrong-type",
    "bad.jsonl:6:1 wrong-type",
    "bad.jsonl:7:1 missing-field",
    "g.yaml:1:7 duplicate-task",
  ]);
});

const BASE = "task: a\ndata: d.jsonl\n";
const BAD: [what: string, yaml: string, data: string | Uint8Array, problems: string[]][] = [
  ["no rows", BASE, "\n \n", ["d.jsonl:1:1 no-questions"]],
  ["an empty list", "task: a\ndata: d.json\n", "[]", ["d.json:1:1 no-questions"]],
  [
    "a list with a fault",
    "task: a\ndata: d.json\n",
    '[{"question":"q","answer":1},\n  {"question" 1}]',
    ["d.json:2:15 json-syntax"],
  ],
  ["text behind a list", "task: a\ndata: d.json\n", "[]x", ["d.json:1:3 json-syntax"]],
  ["text that is no UTF-8", BASE, Uint8Array.of(0x7b, 0xff, 0x7d), ["d.jsonl:1:1 not-utf-8"]],
  [
    "an id twice",
    BASE,
    '{"id":"x","question":"q","answer":1}\n{"id":"x","question":"r","answer":1}\n',
    ["d.jsonl:2:1 duplicate-id"],
  ],
  [
    "an id that is a line",
    BASE,
    '{"question":"q","answer":1}\n{"id":1,"question":"r","answer":1}\n',
    ["d.jsonl:2:1 duplicate-id"],
  ],
  ["an id that is no text", BASE, '{"id":[1],"question":"q","answer":1}\n', ["d.jsonl:1:1 wrong-type"]],
  ["a blank id", BASE, '{"id":"","question":"q","answer":1}\n', ["d.jsonl:1:1 wrong-type"]],
  ["a topic that is no text", BASE, '{"topic":true,"question":"q","answer":1}\n', ["d.jsonl:1:1 wrong-type"]],
  [
    "a template of unknown fields",
    `${BASE}prompt: "{{qestion}} {{x}}"\n`,
    '{"question":"q","answer":1}\n',
    ["d.jsonl:1:1 unknown-field", "d.jsonl:1:1 unknown-field"],
  ],
  [
    "a field of the prototype",
    `${BASE}prompt: "{{constructor}}"\n`,
    '{"answer":1}\n',
    ["d.jsonl:1:1 unknown-field"],
  ],
  [
    "an answer that is no number",
    `${BASE}scoring: numeric\n`,
    '{"question":"q","answer":"about 3"}\n',
    ["d.jsonl:1:1 not-a-number"],
  ],
  ["an empty list of answers", BASE, '{"question":"q","answer":[]}\n', ["d.jsonl:1:1 wrong-type"]],
  [
    "one choice",
    `${BASE}scoring: choice\n`,
    '{"question":"q","answer":0,"choices":["a"]}\n',
    ["d.jsonl:1:1 wrong-type"],
  ],
  [
    "27 choices",
    `${BASE}scoring: choice\n`,
    `{"question":"q","answer":0,"choices":${JSON.stringify(Array.from({ length: 27 }, String))}}\n`,
    ["d.jsonl:1:1 wrong-type"],
  ],
  [
    "an index of no choice",
    `${BASE}scoring: choice\n`,
    '{"question":"q","answer":2,"choices":["a","b"]}\n',
    ["d.jsonl:1:1 wrong-type"],
  ],
  [
    "an answer that is no choice",
    `${BASE}scoring: choice\n`,
    '{"question":"q","answer":"see","choices":["a","b"]}\n',
    ["d.jsonl:1:1 wrong-type"],
  ],
  [
    "several turns in raw mode",
    `${BASE}mode: raw\nscoring: none\n`,
    '{"question":["q","r"]}\n',
    ["d.jsonl:1:1 several-turns"],
  ],
  ["a system message in raw mode", `${BASE}mode: raw\nsystem: x\n`, SUMS, ["a.yaml:4:1 unused-key"]],
  [
    "chat by likelihood",
    `${BASE}mode: chat\nscoring: { kind: choice, method: likelihood }\n`,
    '{"question":"q","answer":0,"choices":["a","b"]}\n',
    ["a.yaml:3:7 mode-of-scoring"],
  ],
  [
    "an answer that nobody compares",
    `${BASE}scoring: refusal\nanswer: x\n`,
    '{"question":"q"}\n',
    ["a.yaml:4:1 unused-key"],
  ],
  ["choices that nobody chooses", `${BASE}choices: x\n`, SUMS, ["a.yaml:3:1 unused-key"]],
  [
    "a length that does not count",
    `${BASE}scoring: { kind: choice, normalise: bytes }\n`,
    '{"question":"q","answer":0,"choices":["a","b"]}\n',
    ["a.yaml:3:26 unused-key"],
  ],
  [
    "a scoring that the format has no data for",
    `${BASE}format: mmlu\nscoring: numeric\n`,
    '{"question":"q","answer":0,"choices":["a","b"]}\n',
    ["a.yaml:4:10 scoring-of-format"],
  ],
  [
    "a bad regular expression",
    `${BASE}scoring: { kind: regex, pattern: "(" }\n`,
    SUMS,
    ["a.yaml:3:34 bad-regex"],
  ],
  ["a regular expression that is missing", `${BASE}scoring: regex\n`, SUMS, ["a.yaml:3:10 missing-key"]],
  ["bad flags", `${BASE}scoring: { kind: regex, pattern: x, flags: gg }\n`, SUMS, ["a.yaml:3:44 wrong-type"]],
  ["a scoring without a kind", `${BASE}scoring: { ignore_case: true }\n`, SUMS, ["a.yaml:3:10 missing-key"]],
  ["an unknown tag", "task: !name a\ndata: d.jsonl\n", SUMS, ["a.yaml:1:7 yaml-syntax"]],
  ["a key twice", `${BASE}task: b\n`, SUMS, ["a.yaml:3:1 duplicate-key"]],
];

for (const [what, yaml, data, problems] of BAD) {
  test(`loadTasks() refuses ${what}`, async (t) => {
    const name = /data: (\S+)/.exec(yaml)![1]!;
    assert.deepEqual(await problemsOf(t, { "a.yaml": yaml, [name]: data }), problems);
  });
}

test("loadTasks() refuses tables with faults at their place", async (t) => {
  const yaml = "task: a\ndata: d.csv\n";
  const of = (data: string) => problemsOf(t, { "a.yaml": yaml, "d.csv": data });
  assert.deepEqual(await of('question,answer\n"a\nb",1\n"c,2\n'), ["d.csv:4:1 csv-syntax"]);
  assert.deepEqual(await of('question,answer\na,"1"x\n'), ["d.csv:2:6 csv-syntax"]);
  assert.deepEqual(await of("question,answer\na\nb,1,2\n"), [
    "d.csv:2:1 wrong-cells",
    "d.csv:3:1 wrong-cells",
  ]);
  assert.deepEqual(await of("question,question\na,1\n"), [
    "d.csv:1:1 duplicate-column",
    "d.csv:2:1 missing-field",
  ]);
  assert.deepEqual(await of("question,answer\n"), ["d.csv:1:1 no-questions"]);
});

test("loadTasks() refuses paths that are no tasks", async (t) => {
  const files = { "a.txt": "", "sub/x.txt": "", "x.jsonl": '{"a":1}\n', "z.jsonl": "" };
  assert.deepEqual(await problemsOf(t, files, ["a.txt"]), ["unknown-file"]);
  assert.deepEqual(await problemsOf(t, files, ["sub"]), ["no-tasks"]);
  assert.deepEqual(await problemsOf(t, files, ["none.yaml"]), ["none.yaml:1:1 missing"]);
  assert.deepEqual(await problemsOf(t, files, ["none.jsonl"]), ["none.jsonl:1:1 missing"]);
  assert.deepEqual(await problemsOf(t, files, ["x.jsonl"]), ["x.jsonl:1:1 unknown-format"]);
  assert.deepEqual(await problemsOf(t, files, ["z.jsonl"]), ["z.jsonl:1:1 no-questions"]);
  assert.deepEqual(await problemsOf(t, files, []), ["no-tasks"]);
  await assert.rejects(loadTasks(["a\0.yaml"]), TaskError);
  await assert.rejects(loadTasks(["/dev/null/x.yaml", "/dev"]), TaskError);
});

test("loadTasks() waits for no pipe and no device", async (t) => {
  const folder = folderOf(t, { "a.yaml": "task: a\ndata: /dev/zero\n" });
  await assert.rejects(
    loadTasks([join(folder, "a.yaml")]),
    (error: TaskError) => error.problems[0]!.code === "not-a-file",
  );
});

test("loadTasks() refuses more rows than it reads", async (t) => {
  const files = { "a.yaml": BASE, "d.jsonl": "{}\n".repeat(200_001) };
  assert.deepEqual(await problemsOf(t, files), ["d.jsonl:1:1 too-many-questions"]);
});

test("messages of loadTasks() name what is there, what was wanted, and the nearest word", async (t) => {
  const yaml = "task: a\ndata: d.jsonl\nprmpt: x\nscoring: numerc\n";
  assert.deepEqual(await messagesOf(t, { "a.yaml": yaml, "d.jsonl": SUMS }), [
    'Cannot use the key "prmpt": unknown in the task, wanted one of "task", "description", "data", "format", "prompt", "answer", "id", "topic", "choices", "system", "mode", "scoring", "generation"',
    'Did you mean "prompt"?',
    'Cannot use the scoring "numerc": unknown, wanted one of "exact", "numeric", "contains", "regex", "choice", "refusal", "none"',
    'Did you mean "numeric"?',
  ]);
  assert.deepEqual(await messagesOf(t, { "a.yaml": BASE, "d.jsonl": '{"quesion":"q","answer":1}' }), [
    'Cannot read the row: it has no field "question", wanted the question as a text',
    'Did you mean "quesion"?',
  ]);
});
