/** Which questions are drawn: in proportion, the same for everybody, and each task's without regard to the others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseQuestions, seedOfQuestion } from "../../src/eval/choose-questions.ts";
import type { Task } from "../../src/tasks/task.ts";

function task(name: string, size: number): Task {
  const questions = Array.from({ length: size }, (_, i) => ({
    ...{ id: `${name}-${i}`, turns: [`Question ${i}?`], answers: ["yes"] },
  }));
  const generation = { maxTokens: 10, temperature: 0, topP: 1, stop: [] };
  return {
    ...{ name, file: `${name}.yaml`, digest: name, mode: "chat", scoring: { kind: "none" } },
    ...{ generation, questions },
  };
}

const idsOf = (tasks: Task[], n: number | undefined, seed = 0) =>
  chooseQuestions(tasks, { n, seed }).map(({ question }) => question.id);
const countsOf = (tasks: Task[], n: number) =>
  tasks.map(
    ({ name }) => chooseQuestions(tasks, { n, seed: 3 }).filter((one) => one.task.name === name).length,
  );

test("chooseQuestions() shares n out in proportion, by largest remainders", () => {
  const tasks = [task("a", 60), task("b", 30), task("c", 10)];
  assert.deepEqual(countsOf(tasks, 10), [6, 3, 1]);
  assert.deepEqual(countsOf(tasks, 20), [12, 6, 2]);
  // 0.6, 0.3, 0.1
  assert.deepEqual(countsOf(tasks, 1), [1, 0, 0]);
  // 4.2, 2.1, 0.7
  assert.deepEqual(countsOf(tasks, 7), [4, 2, 1]);
  // 1.5 each: the earlier one has the odd one.
  assert.deepEqual(countsOf([task("a", 9), task("b", 9)], 3), [2, 1]);
  for (let n = 1; n <= 100; n++) {
    const counts = countsOf(tasks, n);
    assert.equal(
      counts.reduce((a, b) => a + b, 0),
      n,
    );
    for (const [i, count] of counts.entries())
      assert.ok(Math.abs(count - (n * [60, 30, 10][i]!) / 100) < 1, `${n}: ${counts}`);
  }
});

test("chooseQuestions() asks all where n is absent or larger, in the order of the files", () => {
  const tasks = [task("b", 3), task("empty", 0), task("a", 2)];
  const all = ["b-0", "b-1", "b-2", "a-0", "a-1"];
  for (const n of [undefined, 5, 6, 1e9]) assert.deepEqual(idsOf(tasks, n, 7), all);
  assert.deepEqual(idsOf([], undefined), []);
  assert.deepEqual(idsOf([task("empty", 0)], 3), []);
});

test("chooseQuestions() draws none twice, in order, the same for a seed and another for another", () => {
  const tasks = [task("a", 200), task("b", 100)];
  const drawn = idsOf(tasks, 60);
  assert.deepEqual([drawn.length, new Set(drawn).size], [60, 60]);
  const numbers = drawn.filter((id) => id.startsWith("a")).map((id) => Number(id.slice(2)));
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => a - b),
  );
  assert.deepEqual(idsOf(tasks, 60), drawn);
  assert.notDeepEqual(idsOf(tasks, 60, 1), drawn);
  // Every question has its chance: over seeds all are drawn.
  const seen = new Set(Array.from({ length: 40 }, (_, seed) => idsOf([task("a", 20)], 5, seed)).flat());
  assert.equal(seen.size, 20);
});

test("chooseQuestions() leaves the draws of other tasks where their share stays, and grows a draw by more", () => {
  const [a, b, c] = [task("a", 50), task("b", 50), task("c", 100)];
  const before = idsOf([a, b], 20);
  const after = idsOf([c, a, b], 40).filter((id) => !id.startsWith("c"));
  assert.deepEqual(after, before);
  // A larger n holds the smaller one's questions.
  const more = new Set(idsOf([a, b], 40));
  assert.ok(before.every((id) => more.has(id)));
});

test("seedOfQuestion() differs between questions, tasks and seeds, and depends on nothing else", () => {
  const [a, b] = [task("a", 2), task("b", 2)];
  const asked = chooseQuestions([a, b], { seed: 0 });
  const seeds = [0, 1].flatMap((seed) => asked.map((one) => seedOfQuestion(seed, one)));
  assert.equal(new Set(seeds).size, 8);
  const alone = chooseQuestions([b], { n: 1, seed: 5 })[0]!;
  const same = asked.find(({ question }) => question.id === alone.question.id)!;
  assert.equal(seedOfQuestion(9, alone), seedOfQuestion(9, same));
});
