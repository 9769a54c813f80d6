/** Configs of synthetic models: DeepSeek-V3's proportions in sizes that a benchmark can hold. */

/** Of a model of 2.4 GB in FP8, which runs; benchmarks of other parts change some of it. */
export const RUNNING_CONFIG = {
  architectures: ["DeepseekV3ForCausalLM"] as const,
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
    weight_block_size: [128, 128] as const,
  },
};

export type SyntheticConfig = typeof RUNNING_CONFIG;

/** The text of config.json. */
export function configTextOf(config: object): string {
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** Two layers of the real width with fewer experts, of 44 MB each: one dense, one with routed experts. */
export function wideConfig(numExperts: number): SyntheticConfig {
  return {
    ...RUNNING_CONFIG,
    vocab_size: 2048,
    hidden_size: 7168,
    intermediate_size: 2048,
    moe_intermediate_size: 2048,
    num_hidden_layers: 2,
    q_lora_rank: 1536,
    n_routed_experts: numExperts,
    num_experts_per_tok: 8,
  };
}

/** Weights that one token multiplies with: all but the embedding and the experts it is not sent to. */
export function activeWeights(c: SyntheticConfig): number {
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
