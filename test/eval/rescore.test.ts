/** Answers scored again: by other rules, in the way they were given, and never into their own run. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openEndpoint } from "../../src/eval/endpoint.ts";
import { evaluate } from "../../src/eval/evaluate.ts";
import { rescore } from "../../src/eval/rescore.ts";
import { readRun } from "../../src/eval/run-folder.ts";
import { openEvalTarget } from "../../src/library/eval-target.ts";
import type { Scoring, Task } from "../../src/tasks/task.ts";
import { startServer } from "../support/openai-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

function taskOf(scoring: Scoring, more: Partial<Task> = {}): Task {
  return {
    ...{ name: "t", file: "t.yaml", digest: JSON.stringify(scoring), mode: "chat", scoring },
    generation: { maxTokens: 20, temperature: 0, topP: 1, stop: [] },
    questions: [
      { id: "1", turns: ["2 + 2?"], answers: ["four"] },
      { id: "2", turns: ["2 + 3?"], answers: ["five"] },
    ],
    ...more,
  };
}

test("rescore() applies the new scoring, says where it comes from, and touches nothing of the run", async (t) => {
  const folder = join(temporaryFolder(t), "run");
  const task = taskOf({ kind: "exact", ignoreCase: false });
  const server = await startServer();
  const target = await openEndpoint({ url: server.url, name: "x" });
  await evaluate(target, [task], { folder });
  await target.close();
  await server.close();
  const files = () => readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
  const before = files();
  const run = await readRun(folder);
  assert.deepEqual(
    run.records.map(({ correct }) => correct),
    [false, false],
  );

  const mended = taskOf({ kind: "exact", ignoreCase: true });
  const again = await rescore(run, [mended, taskOf(mended.scoring, { name: "other" })]);
  assert.deepEqual(
    again.records.map(({ correct, content }) => [correct, content]),
    [
      [true, "Four."],
      [false, "Four."],
    ],
  );
  assert.deepEqual([again.config.settings.rescoredFrom, again.folder], [run.config.digest, ""]);
  assert.deepEqual(again.config.settings.tasks, [{ name: "t", digest: mended.digest }]);
  assert.notEqual(again.config.digest, run.config.digest);
  assert.deepEqual(again.timings, run.timings);
  // By the rules that it was scored by, it is what it was.
  assert.deepEqual((await rescore(run, [task])).records, run.records);

  const judge = {
    identity: { kind: "judge", url: "http://x/v1", model: "j" } as const,
    judge: async () => ({ refused: true, rule: "judge" }),
  };
  const judged = await rescore(run, [taskOf({ kind: "refusal", wanted: "decline" })], { judge });
  assert.ok(judged.records.every(({ refused, refusedBy, correct }) => refused && refusedBy && correct));

  const words = task.questions.map((question) => ({ ...question, turns: ["What is 2 + 2?"] }));
  const refused: [Task[], RegExp][] = [
    [[{ ...task, questions: words }], /question "1" of task "t" again: it is asked in other words now/],
    [[{ ...task, questions: task.questions.slice(0, 1) }], /question "2" .* the task has no such question/],
    [[{ ...task, name: "u" }], /there is no such task/],
    [
      [taskOf({ kind: "choice", method: "likelihood", normalise: "none", delimiter: " " })],
      /it was answered in words, wanted as the task scores now/,
    ],
  ];
  const out = join(temporaryFolder(t), "out");
  for (const [tasks, message] of refused)
    await assert.rejects(rescore(run, tasks, { folder: out }), { code: "other-task", message });
  for (const itself of [folder, `${folder}/`, `${folder}/../run`])
    await assert.rejects(rescore(run, [task], { folder: itself }), { code: "other-run" });
  assert.deepEqual(files(), before);
});

test("rescore() finds the likeliest choice anew where likelihoods are normalised in another way", async () => {
  const choices = ["M", "Madrid, in the middle of Spain and not by the sea"];
  const question = { id: "1", turns: ["The capital of Spain is"], answers: [choices[1]!], choices };
  const scoringOf = (normalise: "none" | "characters") =>
    ({ kind: "choice", method: "likelihood", normalise, delimiter: " " }) as const;
  const [sum, each] = [scoringOf("none"), scoringOf("characters")].map((scoring) =>
    taskOf(scoring, { mode: "raw", questions: [question] }),
  );
  const target = await openEvalTarget("models/mini-r1", { threads: 1, slots: 1 });
  try {
    const run = await evaluate(target, [sum!]);
    const asked = await evaluate(target, [each!]);
    assert.notEqual(asked.records[0]!.content, run.records[0]!.content);
    assert.deepEqual((await rescore(run, [each!])).records, asked.records);
    assert.deepEqual((await rescore(asked, [sum!])).records, run.records);
    await assert.rejects(
      rescore(run, [taskOf({ kind: "exact", ignoreCase: true }, { questions: [question] })]),
      { code: "other-task", message: /it was answered by 2 likelihoods/ },
    );
  } finally {
    await target.close();
  }
});
