/** Generation on the trained miniatures: the stream is the same however it is computed. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { virtualChild } from "../../src/build/virtual-child.ts";
import { planOf } from "../../src/cli/plan.ts";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { argmax, type GenerateOptions, generate, newStats } from "../../src/runtime/generate.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model, Sequence } from "../../src/runtime/model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";
import { Sampler } from "../../src/runtime/sampler.ts";
import { type AnswerOptions, attachText, type TextModel } from "../../src/runtime/talk.ts";
import { gatherOutput, type OutputEvent } from "../../src/text/output-events.ts";
import { runMain } from "../cli/run-main.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const QUESTION = "What is 17 + 25?";
const ANSWER = "17 + 25 = 42.";
const THOUGHT =
  "Let me work this out. 7 + 5 = 12, 1 + 2 + 1 = 4, so 17 + 25 = 42. Let me double-check: 25 + 17 = 42. Good.\n";

const texts: TextModel[] = [];
after(async () => {
  for (const text of texts) await text.dispose();
});
async function load(name: string, options: ModelOptions = {}): Promise<TextModel> {
  const model = await loadModel(checkpointReference(`models/${name}`), { threads: 1, ...options });
  texts.push(await attachText(model));
  return texts.at(-1)!;
}
const r1 = load("mini-r1");
const v3 = load("mini-v3");

const user = (content: string) => [{ role: "user", content }];
async function promptOf(text: TextModel, question: string = QUESTION): Promise<number[]> {
  return text.tokenizer.encode(await text.render(user(question)));
}

interface Run extends Omit<GenerateOptions, "choose"> {
  choose?: GenerateOptions["choose"];
  sequence?: Sequence;
}

/** The tokens behind a prompt, and the figures. */
async function run(model: Model, prompt: readonly number[], { sequence, ...options }: Run = {}) {
  const stats = newStats();
  const own = sequence ?? model.newSequence();
  const tokens: number[] = [];
  const all = { choose: argmax, stopTokens: new Set([1]), ...options, prompt, stats };
  for await (const token of generate(model, own, all)) tokens.push(token);
  if (!sequence) model.release(own);
  return { tokens, stats };
}

async function answer(text: TextModel, options: AnswerOptions & { sequence?: Sequence } = {}) {
  const stats = newStats();
  const events: OutputEvent[] = [];
  for await (const event of text.answer(user(QUESTION), { temperature: 0, stats, ...options }))
    events.push(event);
  return { ...gatherOutput(events), events, stats };
}

function sampled(seed: number): GenerateOptions["choose"] {
  const sampler = new Sampler({ temperature: 1.3, topP: 0.98, seed });
  return (logits, position, history) => sampler.sample(logits, { position, history });
}

describe("answers of the miniatures", () => {
  test("mini-r1 thinks, then answers", async () => {
    const { content, reasoning, reason, stats } = await answer(await r1);
    assert.deepEqual([content, reasoning, reason, stats.finish], [ANSWER, THOUGHT, "stop", "stop"]);
  });

  test("several models at once do not disturb each other", async () => {
    const [a, b] = [await r1, await v3];
    const alone = [await answer(a), await answer(b)];
    const together = await Promise.all([answer(a), answer(b), answer(a)]);
    assert.deepEqual(
      together.map(({ content, reasoning }) => [content, reasoning]),
      [alone[0]!, alone[1]!, alone[0]!].map(({ content, reasoning }) => [content, reasoning]),
    );
  });

  test("a virtual child speaks like the child that was built", async (t) => {
    const folder = `${temporaryFolder(t)}/child`;
    const { status, stderr } = runMain("build", "recipes/mini/r1t-half.yaml", "-o", folder);
    assert.equal(status, 0, stderr);
    const virtual = await loadModel(await virtualChild(await planOf("recipes/mini/r1t-half.yaml", {})), {
      threads: 2,
    });
    const built = await loadModel(checkpointReference(folder), { threads: 1 });
    const prompt = await promptOf(await r1);
    const [a, b] = [await run(virtual, prompt), await run(built, prompt)];
    await Promise.all([virtual.dispose(), built.dispose()]);
    assert.ok(a.tokens.length > 10);
    assert.deepEqual(a.tokens, b.tokens);
  });
});

