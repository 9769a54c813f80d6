/** Two models on one text: rows are compared with their own, and nothing is held by a comparison that stops. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";
import { perplexity } from "../../src/runtime/score.ts";

const WINDOW = Array.from({ length: 50 }, (_, i) => (i * 37 + 5) % 600);

async function load(t: TestContext, options: ModelOptions) {
  const model = await loadModel(checkpointReference("models/mini-v3"), {
    threads: 1,
    mtp: false,
    ...options,
  });
  t.after(() => model.dispose());
  return model;
}

test("a model does not diverge from itself, though it takes other chunks", async (t) => {
  const models = [await load(t, { chunk: 16 }), await load(t, { chunk: 40 })] as const;
  const { reports, divergence } = await perplexity(models, [WINDOW, WINDOW.slice(0, 20)]);
  assert.deepEqual(
    reports.map(({ tokens }) => tokens),
    [68, 68],
  );
  assert.equal(reports[0]!.nll, reports[1]!.nll);
  assert.deepEqual([divergence!.tokens, divergence!.largestKl, divergence!.top1Agreement], [68, 0, 1]);
});

test("a comparison that is stopped gives back the memory of both models", async (t) => {
  const models = [
    await load(t, { chunk: 16, context: 1024 }),
    await load(t, { chunk: 16, context: 1024 }),
  ] as const;
  const stop = new AbortController();
  const stopped = perplexity(models, [WINDOW], { signal: stop.signal, onTokens: () => stop.abort() });
  await assert.rejects(stopped, { name: "Interrupted" });
  for (const model of models) {
    const sequence = model.newSequence();
    for (let done = 0; done < 1024; done += 16) await model.append([{ sequence, tokens: Array(16).fill(5) }]); // the whole cache
  }
});
