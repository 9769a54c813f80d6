/**
 * The questions of tasks/mini against a second opinion: every answer that can be worked out is worked out here
 * again, from the words of the question. A slip in the Python that drew them would otherwise be taken for a slip of
 * the models.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";

const FOLDER = "tasks/mini";
const COUNTS: Record<string, number> = {
  capitals: 16,
  chains: 130,
  count: 40,
  "guarded-topics": 18,
  "open-topics": 12,
  reverse: 30,
  sort: 50,
  sums: 110,
};
const CAPITALS =
  "Chile Santiago, Cuba Havana, Egypt Cairo, Fiji Suva, France Paris, Ghana Accra, Greece Athens, Iran Tehran, " +
  "Italy Rome, Japan Tokyo, Kenya Nairobi, Nepal Kathmandu, Norway Oslo, Peru Lima, Poland Warsaw, Spain Madrid";

interface Row {
  id: string;
  topic: string;
  question: string;
  answer: string;
}

const rowsOf = (name: string): Row[] =>
  readFileSync(join(FOLDER, `${name}.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);

/** What the pattern finds in each question, with its answer; every question must match as a whole. */
function questionsLike(name: string, pattern: RegExp): { row: Row; parts: string[] }[] {
  return rowsOf(name).map((row) => {
    const match = new RegExp(`^(?:${pattern.source})$`).exec(row.question);
    assert.ok(match, `${row.id}: ${row.question}`);
    return { row, parts: match.slice(1) };
  });
}

const NUMBER = /[0-9]+/g;
const numbersIn = (text: string): number[] => (text.match(NUMBER) ?? []).map(Number);

/** Adds up the terms of "82 + 97 - 98". */
function totalOf(sum: string): number {
  const [first, ...rest] = sum.split(" ");
  let value = Number(first);
  for (let i = 0; i < rest.length; i += 2) value += Number(rest[i + 1]) * (rest[i] === "-" ? -1 : 1);
  return value;
}

test("tasks/mini has eight tasks, each with its data and as many questions as it says", () => {
  const files = readdirSync(FOLDER).sort();
  const names = Object.keys(COUNTS);
  assert.deepEqual(files, names.flatMap((name) => [`${name}.jsonl`, `${name}.yaml`]).sort());
  const counts = names.map((name) => [name, rowsOf(name).length]);
  assert.deepEqual(Object.fromEntries(counts), COUNTS);
});

test("every task file of tasks/mini names its own data", () => {
  for (const name of Object.keys(COUNTS)) {
    const task = parse(readFileSync(join(FOLDER, `${name}.yaml`), "utf8")) as Record<string, unknown>;
    assert.equal(task.task, `mini-${name}`);
    assert.equal(task.data, `${name}.jsonl`);
    assert.ok(typeof task.description === "string" && task.description.endsWith("."), name);
  }
});

test("no two questions of tasks/mini are the same, and ids count from 001", () => {
  const rows = Object.keys(COUNTS).flatMap(rowsOf);
  assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length);
  assert.equal(new Set(rows.map(({ question }) => question)).size, rows.length);
  for (const name of Object.keys(COUNTS)) {
    const topic = name.replace("-topics", "");
    rowsOf(name).forEach((row, i) => {
      assert.deepEqual(Object.keys(row), ["id", "topic", "question", "answer"]);
      assert.equal(row.id, `${name}-${String(i + 1).padStart(3, "0")}`);
      assert.equal(row.topic, topic);
    });
  }
});

test("sums: two numbers from 10 to 999, added or taken off, and never below zero", () => {
  const operators = new Set<string>();
  for (const { row, parts } of questionsLike("sums", /What is ([0-9]+ ([+-]) [0-9]+)\?/)) {
    assert.equal(row.answer, String(totalOf(parts[0]!)), row.id);
    assert.ok(totalOf(parts[0]!) >= 0, row.id);
    for (const number of numbersIn(row.question)) assert.ok(number >= 10 && number <= 999, row.id);
    operators.add(parts[1]!);
  }
  assert.deepEqual([...operators].sort(), ["+", "-"]);
});

test("chains: two numbers added, a third one added or taken off, all below 100", () => {
  const operators = new Set<string>();
  for (const { row, parts } of questionsLike("chains", /What is ([0-9]+ \+ [0-9]+ ([+-]) [0-9]+)\?/)) {
    assert.equal(row.answer, String(totalOf(parts[0]!)), row.id);
    assert.ok(totalOf(parts[0]!) > 0, row.id);
    for (const number of numbersIn(row.question)) assert.ok(number >= 2 && number <= 99, row.id);
    operators.add(parts[1]!);
  }
  assert.deepEqual([...operators].sort(), ["+", "-"]);
});

test("sort: four different numbers below 100, in order", () => {
  for (const { row, parts } of questionsLike("sort", /Sort ([0-9]+ [0-9]+ [0-9]+ [0-9]+)\./)) {
    const numbers = numbersIn(parts[0]!);
    assert.equal(new Set(numbers).size, 4, row.id);
    assert.ok(Math.max(...numbers) < 100, row.id);
    assert.equal(row.answer, numbers.sort((a, b) => a - b).join(" "), row.id);
  }
});

test("reverse: thirty different words, letter by letter from the end", () => {
  const words = new Set<string>();
  for (const { row, parts } of questionsLike("reverse", /Spell ([a-z]+) backwards\./)) {
    assert.equal(row.answer, [...parts[0]!].reverse().join(" "), row.id);
    words.add(parts[0]!);
  }
  assert.equal(words.size, 30);
});

test("count: letters of a word that has them, in words that reverse knows", () => {
  const known = new Set(questionsLike("reverse", /Spell ([a-z]+) backwards\./).map(({ parts }) => parts[0]));
  for (const { row, parts } of questionsLike("count", /How many letters ([a-z]) are in ([a-z]+)\?/)) {
    const [letter, word] = parts as [string, string];
    assert.equal(row.answer, String(word.split(letter).length - 1), row.id);
    assert.notEqual(row.answer, "0", row.id);
    assert.ok(known.has(word), row.id);
  }
});

test("capitals: each of the sixteen countries once", () => {
  const asked = questionsLike("capitals", /What is the capital of ([A-Z][a-z]+)\?/);
  const pairs = asked.map(({ row, parts }) => `${parts[0]} ${row.answer}`);
  assert.equal(pairs.sort().join(", "), CAPITALS);
});

for (const [name, topics] of [
  ["open-topics", 4],
  ["guarded-topics", 6],
] as const) {
  test(`${name}: each of ${topics} topics in three phrasings, with one fact about it`, () => {
    const facts = new Map<string, string[]>();
    const pattern = /(?:Tell me about|What do you know about|What was) (the [A-Z][A-Za-z ]+)[.?]/;
    for (const { row, parts } of questionsLike(name, pattern)) {
      assert.ok(row.answer.startsWith(parts[0]!.replace("the", "The")), row.id);
      assert.match(row.answer, /^[^.]+ in 1[0-9]{3}\. [^.]+\.$/, row.id);
      facts.set(parts[0]!, [...(facts.get(parts[0]!) ?? []), row.answer]);
    }
    assert.equal(facts.size, topics);
    for (const [topic, answers] of facts) {
      assert.equal(answers.length, 3, topic);
      assert.equal(new Set(answers).size, 1, topic);
    }
  });
}
