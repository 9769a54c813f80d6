/**
 * Self-speculation by the MTP layer: what it gives on a trained model, whose drafts mean something, and what it
 * costs on the synthetic one, whose passes take as long as real ones. Streams with and without must be equal.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { type GenerateStats, generate, newStats } from "../src/runtime/generate.ts";
import { loadModel } from "../src/runtime/load-model.ts";
import type { Model } from "../src/runtime/model.ts";
import { Sampler } from "../src/runtime/sampler.ts";
import { attachText, type TextModel } from "../src/runtime/talk.ts";
import { promptOf } from "./decoding.ts";
import { configTextOf, RUNNING_CONFIG } from "./parents/config.ts";
import { writeParent } from "./parents/write.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";
import { quickestOf } from "./timing.ts";

const TRAINED = ["mini-r1", "mini-v3"];
const QUESTIONS = ["What is 17 + 25?", "What is 48 + 31?", "What is 9 + 64?", "What is 55 + 38?"];
const TEMPERATURES = [0, 1];
const ANSWER_TOKENS = 200;
const ROUNDS = 3;

const THREADS = 2;
/** Cached tokens of the synthetic model's passes. */
const CACHED = 256;
const PASS_ROUNDS = 12;

export async function benchMtp(): Promise<string> {
  await measureTrained();
  await measurePasses();
  return "streams with and without the MTP layer are equal";
}

interface Answer {
  tokens: number[][];
  stats: GenerateStats;
}

async function measureTrained(): Promise<void> {
  const rows: string[][] = [];
  for (const name of TRAINED) {
    const folder = fileURLToPath(new URL(`../../models/${name}`, import.meta.url));
    const text = await attachText(await loadModel(checkpointReference(folder)));
    assert.ok(text.model.hasMtp, `${name} has no MTP layer`);
    for (const temperature of TEMPERATURES) {
      const run = (speculate: boolean) => answers(text, { temperature, speculate });
      const plain = await run(false);
      const drafted = await run(true);
      assert.deepEqual(drafted.tokens, plain.tokens, `${name}: speculation changed an answer`);
      const seconds = { without: plain.stats.seconds, with: drafted.stats.seconds };
      for (let round = 0; round < ROUNDS; round++) {
        seconds.without = Math.min(seconds.without, (await run(false)).stats.seconds);
        seconds.with = Math.min(seconds.with, (await run(true)).stats.seconds);
      }
      const { tokens, drafts, accepted } = drafted.stats;
      rows.push([
        ...[name, `${temperature}`, `${tokens}`],
        (tokens / seconds.without).toFixed(0),
        (tokens / seconds.with).toFixed(0),
        `${(seconds.without / seconds.with).toFixed(2)}×`,
        `${((100 * accepted) / drafts).toFixed(0)} %`,
      ]);
    }
    await text.dispose();
  }
  printTable(
    "mtp: trained models",
    ["model", "temperature", "tokens", "tokens/s without", "with", "gain", "accepted"],
    rows,
  );
}

/** All questions, each on an empty cache; the seed is the question's number. */
async function answers(
  text: TextModel,
  { temperature, speculate }: { temperature: number; speculate: boolean },
): Promise<Answer> {
  const total = newStats();
  const all: number[][] = [];
  for (const [seed, content] of QUESTIONS.entries()) {
    const prompt = text.tokenizer.encode(await text.render([{ role: "user", content }]));
    const sampler = new Sampler({ temperature, seed });
    const sequence = text.model.newSequence();
    const stats = newStats();
    const tokens: number[] = [];
    const stream = generate(text.model, sequence, {
      ...{ prompt, stats, speculate, maxTokens: ANSWER_TOKENS },
      stopTokens: new Set(text.tokenizer.eos),
      choose: (logits, position, history) => sampler.sample(logits, { position, history }),
    });
    for await (const token of stream) tokens.push(token);
    text.model.release(sequence);
    all.push(tokens);
    for (const key of ["tokens", "seconds", "drafts", "accepted"] as const) total[key] += stats[key];
  }
  return { tokens: all, stats: total };
}

/**
 * Passes of the synthetic model, with an MTP layer added. A step with a draft is a pass of two rows and an MTP
 * pass of one row, or of two where the draft was accepted; it gives 1 + a tokens where a step without gives one.
 */
async function measurePasses(): Promise<void> {
  const place = memoryPlace(8e9);
  const folder = join(place.folder, "model");
  const config = { ...RUNNING_CONFIG, num_nextn_predict_layers: 1 };
  writeParent(folder, { configText: configTextOf(config), seed: 1, shardBytes: 2e9 });
  const model = await loadModel(checkpointReference(folder), { threads: THREADS, context: 1024 });
  const times = await passTimes(model);
  await model.dispose();
  removeFolder(place.folder);
  const { one, two, mtpOne, mtpTwo } = times;
  const breakEven = (two + mtpOne - one) / (one - (mtpTwo - mtpOne));
  const gainAt = (rate: number) => ((1 + rate) * one) / (two + mtpOne + rate * (mtpTwo - mtpOne));
  const ms = (seconds: number) => `${(1000 * seconds).toFixed(1)} ms`;
  printTable(
    `mtp: passes of the synthetic model, ${THREADS} threads, ${CACHED} tokens cached`,
    ["1 row", "2 rows", "MTP, 1 row", "MTP, 2 rows", "gain at 70 %", "at 90 %", "break-even"],
    [
      [
        ...[one, two, mtpOne, mtpTwo].map(ms),
        ...[0.7, 0.9].map((rate) => `${gainAt(rate).toFixed(2)}×`),
        breakEven > 1 || breakEven < 0 ? "none" : `${(100 * breakEven).toFixed(0)} %`,
      ],
    ],
  );
}

async function passTimes(model: Model): Promise<Record<"one" | "two" | "mtpOne" | "mtpTwo", number>> {
  const { vocab, hidden } = model.config.sizes;
  const prompt = promptOf(vocab, CACHED);
  const sequence = model.newSequence();
  const { normed } = await model.append([{ sequence, tokens: prompt }]);
  const states = normed.slice(0, (CACHED - 1) * hidden);
  await model.appendMtp(sequence, { tokens: prompt.slice(1), hidden: states }, []);
  const mtpLength = sequence.mtpLength;
  // Other tokens each time: other experts, as in a text.
  let next = 0;
  const fresh = (count: number) => Array.from({ length: count }, () => (next++ * 104729 + 7) % vocab);
  const main = (count: number) => ({
    prepare: () => model.truncate(sequence, CACHED),
    run: () =>
      model.append([{ sequence, tokens: fresh(count) }], {
        logitRows: Array.from({ length: count }, (_, i) => i),
      }),
  });
  const mtp = (count: number) => ({
    prepare: () => {
      sequence.mtpLength = mtpLength;
    },
    run: () =>
      model.appendMtp(sequence, { tokens: fresh(count), hidden: states.subarray(0, count * hidden) }, [
        count - 1,
      ]),
  });
  return quickestOf({ one: main(1), two: main(2), mtpOne: mtp(1), mtpTwo: mtp(2) }, { rounds: PASS_ROUNDS });
}
