/** Whole models with INT8 weights: the same bits however they are computed, and how far from the stored weights. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";
import { type DivergenceReport, perplexity, windowsOf } from "../../src/runtime/score.ts";
import { attachText } from "../../src/runtime/talk.ts";
import { CASES, expectedOf, loadGolden, logitsOf, promptsOf, range } from "./golden-forward.ts";

const models = new Map<string, Promise<Model>>();
after(async () => {
  for (const model of models.values()) await (await model).dispose();
});

/** Tests that want the same model share it. */
function loadInt8(name: string, options: ModelOptions = {}): Promise<Model> {
  const key = JSON.stringify([name, options]);
  const model = models.get(key) ?? loadGolden(name, { weights: "int8", ...options });
  models.set(key, model);
  return model;
}

function say(t: TestContext, name: string, report: DivergenceReport): DivergenceReport {
  const { meanKl, medianKl, top1Agreement } = report;
  const kl = `KL mean ${meanKl.toExponential(2)}, median ${medianKl.toExponential(2)}`;
  t.diagnostic(`${name}: ${kl}, top-1 ${(100 * top1Agreement).toFixed(2)} %`);
  return report;
}

for (const name of CASES) {
  describe(`INT8 weights of ${name}`, () => {
    const prompts = promptsOf(expectedOf(name));
    const [prompt] = prompts as [number[]];

    test("in one go = in chunks = token by token = in a batch, bit for bit", async () => {
      const model = await loadInt8(name);
      const whole = await logitsOf(model, prompt, [prompt.length]);
      assert.ok(whole.every(Number.isFinite));
      for (const pieces of [[2, 7, 1, 30, prompt.length], prompt.map(() => 1)]) {
        assert.deepEqual(await logitsOf(model, prompt, pieces), whole);
      }
      const parts = prompts.map((tokens) => ({ sequence: model.newSequence(), tokens }));
      const logitRows = range(prompts.length * prompt.length);
      const { logits } = await model.append(parts, { logitRows, attention: "absorbed" });
      assert.deepEqual(logits.slice(0, whole.length), whole);
    });

    test("1 thread = 2 threads = 3 threads, relaxed = scalar, bit for bit, and not those of stored weights", async () => {
      const results: Float32Array[] = [];
      for (const options of [{}, { threads: 2 }, { threads: 3 }, { kernels: "scalar" as const }]) {
        const model = await loadInt8(name, options);
        assert.equal(model.dotProduct, options.kernels ?? "relaxed");
        results.push(await logitsOf(model, prompt, [20, prompt.length]));
      }
      for (const result of results) assert.deepEqual(result, results[0]);
      const stored = await loadInt8(name, { weights: "stored" });
      assert.notDeepEqual(await logitsOf(stored, prompt, [20, prompt.length]), results[0]);
    });

    test("KL divergence from the stored weights is small, and above 0", async (t) => {
      const [stored, int8] = [await loadInt8(name, { weights: "stored" }), await loadInt8(name)];
      const { divergence } = await perplexity([int8, stored], prompts);
      // Random weights: a token that is sent to another expert than before changes everything behind it.
      const { meanKl, top1Agreement } = say(t, name, divergence!);
      assert.ok(meanKl > 0 && meanKl < 0.3, `mean KL ${meanKl}`);
      assert.ok(top1Agreement > 0.65, `top-1 ${top1Agreement}`);
    });
  });
}

for (const name of ["mini-v3", "mini-r1", "mini-r1-1776"]) {
  test(`INT8 weights of ${name}, which is trained, predict a text as the stored ones do`, async (t) => {
    const reference = checkpointReference(`models/${name}`);
    const load = (weights: "stored" | "int8") => {
      const model = loadModel(reference, { threads: 1, weights });
      models.set(`${name} ${weights}`, model);
      return model;
    };
    const [int8, stored] = [await load("int8"), await load("stored")];
    const { tokenizer } = await attachText(stored);
    const text = Array.from(
      { length: 40 },
      (_, i) => `${i + 11} + 25 = ${i + 36}. Let me double-check.\n`,
    ).join("");
    const windows = windowsOf(tokenizer.encode(text), { length: 128, bos: tokenizer.bos });
    const { reports, divergence } = await perplexity([int8, stored], windows);
    const { meanKl, medianKl, top1Agreement } = say(t, name, divergence!);
    assert.ok(meanKl > 0 && meanKl < 0.05, `mean KL ${meanKl}`);
    assert.ok(medianKl < 0.001, `median KL ${medianKl}`);
    assert.ok(top1Agreement > 0.93, `top-1 ${top1Agreement}`);
    const [ours, exact] = [reports[0]!.nll, reports[1]!.nll];
    assert.ok(Math.abs(ours - exact) < 0.03 * exact, `${ours} and ${exact} nats a token`);
  });
}

test("INT8 weights take less memory where more than a byte is stored, in a scratch of a few MB", async () => {
  const model = await loadInt8("v3-f32");
  const stored = await loadInt8("v3-f32", { weights: "stored" });
  assert.ok(model.need.weightBytes < 0.6 * stored.need.weightBytes);
  assert.ok(model.need.bufferBytes < stored.need.bufferBytes + 16e6);
  assert.deepEqual([model.weights, stored.weights], ["int8", "stored"]);
});

test("the MTP layer runs with INT8 weights, to the same bits in one go and one by one", async () => {
  const model = await loadInt8("v3-fp8");
  const { hidden } = model.config.sizes;
  const tokens = [5, 9, 2];
  const states = Float32Array.from({ length: tokens.length * hidden }, (_, i) => Math.sin(i));
  const whole = await model.appendMtp(model.newSequence(), { tokens, hidden: states }, range(3));
  const sequence = model.newSequence();
  for (const [i, token] of tokens.entries()) {
    const state = states.subarray(i * hidden, (i + 1) * hidden);
    const { logits } = await model.appendMtp(sequence, { tokens: [token], hidden: state }, [0]);
    const { vocab } = model.config.sizes;
    assert.deepEqual(logits, whole.logits.slice(i * vocab, (i + 1) * vocab));
  }
});

test("INT8 refuses weights that are not finite as stored ones are", async () => {
  const { module, data } = checkpointReference("test/golden/forward/v3-f32");
  await assert.rejects(
    loadModel(
      { module: new URL("./poisoned-weights.js", import.meta.url).href, data: { module, data } },
      {
        threads: 1,
        weights: "int8",
      },
    ),
    /Cannot use "model\.layers\.1\..*o_proj\.weight".*element \[3, 2\] is not finite/,
  );
});
