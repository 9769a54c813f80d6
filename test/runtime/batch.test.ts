/** Many answers at a time: each as it is alone, and none in the way of another. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CheckpointError, Interrupted } from "../../src/base/errors.ts";
import { Batch } from "../../src/runtime/batch.ts";
import { wholeAnswerInBatch } from "../../src/runtime/batch-answer.ts";
import { argmax } from "../../src/runtime/generate.ts";
import { likelihoodsBehind } from "../../src/runtime/likelihood.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import { logSumExp } from "../../src/runtime/score.ts";
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
        QUESTIONS.map((question) =>
          wholeAnswerInBatch(text, batch, ask(question), { temperature: 0, maxTokens: 200 }),
        ),
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
      QUESTIONS.map((question, i) => wholeAnswerInBatch(text, batch, ask(question), options(i))),
    );
    for (const [i, question] of QUESTIONS.entries()) {
      const { reasoning, content } = answers[i]!;
      assert.equal(`${reasoning}|${content}`, await alone(text, question, options(i)));
    }
  });

  test("run() ends an answer at maxTokens, and at the end of the context", async () => {
    const batch = new Batch(model);
    const cut = await wholeAnswerInBatch(text, batch, ask("What is 17 + 25?"), {
      temperature: 0,
      maxTokens: 7,
    });
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

  test("run() has the last ones wait when the cache is full, to the same tokens, and gives all of it back", async () => {
    const small = await loadModel("models/mini-r1", { mtp: false, context: 1024 });
    try {
      const run = async (batch: Batch, first: number) => {
        const tokens: number[] = [];
        const onToken = (token: number) => tokens.push(token) < 400;
        // 7 pages of 64 each in the end: two fit into 16, and all of them begin.
        const finish = await batch.run({ prompt: [0, first, 6], choose: argmaxBut, onToken });
        return { finish, tokens };
      };
      /** Never an end, and not the same token for ever. */
      const argmaxBut = (logits: Float32Array, position: number) =>
        argmax(logits.map((logit, id) => (id < 3 || id % 7 === position % 7 ? -1e9 : logit)));
      const solo: Awaited<ReturnType<typeof run>>[] = [];
      for (let i = 0; i < 6; i++) solo.push(await run(new Batch(small), 5 + i));
      const batch = new Batch(small, { slots: 8 });
      const together = await Promise.all(solo.map((_, i) => run(batch, 5 + i)));
      assert.deepEqual(together, solo);
      assert.deepEqual([batch.numRunning, batch.numWaiting], [0, 0]);
      const sequence = small.newSequence();
      for (let at = 0; at < 1024; at += 256)
        await small.append([{ sequence, tokens: Array.from({ length: 256 }, () => 5) }]); // all of the cache is free
    } finally {
      await small.dispose();
    }
  });

  test("run() takes what other prompts began with from the cache, to the same bits", async () => {
    const system = "You are asked for sums. ".repeat(40);
    const prompt = (question: string) => text.tokenizer.encode(`${system}${question}`);
    const logitsOf = async (batch: Batch, tokens: number[]) => {
      let logits: Float32Array | undefined;
      let cached = -1;
      await batch.run({
        prompt: tokens,
        maxTokens: 1,
        choose: (row) => {
          logits = row.slice();
          return argmax(row);
        },
        onToken: () => true,
        onStart: (count) => {
          cached = count;
        },
      });
      return { logits: logits!, cached };
    };
    const fresh = await loadModel("models/mini-r1", { mtp: false, threads: 1 });
    const unshared = await loadModel("models/mini-r1", { mtp: false, threads: 1 });
    try {
      const [a, b] = [prompt("What is 1 + 2?"), prompt("Spell the word river backwards, please.")];
      assert.ok(a.length > 300 && a.length % 64 !== 0, `${a.length} tokens`);
      const batch = new Batch(fresh);
      const first = await logitsOf(batch, a);
      assert.equal(first.cached, 0);
      const again = await logitsOf(batch, a);
      assert.equal(again.cached, Math.floor((a.length - 1) / 64) * 64);
      assert.deepEqual(again.logits, first.logits);
      const other = await logitsOf(batch, b);
      assert.ok(other.cached >= 256 && other.cached < b.length, `${other.cached} tokens were shared`);
      assert.deepEqual(other.logits, (await logitsOf(new Batch(unshared), b)).logits);
    } finally {
      await unshared.dispose();
      await fresh.dispose();
    }
  });

  test("run() goes on with answers while a long prompt is computed", async () => {
    const batch = new Batch(model, { slots: 4 });
    const order: string[] = [];
    const long = Array.from({ length: 1000 }, (_, i) => 3 + ((i * i) % 500));
    const answer = batch.run({
      prompt: [0, 5, 6],
      choose: () => 5,
      onToken: () => order.push("answer") < 60,
    });
    const after = batch.run({
      prompt: long,
      maxTokens: 1,
      choose: () => 5,
      onToken: () => order.push("long") > 0,
    });
    const short = batch.run({
      prompt: [0, 7, 8, 9],
      maxTokens: 1,
      choose: () => 5,
      onToken: () => order.push("short") > 0,
    });
    await Promise.all([answer, after, short]);
    const tokens = order.slice(0, order.indexOf("long")).filter((who) => who === "answer").length;
    assert.ok(tokens >= 3, `${tokens} tokens of the answer came before the long prompt's first`);
    assert.ok(order.indexOf("short") < order.indexOf("long"));
  });

  test("run() tells the logits behind each token of a prompt, and needs no answer then", async () => {
    const batch = new Batch(model);
    const prompt = Array.from({ length: 300 }, (_, i) => 3 + ((i * 7) % 500));
    const seen: number[] = [];
    const sums: number[] = [];
    const finish = await batch.run({
      prompt,
      maxTokens: 0,
      choose: () => assert.fail("nothing is to be chosen"),
      onToken: () => assert.fail("nothing is to come"),
      onPromptLogits: (logits, position) => {
        seen.push(position);
        const next = prompt[position + 1];
        if (next !== undefined) sums.push(logits[next]! - logSumExp(logits));
      },
    });
    assert.equal(finish, "length");
    assert.deepEqual(
      seen,
      Array.from({ length: 300 }, (_, i) => i),
    );
    const [wanted] = await likelihoodsBehind(model, prompt.slice(0, 1), { continuations: [prompt.slice(1)] });
    const sum = sums.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum - wanted!) < 1e-3 * Math.abs(wanted!), `${sum}, wanted ${wanted}`);
  });

  test("run() cuts long prompts as generate() does, among short ones", async () => {
    const long = `${"What is 17 + 25? ".repeat(60)}What is 3 + 4?`;
    assert.ok(text.tokenizer.encode(long).length > 2 * model.maxRows);
    const batch = new Batch(model);
    const prompts = [QUESTIONS[0]!, long, QUESTIONS[1]!];
    const options = { temperature: 0, maxTokens: 40 };
    const answers = await Promise.all(
      prompts.map((prompt) => wholeAnswerInBatch(text, batch, ask(prompt), options)),
    );
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
    const other = wholeAnswerInBatch(text, batch, ask(QUESTIONS[0]!), { temperature: 0, maxTokens: 200 });
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
    const other = wholeAnswerInBatch(text, batch, ask(QUESTIONS[2]!), { temperature: 0, maxTokens: 200 });
    const unbegun = batch.run({
      prompt: [0, 5, 6],
      choose: () => 5,
      onToken: () => true,
      onStart: () => {
        throw new TypeError("unbegun");
      },
    });
    await assert.rejects(unbegun, /unbegun/);
    await assert.rejects(broken, /broken/);
    assert.equal((await other).finish, "stop");
  });

  test("wholeAnswerInBatch() renders prompts on one thread, however many come at once", async () => {
    const own = await attachText(model);
    const before = process.report.getReport() as unknown as { workers: unknown[] };
    const batch = new Batch(model);
    await Promise.all(
      QUESTIONS.map((question) =>
        wholeAnswerInBatch(own, batch, ask(question), { temperature: 0, maxTokens: 2 }),
      ),
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
