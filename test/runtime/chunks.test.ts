/** How a prompt is cut changes no bit, as long as attention keeps its form. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel, type ModelOptions } from "../../src/runtime/load-model.ts";

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
