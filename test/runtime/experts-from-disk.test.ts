/** Routed experts that are read as they are needed: the same numbers, whatever is in memory. */
import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, type TestContext, test } from "node:test";
import { virtualChild } from "../../src/build/virtual-child.ts";
import { planOf } from "../../src/cli/plan.ts";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import type { WeightReference } from "../../src/logical/weight-source.ts";
import { argmax, generate, newStats } from "../../src/runtime/generate.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import type { LoadEvent, ModelOptions } from "../../src/runtime/model-options.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { E4M3_VALUES, E5M2_VALUES } from "../../src/tensor/float8.ts";
import { encodeF16 } from "../../src/tensor/float16.ts";
import { readCheckpointTensors, type TensorContent, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CASES, expectedOf, promptsOf } from "./golden-forward.ts";
import { unsteadyReference } from "./unsteady-weights.ts";

const MINI = "models/mini-r1";
const PROMPT = [0, 5, 8, 100, 33, 12, 55, 23, 76, 400, 18];
const models: Model[] = [];
after(async () => {
  for (const model of models) await model.dispose();
});

async function load(reference: WeightReference | string, options: ModelOptions = {}): Promise<Model> {
  const source = typeof reference === "string" ? checkpointReference(reference) : reference;
  const model = await loadModel(source, { threads: 1, ...options });
  models.push(model);
  return model;
}

/** Logits of all rows of some sequences in one pass each, then of one more token. */
async function logitsOf(model: Model, prompts: readonly (readonly number[])[]): Promise<number[][]> {
  const all: number[][] = [];
  for (const tokens of prompts) {
    const sequence = model.newSequence();
    for (let from = 0; from < tokens.length; from += model.maxRows) {
      const some = tokens.slice(from, from + model.maxRows);
      const { logits } = await model.append([{ sequence, tokens: some }], {
        logitRows: some.map((_, i) => i),
      });
      all.push([...logits]);
    }
    model.release(sequence);
  }
  return all;
}

async function streamOf(model: Model, maxTokens = 40) {
  const sequence = model.newSequence();
  const stats = newStats();
  const tokens: number[] = [];
  const wishes = { prompt: PROMPT, choose: argmax, maxTokens, stats };
  for await (const token of generate(model, sequence, wishes)) tokens.push(token);
  model.release(sequence);
  return { tokens, stats };
}

/** mini-r1 with other tensors, in one shard whose data begins at an odd place, and another config. */
function changed(
  t: TestContext,
  change: (tensors: Map<string, TensorContent>) => void,
  config: object = {},
): string {
  const tensors = readCheckpointTensors(MINI);
  change(tensors);
  const odd = { name: "a", dtype: "U8" as const, shape: [1], bytes: new Uint8Array(1) };
  const list = [odd, ...[...tensors].map(([name, content]) => ({ name, ...content }))];
  return writeCheckpoint(join(temporaryFolder(t), "model"), {
    config: { ...(JSON.parse(readFileSync(join(MINI, "config.json"), "utf8")) as object), ...config },
    shards: [{ name: "model.safetensors", tensors: list }],
  });
}

const isExpert = (name: string) => /\.mlp\.experts\.\d+\..*\.weight$/.test(name);

for (const name of CASES) {
  test(`${name}: the least memory gives the very logits of all experts in memory`, async () => {
    const folder = `test/golden/forward/${name}`;
    const prompts = promptsOf(expectedOf(name)).slice(0, 2);
    const chunk = 16;
    const expected = await logitsOf(await load(folder, { chunk }), prompts);
    for (const options of [{ threads: 1 }, { threads: 3 }, { kernels: "scalar" as const }]) {
      const model = await load(folder, { chunk, expertMemory: 1, ...options });
      const { numExperts, numSlots, workingSet } = model.experts!;
      assert.ok(numSlots === workingSet && numSlots <= numExperts);
      assert.deepEqual(await logitsOf(model, prompts), expected);
      const use = model.expertUse()!;
      assert.ok(use.misses > 0 && use.bytes > 0, JSON.stringify(use));
    }
  });
}

