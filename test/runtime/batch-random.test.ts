/**
 * Batches of random jobs: prompts that begin alike, small caches, aborts, readers that fail. Every step of every answer
 * has the bits that it has by itself on another model, computed here token by token; and in the end no page is lost.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Interrupted } from "../../src/base/errors.ts";
import { Batch, type BatchJob } from "../../src/runtime/batch.ts";
import { pagesFor } from "../../src/runtime/latent-cache.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";

const CONTEXT = 1024;
const JOBS = 10;
const BATCHES = 2;

/** Marsaglia's xorshift: the same jobs whenever the test runs. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** FNV-1a over the bits of a row. */
function bitsOf(row: Float32Array): number {
  const words = new Uint32Array(row.slice().buffer);
  let hash = 0x811c9dc5;
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193);
  return hash >>> 0;
}

interface Plan {
  prompt: number[];
  maxTokens: number;
  salt: number;
  wantsPromptLogits: boolean;
  /** Tokens after which it is aborted; or how many of all jobs, so that those that wait are met too. */
  abortsAfter: number | undefined;
  abortsAtStep: number | undefined;
  failsAt: number | undefined;
}

/** What a job was told. */
interface Told {
  tokens: number[];
  steps: number[];
  promptRows: number[];
  starts: number;
  end: unknown;
}

/** What prompts begin with. */
function stemsOf(random: (below: number) => number): number[][] {
  return Array.from({ length: 3 }, () => Array.from({ length: 700 }, () => 3 + random(600)));
}

/** `grow`: short prompts with long answers, which outgrow the cache together. */
function plansOf(
  random: (below: number) => number,
  { stems, grow }: { stems: readonly number[][]; grow: boolean },
): Plan[] {
  const token = () => 3 + random(600);
  return Array.from({ length: JOBS }, () => {
    const stem = stems[random(stems.length)]!;
    // Often exactly whole pages, and one more or less.
    const usual = random(3) === 0 ? 64 * (1 + random(8)) + random(3) - 1 : random(600);
    const cut = grow ? random(40) : usual;
    const own = Array.from({ length: random(4) === 0 ? 0 : random(90) }, token);
    const kind = random(9);
    const maxTokens = grow ? 150 + random(80) : 1 + random(random(5) === 0 ? 150 : 20);
    return {
      prompt: [...stem.slice(0, cut), ...own, ...(cut + own.length === 0 ? [5] : [])],
      ...{ maxTokens: kind === 0 ? random(20) : maxTokens, salt: random(600), wantsPromptLogits: kind === 0 },
      abortsAfter: kind === 1 ? random(20) : undefined,
      abortsAtStep: kind === 2 || kind === 3 ? random(200) : undefined,
      failsAt: kind === 4 ? random(20) : undefined,
    };
  });
}

/** The likeliest of some: never an end, and not the same for ever. */
function choose(logits: Float32Array, position: number, salt: number): number {
  let best = -1;
  for (let id = 3; id < 640; id++)
    if ((id + position + salt) % 5 !== 0 && (best < 0 || logits[id]! > logits[best]!)) best = id;
  return best;
}

/** From the definition: the prompt in chunks, then one token after the other, by itself. */
async function alone(
  model: Model,
  { prompt, maxTokens, salt, wantsPromptLogits }: Plan,
  { most }: { most: number },
): Promise<Told> {
  const told: Told = { tokens: [], steps: [], promptRows: [], starts: 0, end: undefined };
  const sequence = model.newSequence();
  const { vocab } = model.config.sizes;
  let last: Float32Array = new Float32Array();
  for (let from = 0; from < prompt.length; from += model.maxRows) {
    const tokens = prompt.slice(from, from + model.maxRows);
    const rows = wantsPromptLogits ? tokens.map((_, row) => row) : [tokens.length - 1];
    const { logits } = await model.append([{ sequence, tokens }], { logitRows: rows });
    const each = rows.map((_, i) => logits.slice(i * vocab, (i + 1) * vocab));
    if (wantsPromptLogits) told.promptRows.push(...each.map(bitsOf));
    last = each.at(-1)!;
  }
  while (told.tokens.length < Math.min(maxTokens, most) && prompt.length + told.tokens.length < CONTEXT) {
    told.steps.push(bitsOf(last));
    const token = choose(last, prompt.length + told.tokens.length, salt);
    told.tokens.push(token);
    if (told.tokens.length < most)
      last = (await model.append([{ sequence, tokens: [token] }], { logitRows: [0] })).logits;
  }
  model.release(sequence);
  return told;
}

