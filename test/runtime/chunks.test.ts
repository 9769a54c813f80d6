/** How a prompt is cut changes no bit, as long as attention keeps its form. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";

const PROMPT = Array.from({ length: 200 }, (_, i) => (i * 37 + 5) % 600);

for (const form of ["absorbed", "expanded"] as const) {
  for (const weights of ["stored", "int8"] as const) {
    test(`${weights} weights, ${form} attention: any chunk, in memory or from disk, gives the same bits`, async () => {
      const logitsOf = async (options: ModelOptions) => {
        const model = await loadModel(checkpointReference("models/mini-v3"), {
          threads: 2,
          weights,
          ...options,
        });
        try {
          const sequence = model.newSequence();
          for (let from = 0; ; from += model.maxRows) {
            const tokens = PROMPT.slice(from, from + model.maxRows);
            const wishes = { logitRows: [tokens.length - 1], attention: form };
            const { logits } = await model.append([{ sequence, tokens }], wishes);
            if (sequence.tokens.length === PROMPT.length) return [...logits];
          }
        } finally {
          await model.dispose();
        }
      };
      const expected = await logitsOf({ chunk: 200 });
      for (const chunk of [1, 7, 64])
        assert.deepEqual(await logitsOf({ chunk }), expected, `chunks of ${chunk}`);
      if (weights === "int8") return; // experts on disk stay as they are stored
      assert.deepEqual(await logitsOf({ chunk: 33, expertMemory: 1 }), expected);
    });
  }
}

test("left to itself, a chunk of 512 gives the bits of two of 256, in memory or from disk", async () => {
  const prompt = Array.from({ length: 700 }, (_, i) => (i * 37 + 5) % 600);
  const results: number[][] = [];
  for (const options of [
    { chunk: 256 },
    { chunk: 512 },
    { chunk: 700 },
    { expertMemory: 1 },
  ] as ModelOptions[]) {
    const model = await loadModel(checkpointReference("models/mini-v3"), { threads: 2, ...options });
    const sequence = model.newSequence();
    let last: Float32Array | undefined;
    for (let from = 0; from < prompt.length; from += model.maxRows) {
      const tokens = prompt.slice(from, from + model.maxRows);
      last = (await model.append([{ sequence, tokens }], { logitRows: [tokens.length - 1] })).logits;
    }
    results.push([...last!]);
    await model.dispose();
  }
  for (const logits of results) assert.deepEqual(logits, results[0]);
});