describe("a trained model", () => {
  test("gives the same tokens with a quarter, half and all of its experts in memory", async () => {
    const { tokens } = await streamOf(await load(MINI));
    assert.equal(tokens.length, 40);
    const bytes: number[] = [];
    for (const expertMemory of [48 * 24_576, 24 * 24_576, 12 * 24_576]) {
      for (const threads of [1, 2]) {
        const model = await load(MINI, { expertMemory, threads });
        assert.equal(model.experts!.numSlots, expertMemory / 24_576);
        const got = await streamOf(model);
        assert.deepEqual(got.tokens, tokens);
        const { prompt, answer } = got.stats.experts!;
        // Three layers with four experts to a token; the last token goes through no layer.
        assert.equal(answer.hits + answer.misses, 39 * 3 * 4);
        assert.ok(prompt.misses > 0 && prompt.bytes > 0 && answer.waiting >= 0);
        if (threads === 1) bytes.push(prompt.bytes + answer.bytes);
      }
    }
    assert.ok(bytes[0]! < bytes[1]! && bytes[1]! < bytes[2]!, `less memory, more reads: ${bytes}`);
  });

  test("with all experts in memory each is read at most once", async () => {
    const model = await load(MINI, { expertMemory: 1e9 });
    await streamOf(model);
    const before = model.expertUse()!;
    await streamOf(model);
    const after = model.expertUse()!;
    assert.ok(before.misses + before.guesses <= 48);
    assert.ok(after.misses + after.guesses <= 48 && after.hits > before.hits);
    assert.ok(after.bytes <= 48 * (24_576 + 3 * 8192));
  });

  test("the MTP layer stays out by itself, and is lossless when it is wanted", async () => {
    const off = await load(MINI, { expertMemory: 1 });
    assert.equal(off.hasMtp, false);
    const on = await load(MINI, { expertMemory: 1, mtp: true });
    assert.equal(on.hasMtp, true);
    assert.equal(on.experts!.numExperts, 64);
    const [a, b] = [await streamOf(off), await streamOf(on)];
    assert.deepEqual(a.tokens, b.tokens);
    assert.ok(b.stats.accepted > 0);
  });

  test("chunks larger than what memory holds go through it in waves", async () => {
    const expected = await logitsOf(await load(MINI), [PROMPT]);
    const model = await load(MINI, { expertMemory: 1, threads: 2 });
    assert.deepEqual(await logitsOf(model, [PROMPT]), expected);
    assert.ok(model.expertUse()!.misses > model.experts!.numSlots);
  });

  test("a chunk that goes in waves reads each expert once: what is read ahead is not read in vain", async () => {
    const model = await load(MINI, { expertMemory: 1 });
    const tokens = Array.from({ length: 200 }, (_, i) => (i * 37 + 5) % 600); // to all experts of each layer
    const { logits } = await model.append([{ sequence: model.newSequence(), tokens }], { logitRows: [199] });
    const { misses, guesses, ahead } = model.expertUse()!;
    assert.ok(
      misses + guesses <= 52 && ahead > 0,
      `${misses} + ${guesses} reads of 48 experts, ${ahead} ahead`,
    );
    const all = await load(MINI);
    const whole = await all.append([{ sequence: all.newSequence(), tokens }], { logitRows: [199] });
    assert.deepEqual(logits, whole.logits);
  });

  test("memory for a single expert, with one of the layer's already on its way", async (t) => {
    const only = { num_hidden_layers: 2, num_experts_per_tok: 1, num_nextn_predict_layers: 0 };
    const isBehind = (name: string) => /\.layers\.[2-9]\./.test(name);
    const cut = (tensors: Map<string, TensorContent>) => {
      for (const name of tensors.keys()) if (isBehind(name)) tensors.delete(name);
    };
    const folder = changed(t, cut, only); // a dense layer, then one with experts
    const prompts = PROMPT.flatMap((_, from) => [PROMPT.slice(from), PROMPT.slice(0, from + 1)]);
    const expected = await logitsOf(await load(folder), prompts);
    const slow = unsteadyReference({ reference: checkpointReference(folder), delay: 2, failing: 0 });
    const model = await load(slow, { expertMemory: 1 });
    assert.equal(model.experts!.numSlots, 1);
    assert.deepEqual(await logitsOf(model, prompts), expected);
  });

  test("next layers' experts are read ahead, and some of them are right", async () => {
    const model = await load(MINI, { expertMemory: 24 * 24_576 });
    const { stats } = await streamOf(model);
    const { guesses, ahead } = stats.experts!.answer;
    assert.ok(guesses > 0 && ahead > guesses / 4, `${ahead} of ${guesses} guesses`);
  });

  test("beside weights in int8, they stay as they are stored", async () => {
    const options = { weights: "int8", expertMemory: 1 } as const;
    const [one, two] = [
      await load(MINI, options),
      await load(MINI, { ...options, threads: 2, expertMemory: 1e6 }),
    ];
    const exact = await logitsOf(await load(MINI), [PROMPT]);
    const logits = await logitsOf(one, [PROMPT]);
    assert.deepEqual(await logitsOf(two, [PROMPT]), logits);
    assert.notDeepEqual(logits, exact);
  });

  test("several sequences in one pass", async () => {
    const [all, few] = [await load(MINI), await load(MINI, { expertMemory: 1, threads: 2 })];
    const results: number[][] = [];
    for (const model of [all, few]) {
      const parts = [PROMPT, PROMPT.slice(3), [7]].map((tokens) => ({
        sequence: model.newSequence(),
        tokens,
      }));
      results.push([...(await model.append(parts, { logitRows: [10, 18, 19] })).logits]);
    }
    assert.deepEqual(results[1], results[0]);
  });
});

