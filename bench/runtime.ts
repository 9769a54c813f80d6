/**
 * A whole model at work: prefill and decoding in tokens per second on a synthetic DeepSeek-V3 of 2.4 GB in FP8
 * with the proportions of the real one, and what that is of the bandwidth that its active weights need.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { argmax, generate, newStats } from "../src/runtime/generate.ts";
import { loadModel } from "../src/runtime/load-model.ts";
import type { Model } from "../src/runtime/model.ts";
import { writeParent } from "./parents/write.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";

/** The sizes of config.json that figures are computed from. */
export interface SyntheticConfig extends Record<string, unknown> {
  vocab_size: number;
  hidden_size: number;
  intermediate_size: number;
  moe_intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  q_lora_rank: number;
  kv_lora_rank: number;
  qk_nope_head_dim: number;
  qk_rope_head_dim: number;
  v_head_dim: number;
  n_routed_experts: number;
  n_shared_experts: number;
  num_experts_per_tok: number;
  first_k_dense_replace: number;
}

export const CONFIG: SyntheticConfig = {
  architectures: ["DeepseekV3ForCausalLM"],
  model_type: "deepseek_v3",
  vocab_size: 32_000,
  hidden_size: 2048,
  intermediate_size: 5632,
  moe_intermediate_size: 1024,
  num_hidden_layers: 8,
  num_nextn_predict_layers: 0,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  q_lora_rank: 768,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  n_routed_experts: 48,
  n_shared_experts: 1,
  num_experts_per_tok: 6,
  n_group: 8,
  topk_group: 4,
  topk_method: "noaux_tc",
  scoring_func: "sigmoid",
  norm_topk_prob: true,
  routed_scaling_factor: 2.5,
  first_k_dense_replace: 1,
  moe_layer_freq: 1,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  hidden_act: "silu",
  attention_bias: false,
  tie_word_embeddings: false,
  torch_dtype: "bfloat16",
  quantization_config: {
    quant_method: "fp8",
    fmt: "e4m3",
    activation_scheme: "dynamic",
    weight_block_size: [128, 128],
  },
};

const PROMPT_TOKENS = 512;
const DECODED = 48;

/** The first is what the others are compared with. */
const SETTINGS = [
  { threads: 1, weights: "stored" },
  { threads: 2, weights: "stored" },
  { threads: 1, weights: "int8" },
  { threads: 2, weights: "int8" },
] as const;

/** Weights that one token multiplies with: all but the embedding and the experts it is not sent to. */
export function activeWeights(): number {
  const c = CONFIG;
  const heads = c.num_attention_heads;
  const attention =
    c.q_lora_rank * (c.hidden_size + heads * (c.qk_nope_head_dim + c.qk_rope_head_dim)) +
    c.hidden_size * (c.kv_lora_rank + c.qk_rope_head_dim) +
    heads * (c.qk_nope_head_dim + c.v_head_dim) * c.kv_lora_rank +
    c.hidden_size * heads * c.v_head_dim;
  const expert = 3 * c.hidden_size * c.moe_intermediate_size;
  const moeLayers = c.num_hidden_layers - c.first_k_dense_replace;
  const experts = moeLayers * (c.num_experts_per_tok + c.n_shared_experts) * expert;
  const dense = c.first_k_dense_replace * 3 * c.hidden_size * c.intermediate_size;
  return c.num_hidden_layers * attention + experts + dense + c.vocab_size * c.hidden_size;
}

async function measure(model: Model): Promise<{ prefill: number; decode: number; tokens: number[] }> {
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, i) => (i * 7919 + 13) % CONFIG.vocab_size);
  let [prefill, decode, tokens] = [0, 0, [] as number[]];
  for (let round = 0; round < 2; round++) {
    const sequence = model.newSequence();
    const stats = newStats();
    tokens = [];
    const stream = generate(model, sequence, { prompt, stats, choose: argmax, maxTokens: DECODED });
    for await (const token of stream) tokens.push(token);
    model.release(sequence);
    prefill = Math.max(prefill, PROMPT_TOKENS / stats.promptSeconds);
    decode = Math.max(decode, (stats.tokens - 1) / stats.seconds);
  }
  return { prefill, decode, tokens };
}

export async function benchRuntime(): Promise<string> {
  const place = memoryPlace(8e9);
  const folder = join(place.folder, "model");
  const configText = `${JSON.stringify(CONFIG, null, 2)}\n`;
  const { fileBytes } = writeParent(folder, { configText, seed: 1, shardBytes: 2e9 });
  const rows: string[][] = [];
  const answers: number[][] = [];
  let single = { prefill: 0, decode: 0 };
  for (const { threads, weights } of SETTINGS) {
    const startedAt = performance.now();
    const model = await loadModel(checkpointReference(folder), { threads, weights, context: 1024 });
    const loading = (performance.now() - startedAt) / 1000;
    const { prefill, decode, tokens } = await measure(model);
    const resident = process.memoryUsage().rss;
    const need = model.need.weightBytes;
    const form = weights === "int8" ? `int8, ${model.dotProduct}` : weights;
    await model.dispose();
    if (weights === "stored") answers.push(tokens); // int8 may well say something else
    if (rows.length === 0) single = { prefill, decode };
    rows.push([
      ...[`${threads}`, form],
      `${(fileBytes / loading / 1e9).toFixed(2)} GB/s`,
      `${prefill.toFixed(1)} (${(prefill / single.prefill).toFixed(2)}×)`,
      `${decode.toFixed(1)} (${(decode / single.decode).toFixed(2)}×)`,
      `${((activeWeights() * decode) / 1e9).toFixed(2)} G/s`,
      `${((resident - need) / 1e6).toFixed(0)} MB`,
    ]);
  }
  assert.deepEqual(answers[1], answers[0], "two threads gave other tokens than one");
  removeFolder(place.folder);
  printTable(
    `runtime: ${(fileBytes / 1e9).toFixed(1)} GB in FP8, ${PROMPT_TOKENS} tokens of prompt, ${DECODED} decoded`,
    ["threads", "weights", "loading", "prefill tokens/s", "decode tokens/s", "speed", "beside the weights"],
    rows,
  );
  return "two threads give the tokens of one";
}
