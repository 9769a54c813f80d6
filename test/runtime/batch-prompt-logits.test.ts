/** The logits of a prompt that had to leave the batch in its middle, and was computed again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Batch } from "../../src/runtime/batch.ts";
import { argmax } from "../../src/runtime/generate.ts";
import { PAGE_TOKENS } from "../../src/runtime/latent-cache.ts";
import { loadModel } from "../../src/runtime/load-model.ts";

test("run() tells the logits of a prompt once and in order, also when it is computed twice", async (t) => {
  // 16 pages; few rows in a pass, so that a prompt takes long.
  const model = await loadModel("models/mini-r1", { mtp: false, context: 1024, chunk: 8, threads: 1 });
  t.after(() => model.dispose());
  const batch = new Batch(model, { slots: 2 });
  const prompt = Array.from({ length: 7 * PAGE_TOKENS + 60 }, (_, i) => 40 + ((i * 37) % 500));
  const positions: number[] = [];
  const sums: number[] = [];
  let starts = 0;
  let mostRunning = 0;
  let late: Promise<unknown> | undefined;
  const askLate = () =>
    batch.run({
      ...{ prompt, maxTokens: 0, choose: argmax, onToken: () => true },
      onStart: () => {
        starts++;
      },
      onPromptLogits: (row, position) => {
        positions.push(position);
        sums.push(row.reduce((sum, value) => sum + value, 0));
      },
    });
  // The first one grows from 7 pages to 9 while the second one, of 8, is computed.
  let left = 0;
  await batch.run({
    ...{ prompt: [40, 41, 42], maxTokens: 9 * PAGE_TOKENS, choose: argmax },
    onToken: () => {
      const total = ++left + 3;
      if (total === 7 * PAGE_TOKENS - 3) late = askLate();
      mostRunning = Math.max(mostRunning, batch.numRunning);
      return true;
    },
  });
  await late;
  assert.equal(mostRunning, 2);
  assert.deepEqual(
    positions,
    prompt.map((_, i) => i),
  );
  assert.equal(starts, 1);
  const alone: number[] = [];
  await batch.run({
    ...{ prompt, maxTokens: 0, choose: argmax, onToken: () => true },
    onPromptLogits: (row) => void alone.push(row.reduce((sum, value) => sum + value, 0)),
  });
  assert.deepEqual(sums, alone, "to the same bits");
});
