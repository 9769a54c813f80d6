import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { EvaluationError } from "../../src/base/errors.ts";
import { evaluate } from "../../src/eval/evaluate.ts";
import { rescore } from "../../src/eval/rescore.ts";
import { readRun } from "../../src/eval/run-folder.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { fileOf, mini, V3, withTarget } from "./family.ts";

describe("rescore()", () => {
  test("scores what was answered by the tasks as they are now, into a run of its own", async (t) => {
    const folder = temporaryFolder(t);
    const tasks = (await mini()).filter(({ name }) => name === "mini-sort");
    const run = await withTarget(V3, (target) =>
      evaluate(target, tasks, { n: 20, folder: join(folder, "old") }),
    );
    const before = fileOf(join(folder, "old"), "records.ndjson");
    const again = await rescore(run, tasks, { folder: join(folder, "same") });
    assert.equal(fileOf(join(folder, "same"), "records.ndjson"), before);
    assert.deepEqual(again.summary, run.summary);
    const strict = tasks.map((task) => ({
      ...task,
      digest: "strict",
      scoring: { kind: "refusal", wanted: "decline" } as const,
    }));
    const scored = await rescore(run, strict, { folder: join(folder, "new") });
    assert.equal(scored.summary!.overall!.accuracy!.count, 0);
    assert.equal(scored.config.rescoredFrom, run.config.digest);
    assert.notEqual(scored.config.digest, run.config.digest);
    assert.equal(fileOf(join(folder, "old"), "records.ndjson"), before);
    const read = await readRun(join(folder, "new"));
    assert.deepEqual(
      read.records.map(({ content }) => content),
      run.records.map(({ content }) => content),
    );
  });

  test("refuses tasks that lack a question, or ask it in other words", async () => {
    const tasks = (await mini()).filter(({ name }) => name === "mini-capitals");
    const run = await withTarget(V3, (target) => evaluate(target, tasks, { n: 4 }));
    const isOther = (error: unknown) => error instanceof EvaluationError && error.code === "other-task";
    await assert.rejects(rescore(run, []), isOther);
    const other = tasks.map((task) => ({
      ...task,
      questions: task.questions.map((question) => ({ ...question, turns: [`Please: ${question.turns[0]}`] })),
    }));
    await assert.rejects(rescore(run, other), isOther);
  });
});
