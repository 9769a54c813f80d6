/**
 * Files that we write in llama.cpp, where node-llama-cpp is installed (bench/peer/llama.ts says how): it must load
 * them, cut text into the same ids, and give the greedy tokens that our runtime gives on the same file.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { differenceOf, ourLogits } from "../../bench/peer/compare.ts";
import { openPeer, type Peer } from "../../bench/peer/llama.ts";
import { convertToGguf, type OutputType } from "../../src/convert/convert.ts";
import { stitchGguf } from "../../src/convert/stitch.ts";
import { modelReference } from "../../src/library/model-source.ts";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { argmax, generate } from "../../src/runtime/generate.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import { attachText } from "../../src/runtime/talk.ts";
import { writeRandomGguf } from "../gguf/random-gguf.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const QUESTIONS = ["What is 17 + 25?", "Spell music backwards.", "What is the capital of Spain?"];
const TEXTS = [
  "Why do cats purr, and who told you 1234567 times?",
  "你好！ Is 3 < 5?\n\nSay  yes.",
  "<think>\nÆsop’s e\u0301 😀\t--x</think><｜end▁of▁sentence｜>",
];
const MAX_TOKENS = 96;
/**
 * llama.cpp rounds activations to the type of the weights it multiplies: where two tokens are so near, either may win. How
 * many answers are equal to the last token is told at the end: 41 of 42 on a CPU with AVX-512, all but one in Q8_0.
 */
const NEAR: Record<OutputType, number> = { f32: 0, f16: 0.02, bf16: 0.2, q8_0: 0.2 };

const peer = await openPeer();
const skip = peer === undefined && "node-llama-cpp is not installed: bench/peer/llama.ts says how";
const answers = { equal: 0, all: 0 };
after(() => {
  if (answers.all > 0) console.log(`${answers.equal} of ${answers.all} answers are equal to the last token`);
  return peer?.dispose();
});

/** Greedy answers of both on one file, over the chat template that lies in it. */
async function compareAnswers(path: string, llama: Peer, type: OutputType): Promise<void> {
  const text = await attachText(await loadModel(checkpointReference(path), { threads: 1 }));
  const model = await llama.load(path);
  const context = await model.newContext({ contextSize: 512, threads: 1 });
  try {
    for (const piece of TEXTS) assert.deepEqual(model.tokenize(piece), text.tokenizer.encode(piece), piece);
    for (const content of QUESTIONS) {
      const rendered = await text.render([{ role: "user", content }]);
      const prompt = text.tokenizer.encode(rendered);
      assert.deepEqual(model.tokenize(rendered), prompt, `ids of ${rendered}`);
      const ours: number[] = [];
      const sequence = text.model.newSequence();
      const options = { prompt, choose: argmax, maxTokens: MAX_TOKENS };
      for await (const token of generate(text.model, sequence, options)) {
        ours.push(token);
        if (text.tokenizer.eos.includes(token)) break;
      }
      text.model.release(sequence);
      const { tokens } = await context.generate(prompt, ours.length);
      const at = tokens.findIndex((token, i) => token !== ours[i]);
      answers.all++;
      if (at < 0) {
        answers.equal++;
        continue;
      }
      const logits = await ourLogits(text.model, [...prompt, ...ours.slice(0, at)]);
      const last = logits.subarray(logits.length - text.model.config.sizes.vocab);
      const gap = last[ours[at]!]! - last[tokens[at]!]!;
      assert.ok(gap <= NEAR[type], `the answer to ${content} parts at token ${at}, by ${gap}`);
    }
  } finally {
    await context.dispose();
    await model.dispose();
    await text.dispose();
  }
}

describe("llama.cpp on files of convertToGguf()", { skip }, () => {
  const folder = temporaryFolder({ after });
  for (const name of ["mini-v3", "mini-r1", "mini-r1-1776"]) {
    for (const type of ["f32", "f16", "bf16", "q8_0"] as const satisfies readonly OutputType[]) {
      test(`${name} as ${type}: ids and greedy tokens are ours`, async () => {
        const path = join(folder, `${name}-${type}.gguf`);
        await convertToGguf(checkpointReference(join(ROOT, "models", name)), path, { type });
        await compareAnswers(path, peer!, type);
      });
    }
  }

  test("a stitched child: greedy tokens are those of our runtime", async () => {
    for (const name of ["mini-v3", "mini-r1"])
      await convertToGguf(checkpointReference(join(ROOT, "models", name)), join(folder, `${name}.gguf`), {
        type: "bf16",
      });
    const text = `version: 1
parents: { v3: ./mini-v3.gguf, r1: ./mini-r1.gguf }
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
`;
    const plan = await planRecipe(parseRecipe(text), { folder });
    const path = join(folder, "child.gguf");
    await stitchGguf(plan, path);
    await compareAnswers(path, peer!, "bf16");
  });

  test("the child of a recipe, assembled as it is written", async () => {
    const path = join(folder, "r1t.gguf");
    await convertToGguf(await modelReference(join(ROOT, "recipes/mini/r1t-half.yaml")), path, {
      type: "bf16",
    });
    await compareAnswers(path, peer!, "bf16");
  });

  test("Q4_K, Q5_K, Q6_K and Q8_0: its logits are those of what we decode, but for its rounding of activations", async () => {
    const kType = (name: string) =>
      name.includes("down") ? "Q6_K" : name.includes("exps") ? "Q4_K" : "Q5_K";
    const path = await writeRandomGguf(folder, "random", { typeOf: kType, seed: 11 });
    const ours = await loadModel(checkpointReference(path), { threads: 1 });
    const model = await peer!.load(path);
    const context = await model.newContext({ contextSize: 64, threads: 1 });
    try {
      const tokens = Array.from({ length: 16 }, (_, i) => (i * 37) % 600);
      const { relative } = await differenceOf(await ourLogits(ours, tokens), { context, tokens });
      assert.ok(relative < 0.05, `relative error ${relative}`);
    } finally {
      await context.dispose();
      await model.dispose();
      await ours.dispose();
    }
  });
});
