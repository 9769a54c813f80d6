/**
 * Routed experts from disk: decoding and prefill with 25, 50 and 100 % of the experts in memory, against what
 * the disk itself gives when nothing is computed.
 *
 * The model has random weights, so that its router spreads tokens evenly: hits are as rare as they can be.
 * CHIMERA_BENCH_ROUTED: routed experts of a layer, 48 unless said; 640 make a checkpoint of 29 GB. What does not
 * fit into memory is left out.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { openStore } from "../src/checkpoint/stores.ts";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { argmax, generate, newStats } from "../src/runtime/generate.ts";
import { loadModel } from "../src/runtime/load-model.ts";
import { configTextOf, RUNNING_CONFIG, type SyntheticConfig } from "./parents/config.ts";
import { writeParent } from "./parents/write.ts";
import { diskPlace, dropCaches, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";

const PROMPT_TOKENS = 256;
const DECODED = 32;
const THREADS = 2;
const CONFIG: SyntheticConfig = {
  ...RUNNING_CONFIG,
  n_routed_experts: Number(process.env.CHIMERA_BENCH_ROUTED ?? RUNNING_CONFIG.n_routed_experts),
};
/** Bytes of one of a rank's reads: its rows of one matrix of an expert. */
const READ_BYTES = (CONFIG.hidden_size * CONFIG.moe_intermediate_size) / THREADS;
const EXPERT_BYTES = 3 * CONFIG.hidden_size * CONFIG.moe_intermediate_size;
const NUM_EXPERTS = (CONFIG.num_hidden_layers - CONFIG.first_k_dense_replace) * CONFIG.n_routed_experts;
/** Of the machine's memory; beyond it a variant is left out. */
const MOST_MEMORY = 0.75 * totalmem();

/** Any token, so that each goes to other experts: what a model of random weights says itself repeats itself. */
function tokenAt(position: number): number {
  return (position * 7919 + 13) % CONFIG.vocab_size;
}

/** Bytes per second of direct reads at places all over a file, as many at once as a layer asks for. */
async function diskCeiling(folder: string): Promise<number> {
  const name = readdirSync(folder).find((file) => file.endsWith(".safetensors"))!;
  const source = await openStore(folder).open(name, { direct: true });
  const depth = 3 * CONFIG.num_experts_per_tok * THREADS;
  const memory = new WebAssembly.Memory({ initial: Math.ceil((depth * READ_BYTES) / 65536) });
  let [state, left] = [1, 400];
  const reader = async (slot: number): Promise<void> => {
    const into = new Uint8Array(memory.buffer, slot * READ_BYTES, READ_BYTES);
    while (left-- > 0) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const blocks = Math.floor((source.byteLength - READ_BYTES) / source.alignment);
      await source.read(into, Math.floor((state / 2 ** 32) * blocks) * source.alignment);
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: depth }, (_, slot) => reader(slot)));
  const seconds = (performance.now() - startedAt) / 1000;
  await source.close();
  return (400 * READ_BYTES) / seconds;
}

export async function benchExperts(): Promise<string> {
  const place = diskPlace();
  const folder = join(place.folder, "model");
  const configText = configTextOf(CONFIG);
  const { fileBytes } = writeParent(folder, { configText, seed: 1, shardBytes: 2e9 });
  dropCaches();
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, position) => tokenAt(position));
  const rows: string[][] = [];
  const answers: number[][] = [];
  for (const part of [0.25, 0.5, 1, undefined]) {
    if ((part ?? 1) * NUM_EXPERTS * EXPERT_BYTES > MOST_MEMORY) continue;
    const ceiling = await diskCeiling(folder);
    const options = part === undefined ? {} : { expertMemory: Math.ceil(part * NUM_EXPERTS) * EXPERT_BYTES };
    const model = await loadModel(checkpointReference(folder), {
      threads: THREADS,
      context: 1024,
      ...options,
    });
    const sequence = model.newSequence();
    const stats = newStats();
    const tokens: number[] = [];
    const choose = (logits: Float32Array, position: number) => {
      tokens.push(argmax(logits));
      return tokenAt(position);
    };
    for await (const _ of generate(model, sequence, { prompt, stats, choose, maxTokens: DECODED }));
    answers.push(tokens);
    await model.dispose();
    const decode = (stats.tokens - 1) / stats.seconds;
    const use = stats.experts;
    const name = part === undefined ? "all, loaded before" : `${100 * part} %`;
    const cells = [name, (PROMPT_TOKENS / stats.promptSeconds).toFixed(1), decode.toFixed(2)];
    if (use) {
      const { prompt: first, answer } = use;
      const wanted = answer.hits + answer.misses;
      // The least that had to be read: what was wanted and not there, or only because it was read ahead.
      const least = ((answer.misses + answer.ahead) * EXPERT_BYTES) / stats.tokens;
      cells.push(
        `${((100 * answer.hits) / wanted).toFixed(0)} %`,
        `${((100 * answer.ahead) / Math.max(1, answer.guesses)).toFixed(0)} %`,
        `${(answer.bytes / stats.tokens / 1e6).toFixed(0)} MB`,
        `${(first.bytes / stats.promptSeconds / ceiling).toFixed(2)}×`,
        `${(answer.bytes / stats.seconds / ceiling).toFixed(2)}×`,
        `${(ceiling / 1e9).toFixed(2)} GB/s`,
        least > 0 ? (ceiling / least).toFixed(1) : "–",
      );
    }
    rows.push(cells);
  }
  for (const tokens of answers)
    assert.deepEqual(tokens, answers.at(-1), "experts from disk gave other tokens");
  removeFolder(place.folder);
  printTable(
    `experts: ${(fileBytes / 1e9).toFixed(1)} GB on ${place.kind}, ${THREADS} threads, ${PROMPT_TOKENS} tokens of prompt, ${DECODED} decoded`,
    [
      ...["experts in memory", "prefill/s", "decode/s", "hits", "guesses right", "read per token"],
      ...["prefill reads", "decode reads", "disk's ceiling", "its tokens/s"],
    ],
    rows,
  );
  return "tokens do not depend on how many experts are in memory";
}