describe("speculation with the MTP layer", () => {
  test("a draft is chosen as its token will be: by the same function, position and tokens", async () => {
    const { model } = await r1;
    const prompt = await promptOf(await r1);
    const histories = new Map<number, string[]>();
    // Does not look at the logits, so every draft is right.
    const choose: GenerateOptions["choose"] = (_, position, tokens) => {
      histories.set(position, [...(histories.get(position) ?? []), tokens.join()]);
      return 2 + ((tokens.at(-1)! * 31 + position * 7) % 600);
    };
    const { tokens, stats } = await run(model, prompt, {
      ...{ choose, maxTokens: 41, stopTokens: new Set(), speculate: true },
    });
    assert.deepEqual([tokens.length, stats.drafts, stats.accepted], [41, 20, 20]);
    const all = [...prompt, ...tokens];
    for (const [position, seen] of histories)
      for (const history of seen) assert.equal(history, all.slice(0, position).join());
  });

  for (const name of ["mini-r1", "mini-v3"]) {
    test(`${name}: on = off token for token, greedy and sampled, and drafts are kept`, async () => {
      const text = await (name === "mini-r1" ? r1 : v3);
      const prompt = await promptOf(text);
      const on = await run(text.model, prompt, { maxTokens: 60, speculate: true });
      const off = await run(text.model, prompt, { maxTokens: 60, speculate: false });
      assert.deepEqual(on.tokens, off.tokens);
      assert.ok(on.stats.accepted > on.stats.drafts / 2 && on.stats.drafts > 0, JSON.stringify(on.stats));
      assert.equal(off.stats.drafts, 0);
      for (const seed of [1, 2, 3]) {
        const a = await run(text.model, prompt, { maxTokens: 60, choose: sampled(seed), speculate: true });
        const b = await run(text.model, prompt, { maxTokens: 60, choose: sampled(seed), speculate: false });
        assert.deepEqual(a.tokens, b.tokens, `seed ${seed}`);
      }
    });
  }

  test("left to itself, drafts are tried, and go on where they are quicker; the tokens are the same", async () => {
    const { model } = await load("mini-r1");
    const prompt = await promptOf(await r1);
    const off = await run(model, prompt, { speculate: false });
    assert.ok(!("draftsPay" in off.stats));
    const auto = await run(model, prompt);
    assert.deepEqual(auto.tokens, off.tokens);
    const { draftsPay, drafts, accepted } = auto.stats;
    assert.equal(draftsPay, model.draftBalance.pays);
    assert.ok(draftsPay !== undefined && accepted > drafts / 2);
    assert.ok(draftsPay ? drafts > 10 : drafts === 10);
    const next = await run(model, prompt);
    assert.deepEqual(next.tokens, off.tokens);
    assert.equal(next.stats.draftsPay, draftsPay);
    assert.equal(next.stats.drafts > 0, draftsPay);
  });

  for (const chunk of [2, 256]) {
    test(`after steps without a draft the MTP layer catches up (chunks of ${chunk})`, async () => {
      const { model } = await load("mini-r1", { chunk });
      const prompt = await promptOf(await r1);
      let step = 0;
      const balance = {
        pays: undefined,
        add: () => step++,
        get triesDraft() {
          return step % 6 < 2;
        },
      };
      Object.defineProperty(model, "draftBalance", { value: balance });
      const { tokens, stats } = await run(model, prompt);
      assert.deepEqual(tokens, (await run(model, prompt, { speculate: false })).tokens);
      assert.ok(stats.drafts > 10 && stats.accepted >= 0.9 * stats.drafts, JSON.stringify(stats));
    });
  }

  test("chunks of 1, 7 and 256 tokens, with 1 and 2 threads, give the same tokens", async () => {
    const prompt = await promptOf(await r1);
    const { tokens } = await run((await r1).model, prompt);
    for (const options of [{ chunk: 2 }, { chunk: 7, threads: 2 }, { chunk: 1, mtp: false }, { chunk: 1 }]) {
      const { model } = await load("mini-r1", options);
      assert.deepEqual((await run(model, prompt)).tokens, tokens, JSON.stringify(options));
    }
  });
});

describe("prefix cache", () => {
  for (const speculate of [true, false]) {
    test(`a second turn computes only what is new (${speculate ? "with" : "without"} MTP)`, async () => {
      const { model, tokenizer } = await r1;
      const sequence = model.newSequence();
      const prompt = await promptOf(await r1);
      const first = await run(model, prompt, { sequence, speculate });
      const next = [...prompt, ...first.tokens, ...tokenizer.encode("What is 3 + 4?")];
      const second = await run(model, next, { sequence, speculate, maxTokens: 40 });
      assert.ok(second.stats.cachedTokens >= prompt.length + first.tokens.length - 3);
      assert.deepEqual(second.tokens, (await run(model, next, { maxTokens: 40 })).tokens);

      // Another turn in the second one's place: cut in the middle.
      const other = [...next.slice(0, prompt.length + 5), ...prompt.slice(3)];
      const third = await run(model, other, { sequence, speculate, maxTokens: 40 });
      assert.ok(third.stats.cachedTokens >= prompt.length + 3);
      assert.deepEqual(third.tokens, (await run(model, other, { maxTokens: 40 })).tokens);

      // The same prompt again: only its last tokens are computed.
      const again = await run(model, prompt, { sequence, speculate });
      assert.ok(again.stats.cachedTokens >= prompt.length - 2);
      assert.deepEqual(again.tokens, first.tokens);
      model.release(sequence);
    });
  }

  test("a turn with MTP behind one without has all rows of the MTP layer", async () => {
    const { model } = await r1;
    const sequence = model.newSequence();
    const prompt = await promptOf(await r1);
    await run(model, prompt, { sequence, speculate: false });
    const { tokens, stats } = await run(model, prompt, { sequence, speculate: true });
    const fresh = await run(model, prompt, { speculate: true });
    assert.deepEqual([tokens, stats.accepted], [fresh.tokens, fresh.stats.accepted]);
    model.release(sequence);
  });
});

