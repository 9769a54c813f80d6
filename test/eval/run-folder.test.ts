/** Folders of runs that somebody has been at, and runs that look like others. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { EvaluationError } from "../../src/base/errors.ts";
import { evaluate } from "../../src/eval/evaluate.ts";
import { rescore } from "../../src/eval/rescore.ts";
import { readRun } from "../../src/eval/run-folder.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { fileOf, mini, V3, withTarget } from "./family.ts";

const codeIs = (code: string) => (error: unknown) => error instanceof EvaluationError && error.code === code;

describe("RunFolder", () => {
  test("refuses lines that are no records, and can be opened again when they are mended", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const tasks = await mini();
    const controller = new AbortController();
    const options = { n: 4, folder };
    await withTarget(
      V3,
      async (target) => {
        const onEvent = ({ kind }: { kind: string }) => kind === "answered" && controller.abort();
        await assert.rejects(evaluate(target, tasks, { ...options, onEvent, signal: controller.signal }));
        const records = fileOf(folder, "records.ndjson");
        for (const line of ["null", "[]", '{"task":"mini-sums"}', "7"]) {
          writeFileSync(join(folder, "records.ndjson"), `${records}${line}\n`);
          await assert.rejects(evaluate(target, tasks, options), codeIs("damaged"));
          await assert.rejects(readRun(folder), codeIs("damaged"));
        }
        writeFileSync(join(folder, "records.ndjson"), records);
        assert.equal((await evaluate(target, tasks, options)).summary!.complete, true);
      },
      { slots: 1 },
    );
  });

  test("never takes a run that was scored again for one that was asked", async (t) => {
    const folder = temporaryFolder(t);
    const tasks = (await mini()).filter(({ name }) => name === "mini-capitals");
    // As if the task had been asked with other settings: its digest is another one.
    const other = tasks.map((task) => ({ ...task, digest: "other", system: "Be brief." }));
    const place = join(folder, "again");
    await withTarget(V3, async (target) => {
      const run = await evaluate(target, tasks, { n: 3 });
      await rescore(run, other, { folder: place });
      await assert.rejects(evaluate(target, other, { n: 3, folder: place }), codeIs("other-run"));
    });
  });

  test("scores likelihoods again only of the continuations that were asked", async (t) => {
    const folder = temporaryFolder(t);
    const row = { question: "The capital of Spain is", answer: "Madrid", choices: ["Paris", "Madrid"] };
    writeFileSync(join(folder, "c.jsonl"), `${JSON.stringify(row)}\n`);
    const written = async (more: string) => {
      const text = `task: c\ndata: c.jsonl\nmode: raw\nscoring: { kind: choice, method: likelihood${more} }\n`;
      writeFileSync(join(folder, "c.yaml"), text);
      return loadTasks([join(folder, "c.yaml")]);
    };
    const run = await withTarget(V3, async (target) => evaluate(target, await written(""), {}));
    assert.deepEqual(run.records[0]!.continuations, [" Paris", " Madrid"]);
    const same = await rescore(run, await written(", normalise: bytes"));
    assert.equal(same.records[0]!.likelihoods!.length, 2);
    await assert.rejects(rescore(run, await written(', delimiter: ": "')), codeIs("other-task"));
  });
});
