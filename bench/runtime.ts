/**
 * A whole model at work: prefill and decoding in tokens per second on a synthetic DeepSeek-V3 of 2.4 GB in FP8
 * with the proportions of the real one, and what that is of the bandwidth that its active weights need.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { loadModel } from "../src/runtime/load-model.ts";
import type { WeightForm } from "../src/runtime/weights.ts";
import { DECODED, PROMPT_TOKENS, promptOf, roundOf, speedsOf, threadCounts } from "./decoding.ts";
import { activeWeights, configTextOf, RUNNING_CONFIG } from "./parents/config.ts";
import { writeParent } from "./parents/write.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";

const FORMS: readonly WeightForm[] = ["stored", "int8"];

/** Beside weights and cache. */
const AIM_BYTES = 300e6;

export async function benchRuntime(): Promise<string> {
  const place = memoryPlace(8e9);
  const folder = join(place.folder, "model");
  const { fileBytes } = writeParent(folder, {
    configText: configTextOf(RUNNING_CONFIG),
    seed: 1,
    shardBytes: 2e9,
  });
  const active = activeWeights(RUNNING_CONFIG);
  const prompt = promptOf(RUNNING_CONFIG.vocab_size);
  const rows: string[][] = [];
  /** By form of weights: what one thread gives. */
  const single = new Map<WeightForm, { prefill: number; decode: number; tokens: number[] }>();
  const variants = FORMS.flatMap((weights) => threadCounts().map((threads) => ({ weights, threads })));
  for (const { weights, threads } of variants) {
    let cacheBytes = 0;
    const startedAt = performance.now();
    const model = await loadModel(checkpointReference(folder), {
      weights,
      threads,
      context: 1024,
      onEvent: (event) => {
        if (event.kind === "placed") cacheBytes = event.cacheBytes;
      },
    });
    const loading = (performance.now() - startedAt) / 1000;
    const [speed] = await speedsOf([roundOf(model, prompt)]);
    const { prefill, decode, tokens } = speed!;
    const beside = process.memoryUsage().rss - model.need.weightBytes - cacheBytes;
    await model.dispose();
    const first = single.get(weights) ?? { prefill, decode, tokens };
    single.set(weights, first);
    assert.deepEqual(tokens, first.tokens, `${threads} threads gave other tokens than one`);
    rows.push([
      weights === "int8" ? `int8, ${model.dotProduct}` : weights,
      `${threads}`,
      `${(fileBytes / loading / 1e9).toFixed(2)} GB/s`,
      `${prefill.toFixed(1)} (${(prefill / first.prefill).toFixed(2)}×)`,
      `${decode.toFixed(1)} (${(decode / first.decode).toFixed(2)}×)`,
      `${((active * decode) / 1e9).toFixed(2)} G/s`,
      `${(beside / 1e6).toFixed(0)} MB of ${AIM_BYTES / 1e6}`,
    ]);
  }
  removeFolder(place.folder);
  printTable(
    `runtime: ${(fileBytes / 1e9).toFixed(1)} GB in FP8, ${PROMPT_TOKENS} tokens of prompt, ${DECODED} decoded`,
    [
      "weights",
      "threads",
      "loading",
      "prefill tokens/s",
      "decode tokens/s",
      "multiplied",
      "beside weights and cache",
    ],
    rows,
  );
  return "any number of threads gives the tokens of one";
}