/** All jobs of a batch, some of them asked for while others are answered. */
async function together(batch: Batch, plans: readonly Plan[], random: (below: number) => number) {
  let step = 0;
  const controllers = plans.map(() => new AbortController());
  const all: Told[] = plans.map(() => ({ tokens: [], steps: [], promptRows: [], starts: 0, end: undefined }));
  const running: Promise<void>[] = [];
  const late: number[] = [];
  let numWaiting = 0;
  let hasSentAway = false;
  const look = () => {
    hasSentAway ||= batch.numWaiting > numWaiting;
    numWaiting = batch.numWaiting;
  };
  const ask = (index: number) => {
    const plan = plans[index]!;
    const told = all[index]!;
    const job: BatchJob = {
      ...{ prompt: plan.prompt, maxTokens: plan.maxTokens, signal: controllers[index]!.signal },
      choose: (logits, position, tokens) => {
        assert.equal(position, tokens.length);
        if (told.tokens.length === plan.failsAt) throw new TypeError("the reader fails");
        told.steps.push(bitsOf(logits));
        return choose(logits, position, plan.salt);
      },
      onToken: (token) => {
        told.tokens.push(token);
        step++;
        look();
        if (told.tokens.length === plan.abortsAfter) controllers[index]!.abort();
        for (const [i, { abortsAtStep }] of plans.entries())
          if (abortsAtStep === step) controllers[i]!.abort();
        if (step % 7 === 0 && late.length > 0) ask(late.pop()!);
        return true;
      },
      onStart: () => void told.starts++,
      ...(plan.wantsPromptLogits
        ? {
            onPromptLogits: (logits: Float32Array, position: number) => {
              assert.equal(position, told.promptRows.length, "in order, each once");
              told.promptRows.push(bitsOf(logits));
            },
          }
        : {}),
    };
    running.push(
      batch.run(job).then(
        (reason) => {
          told.end = reason;
        },
        (error) => {
          told.end = error;
        },
      ),
    );
    numWaiting = batch.numWaiting;
  };
  for (let i = 0; i < plans.length; i++) {
    if (i > 3 && random(3) === 0) late.push(i);
    else ask(i);
  }
  while (running.length > 0 || late.length > 0) {
    if (running.length === 0) ask(late.pop()!);
    await running.shift();
  }
  return { all, hasSentAway };
}

describe("Batch, random jobs", () => {
  const models = new Map<number, Model>();
  const fresh = async (chunk: number) =>
    loadModel("models/mini-r1", { mtp: false, context: CONTEXT, chunk, threads: 1 });
  before(async () => {
    for (const chunk of [48, 100, 256]) models.set(chunk, await fresh(chunk));
  });
  after(async () => {
    for (const model of models.values()) await model.dispose();
  });

  for (const [seed, chunk, slots] of [
    [1, 48, 6],
    [2, 100, 5],
    [3, 256, 32],
    [4, 100, 32],
  ] as const)
    test(`run() gives each answer the bits that it has alone, and all pages back: seed ${seed}`, async () => {
      const random = randomOf(0x9e3779b9 ^ (seed * 7919));
      const model = await fresh(chunk);
      const reference = models.get(chunk)!;
      try {
        const ends = new Map<string, number>();
        const stems = stemsOf(random);
        const grow = seed === 4;
        for (let round = 0; round < (grow ? 1 : BATCHES); round++) {
          const plans = plansOf(random, { stems, grow });
          const batch = new Batch(model, { slots });
          const { all, hasSentAway } = await together(batch, plans, random);
          if (grow) assert.ok(hasSentAway, "all had room");
          assert.deepEqual([batch.numRunning, batch.numWaiting], [0, 0]);
          for (const [i, told] of all.entries()) {
            const plan = plans[i]!;
            const what = `seed ${seed}, batch ${round}, job ${i}`;
            const wanted = await alone(reference, plan, { most: told.steps.length });
            const { end } = told;
            const kind = end instanceof Error ? end.constructor.name : String(end);
            ends.set(kind, (ends.get(kind) ?? 0) + 1);
            const count = told.tokens.length;
            assert.deepEqual(told.tokens, wanted.tokens.slice(0, count), what);
            assert.deepEqual(told.steps, wanted.steps, what);
            assert.deepEqual(told.promptRows, wanted.promptRows.slice(0, told.promptRows.length), what);
            if (kind === "length" || kind === "context") {
              const isFull = plan.prompt.length + count === CONTEXT;
              assert.ok(kind === "context" ? isFull : count === plan.maxTokens, what);
              assert.equal(told.promptRows.length, wanted.promptRows.length, what);
              assert.equal(told.starts, 1, what);
            } else if (kind === "TypeError") assert.equal(count, plan.failsAt, what);
            else if (kind === "aborted") assert.ok(count > 0 && count < plan.maxTokens, what);
            else {
              assert.ok(end instanceof Interrupted, `${what}: ${kind}`);
              assert.equal(count, 0, what);
            }
            if (plan.failsAt !== undefined && plan.failsAt < plan.maxTokens)
              assert.ok(kind === "TypeError" || kind === "context", `${what}: ${kind}`);
          }
          const { total, free, kept } = model.pages;
          assert.equal(free + kept, total, "pages are lost");
          assert.equal(reference.pages.free, total);
        }
        assert.ok(
          (ends.get("length") ?? 0) >= (grow ? 3 : JOBS) && ends.size >= 2,
          JSON.stringify([...ends]),
        );
        assert.ok(model.pages.kept > 0, "nothing was kept");
        const sequence = model.newSequence();
        while (sequence.tokens.length < CONTEXT) {
          const tokens = Array.from({ length: Math.min(chunk, CONTEXT - sequence.tokens.length) }, () => 5);
          await model.append([{ sequence, tokens }]);
        }
        assert.deepEqual(model.pages, { total: pagesFor(CONTEXT), free: 0, kept: 0 });
        model.release(sequence);
        assert.equal(model.pages.free, pagesFor(CONTEXT));
      } finally {
        await model.dispose();
      }
    });
});