describe("experts come from", () => {
  for (const recipe of ["r1t", "r1t-half"]) {
    test(`the parents of a child that is not built: ${recipe}`, async () => {
      const reference = virtualChild(await planOf(`recipes/mini/${recipe}.yaml`, {}));
      const { tokens } = await streamOf(await load(reference), 12);
      const model = await load(reference, { expertMemory: 1, threads: 2 });
      assert.deepEqual((await streamOf(model, 12)).tokens, tokens);
      assert.ok(model.expertUse()!.bytes > 0);
    });
  }

  test("places in the file that are on no boundary at all", async (t) => {
    const folder = changed(t, () => {});
    const expected = await streamOf(await load(MINI));
    const model = await load(folder, { expertMemory: 1, threads: 2 });
    assert.deepEqual((await streamOf(model)).tokens, expected.tokens);
  });

  test("tensors of other types, one of them widened by its scales when it is read", async (t) => {
    /** gate in F32, up in F16, down in E5M2 with scales; or down in F32, multiplied out here. */
    const variant = (down: "F8_E5M2" | "F32") =>
      changed(t, (tensors) => {
        for (const [name, { bytes, shape }] of tensors) {
          if (!isExpert(name)) continue;
          const scales = new Float32Array(tensors.get(`${name}_scale_inv`)!.bytes.slice().buffer);
          assert.equal(scales.length, 1);
          const values = Float32Array.from(bytes, (code) => E4M3_VALUES[code]! / 1024);
          const halves = Uint16Array.from(values, encodeF16);
          const codes = Uint8Array.from(halves, (half) => half >> 8); // E5M2 is the upper half of F16
          const products = Float32Array.from(codes, (code) => E5M2_VALUES[code]! * scales[0]!);
          const put = (dtype: Dtype, content: ArrayBufferView) =>
            tensors.set(name, { dtype, shape, bytes: new Uint8Array(content.buffer as ArrayBuffer) });
          if (name.includes("gate_proj")) put("F32", values);
          else if (name.includes("up_proj")) put("F16", halves);
          else put(down, down === "F32" ? products : codes);
          if (tensors.get(name)!.dtype !== "F8_E5M2") tensors.delete(`${name}_scale_inv`);
        }
      });
    const folder = variant("F8_E5M2");
    const expected = await logitsOf(await load(variant("F32")), [PROMPT]);
    for (const options of [{}, { threads: 3 }, { expertMemory: 1 }, { expertMemory: 1, threads: 3 }])
      assert.deepEqual(await logitsOf(await load(folder, options), [PROMPT]), expected);
  });
});

