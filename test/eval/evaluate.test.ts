import assert from "node:assert/strict";
import { appendFileSync, cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { CheckpointError, EvaluationError, Interrupted, TaskError } from "../../src/base/errors.ts";
import { openEndpoint } from "../../src/eval/endpoint.ts";
import { type EvaluateEvent, evaluate } from "../../src/eval/evaluate.ts";
import { keyOf, readRun } from "../../src/eval/run-folder.ts";
import type { Target } from "../../src/eval/target.ts";
import { loadModel } from "../../src/library/language-model.ts";
import type { Task } from "../../src/tasks/task.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { startServer } from "../support/openai-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { fileOf, mini, R1, V3, withTarget } from "./family.ts";

let tasks: Task[];
before(async () => {
  tasks = await mini();
});

const codeIs = (code: string) => (error: unknown) => error instanceof EvaluationError && error.code === code;

/** Does nothing but answer what it was asked, wrongly, and count. */
class Parrot implements Target {
  readonly name = "parrot";
  readonly identity = { kind: "endpoint", url: "http://parrot", model: "parrot" } as const;
  readonly concurrency = 3;
  asked: string[] = [];
  model = "parrot";
  fail: (prompt: string, count: number) => Error | undefined = () => undefined;

  async answer({ prompt }: Parameters<Target["answer"]>[0]): ReturnType<Target["answer"]> {
    const text = prompt.kind === "chat" ? String(prompt.messages.at(-1)!.content) : prompt.text;
    this.asked.push(text);
    const failure = this.fail(text, this.asked.length);
    if (failure) throw failure;
    return {
      ...{ reasoning: "", content: text, opensThinking: false, closesThinking: false, finish: "stop" },
      ...{ tokens: text.length, thinkingTokens: 0, isEstimated: false, seconds: 0.01, attempts: 1 },
      model: this.model,
    };
  }

  async close(): Promise<void> {}
}

describe("evaluate()", () => {
  for (const reasoning of ["reasoning_content", "inline"] as const) {
    test(`a model here and behind an endpoint that gives ${reasoning} agree byte for byte`, async (t) => {
      const folder = temporaryFolder(t);
      const options = { n: 24, seed: 3 };
      await withTarget(R1, (target) => evaluate(target, tasks, { ...options, folder: join(folder, "here") }));
      const model = await loadModel(R1, { mtp: false });
      const server = await startServer({ model, models: ["mini-r1"], reasoning });
      try {
        const endpoint = await openEndpoint({ url: server.url, name: "there" });
        await evaluate(endpoint, tasks, { ...options, folder: join(folder, "there") });
        await endpoint.close();
      } finally {
        await server.close();
        await model.dispose();
      }
      const [here, there] = ["here", "there"].map((name) => fileOf(join(folder, name), "records.ndjson"));
      assert.equal(there, here);
      const { records, summary } = await readRun(join(folder, "here"));
      assert.equal(records.length, 24);
      assert.ok(summary!.complete && summary!.overall!.accuracy!.value > 0.8);
      assert.ok(records.some(({ refused }) => refused));
    });
  }

  test("gives the same bytes for any batch and any threads, greedy and sampled", async (t) => {
    const folder = temporaryFolder(t);
    for (const temperature of [0, 0.8]) {
      const texts = new Set<string>();
      for (const options of [{ slots: 32 }, { slots: 1 }, { slots: 7, threads: 2 }]) {
        const name = join(folder, `${temperature}-${options.slots}`);
        const generation = { temperature };
        await withTarget(
          R1,
          (target) => evaluate(target, tasks, { n: 16, seed: 5, generation, folder: name }),
          options,
        );
        texts.add(fileOf(name, "records.ndjson"));
      }
      assert.equal(texts.size, 1);
    }
    const [greedy, sampled] = [0, 0.8].map((temperature) =>
      fileOf(join(folder, `${temperature}-1`), "records.ndjson"),
    );
    assert.notEqual(sampled, greedy);
  });

  test("stopped and resumed ends with the bytes of an undisturbed run, and asks nothing twice", async (t) => {
    const folder = temporaryFolder(t);
    const options = { n: 30, seed: 1 };
    await withTarget(V3, (target) => evaluate(target, tasks, { ...options, folder: join(folder, "whole") }));
    const place = join(folder, "stopped");
    const controller = new AbortController();
    let answered = 0;
    const onEvent = (event: EvaluateEvent) => {
      if (event.kind === "answered" && ++answered === 7) controller.abort();
    };
    await withTarget(
      V3,
      (target) =>
        assert.rejects(
          evaluate(target, tasks, { ...options, folder: place, signal: controller.signal, onEvent }),
          (error) => error instanceof Interrupted && /7 of 30 answers are kept/.test(error.message),
        ),
      { slots: 1 },
    );
    assert.equal(existsSync(join(place, "summary.json")), false);
    // A machine that loses power tears the last line; its question is asked again.
    const lines = fileOf(place, "records.ndjson").split("\n");
    writeFileSync(
      join(place, "records.ndjson"),
      `${lines.slice(0, 6).join("\n")}\n${lines[6]!.slice(0, 40)}`,
    );
    let asked = 0;
    const count = (event: EvaluateEvent) => {
      if (event.kind === "answered") asked++;
    };
    const run = await withTarget(V3, (target) =>
      evaluate(target, tasks, { ...options, folder: place, onEvent: count }),
    );
    assert.equal(asked, 24);
    assert.equal(run.summary!.speed.sessions, 2);
    assert.equal(fileOf(place, "records.ndjson"), fileOf(join(folder, "whole"), "records.ndjson"));
    assert.deepEqual(readdirSync(place).sort(), [
      "config.json",
      "records.ndjson",
      "summary.json",
      "timings.ndjson",
    ]);
    // Once more: complete, so nobody is asked.
    const again = await withTarget(V3, (target) =>
      evaluate(target, tasks, { ...options, folder: place, onEvent: count }),
    );
    assert.equal(asked, 24);
    assert.deepEqual(again.summary, run.summary);
  });

  test("refuses a folder that holds another run, and says what differs; or anything else", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const parrot = new Parrot();
    await evaluate(parrot, tasks, { n: 5, folder });
    await assert.rejects(evaluate(parrot, tasks, { n: 5, seed: 2, folder }), (error: Error) => {
      return codeIs("other-run")(error) && /seed 0, wanted 2/.test(error.message);
    });
    await assert.rejects(evaluate(parrot, tasks, { n: 6, folder }), /n 5, wanted 6/);
    const changed = tasks.map((task) => (task.name === "mini-sums" ? { ...task, digest: "0" } : task));
    await assert.rejects(evaluate(parrot, changed, { n: 5, folder }), /task "mini-sums" as it was before/);
    const strange = temporaryFolder(t);
    writeFileSync(join(strange, "thesis.txt"), "years of work");
    await assert.rejects(evaluate(parrot, tasks, { n: 5, folder: strange }), codeIs("other-run"));
    assert.deepEqual(readdirSync(strange), ["thesis.txt"]);
    writeFileSync(join(strange, "config.json"), "{}");
    await assert.rejects(evaluate(parrot, tasks, { n: 5, folder: strange }), codeIs("damaged"));
  });

  test("refuses to go on with another model behind the endpoint, also when it is resumed; answers stay", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const parrot = new Parrot();
    parrot.fail = (_, count) => {
      if (count === 8) parrot.model = "cuckoo";
      return undefined;
    };
    const isChanged = (error: Error) =>
      codeIs("model-changed")(error) && /"cuckoo", wanted "parrot"/.test(error.message);
    await assert.rejects(evaluate(parrot, tasks, { n: 20, folder }), isChanged);
    const kept = (await readRun(folder)).records.length;
    assert.ok(kept >= 5 && kept < 20, `${kept} kept`);
    await assert.rejects(evaluate(parrot, tasks, { n: 20, folder }), isChanged);
    parrot.model = "parrot";
    const { summary } = await evaluate(parrot, tasks, { n: 20, folder });
    assert.deepEqual([summary!.complete, summary!.models], [true, ["parrot"]]);
  });

  test("goes on behind questions that fail, tells them, and asks only them again", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const parrot = new Parrot();
    const isHard = (text: string) => text.includes("capital");
    parrot.fail = (text) => (isHard(text) ? new EvaluationError("question-refused", "too hard") : undefined);
    const failed: string[] = [];
    const onEvent = (event: EvaluateEvent) => {
      if (event.kind === "failed") failed.push(event.message);
    };
    const first = await evaluate(parrot, tasks, { n: 60, folder, onEvent });
    assert.ok(failed.length > 0);
    assert.deepEqual([first.summary!.complete, first.summary!.answered], [false, 60 - failed.length]);
    parrot.fail = () => undefined;
    parrot.asked = [];
    const second = await evaluate(parrot, tasks, { n: 60, folder });
    assert.equal(second.summary!.complete, true);
    assert.equal(parrot.asked.length, failed.length);
    assert.ok(parrot.asked.every(isHard));
  });

  test("gives up after five failures in a row, with what was answered kept", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const parrot = new Parrot();
    parrot.fail = (_, count) =>
      count > 10 ? new EvaluationError("unreachable", "nobody is there") : undefined;
    await assert.rejects(evaluate(parrot, tasks, { n: 60, folder }), codeIs("unreachable"));
    assert.equal((await readRun(folder)).records.length, 10);
    assert.ok(parrot.asked.length <= 10 + 5 + parrot.concurrency);
  });

  test("keeps nothing of a run without an answer, and no run of a model without a template", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const parrot = new Parrot();
    parrot.fail = () => new EvaluationError("not-authorised", "no key");
    await assert.rejects(evaluate(parrot, tasks, { n: 5, folder }), codeIs("not-authorised"));
    assert.equal(existsSync(folder), false);
    const bare = join(temporaryFolder(t), "bare");
    cpSync(V3, bare, { recursive: true });
    const config = JSON.parse(readFileSync(join(bare, "tokenizer_config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    delete config.chat_template;
    writeFileSync(join(bare, "tokenizer_config.json"), JSON.stringify(config));
    await withTarget(bare, async (target) => {
      await assert.rejects(evaluate(target, tasks, { n: 5, folder }), (error) => {
        return (
          error instanceof CheckpointError && error.note === "Tasks with mode: raw need no chat template"
        );
      });
      assert.equal(existsSync(folder), false);
      const raw = tasks.map((task) => ({ ...task, mode: "raw" as const }));
      const { summary } = await evaluate(target, raw, { n: 5, generation: { maxTokens: 8 } });
      assert.equal(summary!.answered, 5);
    });
  });

  test("refuses to ask nothing", async () => {
    await assert.rejects(evaluate(new Parrot(), [], {}), TaskError);
    await assert.rejects(evaluate(new Parrot(), [{ ...tasks[0]!, questions: [] }], {}), TaskError);
  });

  test("asks turn by turn, each with the answers before it; the last one is scored", async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(
      join(folder, "turns.jsonl"),
      '{"question": ["What is 1 + 2?", "What is 3 + 4?"], "answer": "4?"}\n',
    );
    writeFileSync(join(folder, "turns.yaml"), "task: turns\ndata: turns.jsonl\nscoring: contains\n");
    const some = await loadTasks([join(folder, "turns.yaml")]);
    const parrot = new Parrot();
    const seen: string[][] = [];
    const answer = parrot.answer.bind(parrot);
    parrot.answer = (request) => {
      if (request.prompt.kind === "chat")
        seen.push(request.prompt.messages.map(({ content }) => String(content)));
      return answer(request);
    };
    const { records } = await evaluate(parrot, some, { system: "Be brief." });
    assert.deepEqual(seen, [
      ["Be brief.", "What is 1 + 2?"],
      ["Be brief.", "What is 1 + 2?", "What is 1 + 2?", "What is 3 + 4?"],
    ]);
    const [{ correct, earlier, tokens }] = records as [(typeof records)[0]];
    assert.deepEqual([correct, earlier, tokens], [true, [{ reasoning: "", content: "What is 1 + 2?" }], 28]);
  });

  test("scores choices by their likelihood, as the model itself gives them", async (t) => {
    const folder = temporaryFolder(t);
    const rows = [
      { question: "The capital of Spain is", answer: "Madrid", choices: ["Paris", "Madrid", "Oslo"] },
      { question: "What is the capital of Italy?", answer: "Rome", choices: ["Rome", "Cairo"] },
    ];
    writeFileSync(join(folder, "c.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const scoring = "scoring: { kind: choice, method: likelihood }";
    writeFileSync(join(folder, "c.yaml"), `task: choices\ndata: c.jsonl\nmode: raw\n${scoring}\n`);
    const some = await loadTasks([join(folder, "c.yaml")]);
    const { records } = await withTarget(V3, (target) => evaluate(target, some, {}));
    for (const { likelihoods, content, wanted, correct, tokens } of records) {
      const best = Math.max(...likelihoods!.map(({ logLikelihood }) => logLikelihood));
      const index = likelihoods!.findIndex(({ logLikelihood }) => logLikelihood === best);
      const row = rows.find(({ answer }) => answer === wanted[0])!;
      assert.equal(content, row.choices[index]);
      assert.deepEqual([correct, tokens], [content === row.answer, null]);
    }
    await assert.rejects(evaluate(new Parrot(), some, {}), codeIs("no-likelihoods"));
  });

  test("a second process at the same folder is told that it is locked", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    const parrot = new Parrot();
    let second: Promise<unknown> | undefined;
    const onEvent = (event: EvaluateEvent) => {
      if (event.kind === "answered" && event.done === 1)
        second = evaluate(new Parrot(), tasks, { n: 5, folder }).then(
          () => undefined,
          (error) => error,
        );
    };
    const slow = parrot.answer.bind(parrot);
    parrot.answer = async (request) => {
      await second;
      return slow(request);
    };
    await evaluate(parrot, tasks, { n: 5, folder, onEvent });
    const error = (await second) as EvaluationError;
    assert.equal(error.code, "locked");
    assert.match(error.message, /Cannot evaluate in ".*": process \d+ on .* is evaluating there/);
  });

  test("records that were there are those of the folder, whatever else is appended", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    await evaluate(new Parrot(), tasks, { n: 5, folder });
    appendFileSync(join(folder, "records.ndjson"), "no JSON\n");
    await assert.rejects(
      readRun(folder),
      (error) => error instanceof CheckpointError && error.code === "damaged",
    );
    assert.equal(
      new Set(
        (await mini()).flatMap((task) => task.questions.map(({ id }) => keyOf({ task: task.name, id }))),
      ).size,
      406,
    );
  });
});
