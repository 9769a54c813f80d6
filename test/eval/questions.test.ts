/** Questions of every kind put to a target, and what is left of runs that could not begin. */
import assert from "node:assert/strict";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { CheckpointError, EvaluationError } from "../../src/base/errors.ts";
import { type EvaluateEvent, evaluate } from "../../src/eval/evaluate.ts";
import type { Target } from "../../src/eval/target.ts";
import type { Task } from "../../src/tasks/task.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { mini, V3, withTarget } from "./family.ts";

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
});