describe("what goes wrong", () => {
  test("a number that is not finite is found when its expert comes, every time", async (t) => {
    const folder = changed(t, (tensors) => {
      for (const [name, { bytes }] of tensors)
        if (/layers\.1\.mlp\.experts.*weight$/.test(name)) bytes[5] = 0x7f;
    });
    const model = await load(folder, { expertMemory: 1, threads: 2 });
    for (let i = 0; i < 2; i++) {
      await assert.rejects(streamOf(model), (error: Error & { code?: string }) => {
        assert.match(
          error.message,
          /^Cannot use "model\.layers\.1\.mlp\.experts\.\d+\.\w+\.weight" of .* \[0, 5\] is not finite/,
        );
        return error.code === "not-finite";
      });
    }
  });

  test("reads that fail now and then, in one thread or another: the pass fails, the next one is right", async () => {
    const expected = await logitsOf(await load(MINI), [PROMPT]);
    const reference = unsteadyReference({ reference: checkpointReference(MINI), delay: 2, failing: 0.002 });
    const model = await load(reference, { expertMemory: 1, threads: 3 });
    let [failed, done] = [0, 0];
    for (let i = 0; i < 40; i++) {
      const sequence = model.newSequence();
      try {
        const { logits } = await model.append([{ sequence, tokens: PROMPT }], {
          logitRows: PROMPT.map((_, row) => row),
        });
        assert.deepEqual([[...logits]], expected);
        done++;
      } catch (error) {
        assert.equal((error as Error).message, "a read failed");
        failed++;
      }
      model.release(sequence);
    }
    assert.ok(failed > 2 && done > 2, `${failed} failed, ${done} done`);
  });

  test("a file that is cut while the model runs", async (t) => {
    const folder = join(temporaryFolder(t), "model");
    cpSync(MINI, folder, { recursive: true });
    const model = await load(folder, { expertMemory: 1 });
    for (const name of readdirSync(folder))
      if (name.endsWith(".safetensors")) truncateSync(join(folder, name), 20_000);
    await assert.rejects(streamOf(model), /it ends at byte|Cannot read/);
  });

  test("a file that is written to while the model runs, all its numbers finite", async (t) => {
    const folder = join(temporaryFolder(t), "model");
    cpSync(MINI, folder, { recursive: true });
    const model = await load(folder, { expertMemory: 1 });
    await model.append([{ sequence: model.newSequence(), tokens: PROMPT }]);
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".safetensors"))) {
      const path = join(folder, file);
      writeFileSync(path, readFileSync(path).fill(0x30, 300_000));
    }
    await assert.rejects(streamOf(model), { code: "changed", message: /wanted no change$/ });
  });

  test("too little memory for all experts: says how much of them would fit, and that fits", async (t) => {
    let total = 0;
    let part = 0;
    const onEvent = (event: LoadEvent) => {
      if (event.kind !== "placed") return;
      const { weightBytes, expertBytes, bufferBytes } = event.need;
      total = weightBytes + expertBytes + bufferBytes + event.cacheBytes;
      part = expertBytes;
    };
    const options = { chunk: 8, context: 64, mtp: false, threads: 1 };
    await load(MINI, { ...options, onEvent });
    const all = total;
    await load(MINI, { ...options, onEvent, expertMemory: 1 });
    assert.ok(total < all && part > 0, "a few experts take less memory than all of them");
    t.mock.method(process, "availableMemory", () => all - 10);
    const fits = { expertMemory: 0 };
    await assert.rejects(load(MINI, options), (error: Error & { code?: string; note?: string }) => {
      assert.equal(error.code, "not-enough-memory");
      const told = /--expert-memory (\d+)kB would fit$/.exec(error.note ?? "");
      assert.ok(told, error.note);
      fits.expertMemory = Number(told[1]) * 1e3;
      return true;
    });
    await streamOf(await load(MINI, { ...options, expertMemory: fits.expertMemory }), 4);
  });
});
