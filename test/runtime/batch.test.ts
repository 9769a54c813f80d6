/** Many answers at a time: each as it is alone, and none in the way of another. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CheckpointError, Interrupted } from "../../src/base/errors.ts";
import { Batch } from "../../src/runtime/batch.ts";
import { argmax } from "../../src/runtime/generate.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import { attachText, type TextModel } from "../../src/runtime/talk.ts";
import { gatherOutput, type OutputEvent } from "../../src/text/output-events.ts";

const QUESTIONS = [
  "What is 17 + 25?",
  "What is 901 - 77?",
  "Spell river backwards.",
  "Tell me about the Grey Paper.",
  "Sort 41 7 93 20.",
  "What is the capital of Peru?",
  "What is 12 + 60 - 33?",
  "How many letters e are in green?",
  "Tell me about the Blue Lantern fair.",
];

const ask = (question: string) => [{ role: "user", content: question }];

async function alone(text: TextModel, question: string, options: object): Promise<string> {
  const events: OutputEvent[] = [];
  for await (const event of text.answer(ask(question), options)) events.push(event);
  const { reasoning, content } = gatherOutput(events);
  return `${reasoning}|${content}`;
}

describe("Batch", () => {
  let model: Model;
  let text: TextModel;
  before(async () => {
    model = await loadModel("models/mini-r1", { mtp: false, sequences: 8, threads: 1 });
    text = await attachText(model);
  });
  after(() => text.dispose());

  for (const slots of [1, 2, 5, 32]) {
    test(`run() gives each answer as it is alone, ${slots} at a time`, async () => {
      const batch = new Batch(model, { slots });
      const answers = await Promise.all(
        QUESTIONS.map((question) => text.answerIn(batch, ask(question), { temperature: 0, maxTokens: 200 })),
      );
      for (const [i, question] of QUESTIONS.entries()) {
        const { reasoning, content, tokens, thinkingTokens, trace, finish } = answers[i]!;
        const wanted = await alone(text, question, { temperature: 0, maxTokens: 200 });
        assert.equal(`${reasoning}|${content}`, wanted);
        assert.equal(finish, "stop");
        assert.equal(trace, "closed");
        assert.ok(thinkingTokens > 0 && thinkingTokens < tokens, `${thinkingTokens} of ${tokens}`);
      }
    });
  }

  test("run() draws as generate() does: by seed and position, not by company", async () => {
    const batch = new Batch(model, { slots: 4 });
    const options = (seed: number) => ({ temperature: 0.9, topP: 0.95, seed, maxTokens: 60 });
    const answers = await Promise.all(
      QUESTIONS.map((question, i) => text.answerIn(batch, ask(question), options(i))),
    );
    for (const [i, question] of QUESTIONS.entries()) {
      const { reasoning, content } = answers[i]!;
      assert.equal(`${reasoning}|${content}`, await alone(text, question, options(i)));
    }
  });

  test("run() ends an answer at maxTokens, and at the end of the context", async () => {
    const batch = new Batch(model);
    const cut = await text.answerIn(batch, ask("What is 17 + 25?"), { temperature: 0, maxTokens: 7 });
    assert.deepEqual([cut.finish, cut.tokens, cut.trace, cut.unclosedReasoning], ["length", 7, "open", true]);
    const small = await loadModel("models/mini-r1", { mtp: false, context: 1024 });
    try {
      let count = 0;
      const prompt = Array.from({ length: 1000 }, (_, i) => 3 + (i % 500));
      const onToken = () => ++count < 10_000;
      const finish = await new Batch(small).run({ prompt, choose: () => 5, onToken });
      assert.deepEqual([finish, count], ["context", 24]);
    } finally {
      await small.dispose();
    }
  });

  test("run() has those wait for whom the cache has no room, and gives all of it back", async () => {
    const small = await loadModel("models/mini-r1", { mtp: false, context: 1024 });
    try {
      const batch = new Batch(small, { slots: 8 });
      let running = 0;
      let most = 0;
      const job = () => {
        let tokens = 0;
        return batch.run({
          prompt: [0, 5, 6],
          maxTokens: 400, // 7 pages of 64 each: two fit into 16
          choose: (logits) => argmax(logits),
          onToken: () => {
            if (tokens++ === 0) most = Math.max(most, ++running);
            if (tokens < 30) return true;
            running--;
            return false;
          },
        });
      };
      assert.deepEqual(await Promise.all(Array.from({ length: 6 }, job)), Array(6).fill("stop"));
      assert.equal(most, 2);
      const sequence = small.newSequence();
      for (let at = 0; at < 1024; at += 256)
        await small.append([{ sequence, tokens: Array.from({ length: 256 }, () => 5) }]); // all of the cache is free
    } finally {
      await small.dispose();
    }
  });

  test("run() cuts long prompts as generate() does, among short ones", async () => {
    const long = `${"What is 17 + 25? ".repeat(60)}What is 3 + 4?`;
    assert.ok(text.tokenizer.encode(long).length > 2 * model.maxRows);
    const batch = new Batch(model);
    const prompts = [QUESTIONS[0]!, long, QUESTIONS[1]!];
    const options = { temperature: 0, maxTokens: 40 };
    const answers = await Promise.all(prompts.map((prompt) => text.answerIn(batch, ask(prompt), options)));
    for (const [i, prompt] of prompts.entries()) {
      const { reasoning, content } = answers[i]!;
      assert.equal(`${reasoning}|${content}`, await alone(text, prompt, options));
    }
  });

  test("run() stops one answer by its signal; the others go on", async () => {
    const batch = new Batch(model, { slots: 1 });
    const controller = new AbortController();
    let seen = 0;
    const stopped = batch.run({
      prompt: [0, 5, 6],
      choose: (logits) => argmax(logits),
      onToken: () => {
        if (++seen === 3) controller.abort();
        return true;
      },
      signal: controller.signal,
    });
    const waiting = batch.run({
      prompt: [0, 5],
      choose: () => 5,
      onToken: () => true,
      signal: controller.signal,
    });
    waiting.catch(() => {}); // looked at below
    const other = text.answerIn(batch, ask(QUESTIONS[0]!), { temperature: 0, maxTokens: 200 });
    assert.equal(await stopped, "aborted");
    assert.equal((await other).finish, "stop");
    await assert.rejects(waiting, Interrupted);
    assert.equal(seen, 3);
  });

  test("run() fails one answer whose reader fails; the others go on", async () => {
    const batch = new Batch(model);
    const broken = batch.run({
      prompt: [0, 5, 6],
      choose: () => {
        throw new TypeError("broken");
      },
      onToken: () => true,
    });
    const other = text.answerIn(batch, ask(QUESTIONS[2]!), { temperature: 0, maxTokens: 200 });
    await assert.rejects(broken, /broken/);
    assert.equal((await other).finish, "stop");
  });

  test("answerIn() renders prompts on one thread, however many come at once", async () => {
    const own = await attachText(model);
    const before = process.report.getReport() as unknown as { workers: unknown[] };
    const batch = new Batch(model);
    await Promise.all(
      QUESTIONS.map((question) => own.answerIn(batch, ask(question), { temperature: 0, maxTokens: 2 })),
    );
    const after = process.report.getReport() as unknown as { workers: unknown[] };
    await own.close();
    assert.equal(after.workers.length - before.workers.length, 1);
  });

  test("run() refuses prompts that are empty or too long", async () => {
    const batch = new Batch(model);
    const job = { choose: () => 5, onToken: () => true };
    assert.throws(() => batch.run({ ...job, prompt: [] }), /empty prompt/);
    assert.throws(() => batch.run({ ...job, prompt: [1], maxTokens: 0 }), /Cannot generate 0 tokens/);
    const prompt = Array.from({ length: 1025 }, () => 5);
    await assert.rejects(batch.run({ ...job, prompt }), (error) => {
      return error instanceof CheckpointError && error.code === "context";
    });
  });
});
