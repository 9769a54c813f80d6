/**
 * Several answers in one pass: tokens per second of all together, against one at a time, on a small model that ships with
 * the project and on a synthetic DeepSeek-V3 of 2.4 GB.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { Batch } from "../src/runtime/batch.ts";
import { argmax } from "../src/runtime/generate.ts";
import { loadModel } from "../src/runtime/load-model.ts";
import type { Model } from "../src/runtime/model.ts";
import { promptOf } from "./decoding.ts";
import { configTextOf, RUNNING_CONFIG } from "./parents/config.ts";
import { writeParent } from "./parents/write.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";

const SLOTS = [1, 2, 4, 8, 16, 32, 64];
const PROMPT = 24;
const ROUNDS = 2;

interface Subject {
  name: string;
  location: string;
  /** Of an answer. */
  tokens: number;
  /** Most answers at a time: a large model takes minutes otherwise. */
  mostSlots: number;
}

export async function benchBatch(): Promise<string> {
  const place = memoryPlace(8e9);
  const folder = join(place.folder, "model");
  writeParent(folder, { configText: configTextOf(RUNNING_CONFIG), seed: 1, shardBytes: 2e9 });
  const subjects: Subject[] = [
    { name: "mini-r1, 2.9 MB", location: "models/mini-r1", tokens: 100, mostSlots: 64 },
    { name: "synthetic, 2.4 GB", location: folder, tokens: 8, mostSlots: 8 },
  ];
  const rows: string[][] = [];
  for (const { name, location, tokens, mostSlots } of subjects) {
    for (const threads of [1, 2]) {
      const model = await loadModel(checkpointReference(location), {
        ...{ threads, mtp: false, sequences: mostSlots, context: mostSlots * 256 },
      });
      let alone = 0;
      let wanted: number[][] | undefined;
      for (const slots of SLOTS.filter((some) => some <= mostSlots)) {
        const { perSecond, answers } = await run(model, { slots, tokens, count: mostSlots });
        wanted ??= answers;
        alone ||= perSecond;
        assert.deepEqual(answers, wanted, `${slots} at a time gave other tokens than one`);
        rows.push([
          name,
          `${threads}`,
          `${slots}`,
          perSecond.toFixed(0),
          `${(perSecond / alone).toFixed(2)}×`,
        ]);
      }
      await model.dispose();
    }
  }
  removeFolder(place.folder);
  const head = ["model", "threads", "answers at a time", "tokens/s of all", "of one at a time"];
  printTable("batch: several answers in one pass", head, rows);
  return "every answer has the tokens that it has alone";
}

/** `count` answers, so many at a time; the quicker of two rounds. Prompts are part of it. */
async function run(
  model: Model,
  { slots, tokens, count }: { slots: number; tokens: number; count: number },
): Promise<{ perSecond: number; answers: number[][] }> {
  const { vocab } = model.config.sizes;
  let best = { perSecond: 0, answers: [] as number[][] };
  for (let round = 0; round < ROUNDS; round++) {
    const batch = new Batch(model, { slots });
    const answers = Array.from({ length: count }, (): number[] => []);
    const startedAt = performance.now();
    await Promise.all(
      answers.map((answer, i) =>
        batch.run({
          prompt: promptOf(vocab, PROMPT).map((id) => (id + i) % vocab),
          maxTokens: tokens,
          choose: (logits) => argmax(logits),
          onToken: (token) => answer.push(token) > 0,
        }),
      ),
    );
    const perSecond = (count * tokens) / ((performance.now() - startedAt) / 1000);
    if (perSecond > best.perSecond) best = { perSecond, answers };
  }
  return best;
}