describe("ends of a generation", () => {
  test("a prompt longer than the context is refused before anything is computed", async () => {
    const { model } = await load("mini-r1", { context: 100 });
    const sequence = model.newSequence();
    await assert.rejects(run(model, Array(101).fill(5), { sequence }), {
      name: "CheckpointError",
      code: "context",
      message: "Cannot use the prompt: it has 101 tokens, wanted at most the 100 of the context",
    });
    assert.deepEqual([sequence.tokens.length, sequence.pages.length], [0, 0]);
    await assert.rejects(
      run((await r1).model, Array(1025).fill(5)),
      /has 1025 tokens, wanted at most the 1024/,
    );
    const { tokens, stats } = await run(model, Array(98).fill(5), { stopTokens: new Set() });
    assert.deepEqual([tokens.length, stats.finish], [2, "context"]);
  });

  for (const speculate of [true, false]) {
    test(`maxTokens is kept to the token (${speculate ? "with" : "without"} MTP)`, async () => {
      const { model } = await r1;
      const prompt = await promptOf(await r1);
      const { tokens: all } = await run(model, prompt);
      for (const maxTokens of [1, 2, 3, 8, 9]) {
        const { tokens, stats } = await run(model, prompt, { maxTokens, speculate });
        assert.deepEqual([tokens, stats.finish], [all.slice(0, maxTokens), "length"]);
      }
      const stop = all[6]!;
      const { tokens, stats } = await run(model, prompt, { stopTokens: new Set([stop]), speculate });
      assert.deepEqual([tokens, stats.finish], [all.slice(0, all.indexOf(stop) + 1), "stop"]);
    });

    test(`stop texts are never seen (${speculate ? "with" : "without"} MTP)`, async () => {
      for (const [stop, wanted] of [
        ["= 42", "17 + 25 "],
        ["+ 2", "17 "],
        ["7", "1"],
        ["17", ""],
        ["2.", "17 + 25 = 4"],
        ["2.!", ANSWER],
        ["", ANSWER],
      ] as const) {
        const { content, events, stats } = await answer(await r1, { stop: [stop, "never"], speculate });
        assert.equal(content, wanted, stop);
        assert.equal(stats.finish, "stop");
        assert.equal(events.at(-1)!.kind, "finish");
      }
    });
  }

  test("a signal ends the answer, and the sequence stays of use", async () => {
    const text = await r1;
    const sequence = text.model.newSequence();
    const controller = new AbortController();
    const stats = newStats();
    const events: OutputEvent[] = [];
    const options = { temperature: 0, signal: controller.signal, stats, sequence };
    for await (const event of text.answer(user(QUESTION), options)) {
      events.push(event);
      if (events.length === 5) controller.abort();
    }
    assert.equal(stats.finish, "aborted");
    assert.ok(stats.tokens < 12);
    const { content, stats: later } = await answer(text, { sequence });
    assert.equal(content, ANSWER);
    assert.ok(later.cachedTokens > 0);
    text.model.release(sequence);
    await assert.rejects(answer(text, { signal: AbortSignal.abort() }), { name: "Interrupted" });
  });

  test("whoever stops listening leaves the sequence of use", async () => {
    const { model } = await r1;
    const prompt = await promptOf(await r1);
    const { tokens: all } = await run(model, prompt);
    for (const count of [1, 2, 3, 4, 5]) {
      const sequence = model.newSequence();
      let seen = 0;
      for await (const _ of generate(model, sequence, { prompt, choose: argmax }))
        if (++seen === count) break;
      const { tokens } = await run(model, [...prompt, ...all.slice(0, count)], { sequence });
      assert.deepEqual(tokens, all.slice(count));
      model.release(sequence);
    }
  });
});

test("a pass that cannot be is refused, not computed as another", async () => {
  const model = await loadModel("models/mini-r1", { threads: 1 });
  try {
    const sequence = model.newSequence();
    const append = (parts: number[][], logitRows: number[]) =>
      model.append(
        parts.map((tokens) => ({ sequence, tokens })),
        { logitRows },
      );
    await assert.rejects(append([[5, 6], [7]], [0]), { name: "RangeError", message: /twice in one pass/ });
    for (const row of [2, -1, 0.5])
      await assert.rejects(append([[5, 6]], [row]), {
        name: "RangeError",
        message: /wanted rows from 0 to 1/,
      });
    for (const token of [640, -1, Number.NaN])
      await assert.rejects(append([[token]], [0]), { name: "RangeError", message: /^Cannot embed token/ });
    assert.deepEqual(sequence.tokens, []);
  } finally {
    await model.dispose();
  }
});
