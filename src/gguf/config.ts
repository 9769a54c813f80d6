/**
 * The config.json that the metadata of a GGUF amounts to: the keys of a DeepSeek checkpoint for `deepseek2`, for
 * any other architecture its name alone.
 *
 * Numbers that GGUF keeps as float32 are given as the shortest decimals that stand for them, so that 1e-6 is 1e-6
 * again. What older files leave out is what llama.cpp takes for it.
 */
import { MetadataReader } from "./metadata.ts";
import type { GgufModel, GgufTensor } from "./model.ts";

export const ARCHITECTURE = "deepseek2";
/** Numbers of `expert_gating_func`. */
export const GATING = { softmax: 1, sigmoid: 2 } as const;

type Config = Record<string, unknown>;

/** Throws CheckpointError for keys that are missing or of another type. */
export function configOf(model: Pick<GgufModel, "metadata" | "label" | "tensors">): Config {
  const general = new MetadataReader(model);
  const architecture = general.string("general.architecture") ?? "unknown";
  if (architecture !== ARCHITECTURE)
    return { model_type: `gguf-${architecture}`, torch_dtype: torchDtype(model.tensors) };
  const reader = new MetadataReader(model, `${ARCHITECTURE}.`);
  const hasRouterBias = [...model.tensors.keys()].some((name) => name.endsWith(".exp_probs_b.bias"));
  return {
    architectures: [hasRouterBias ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"],
    model_type: hasRouterBias ? "deepseek_v3" : "deepseek_v2",
    ...sizesOf(reader, model.tensors),
    ...expertsOf(reader, hasRouterBias),
    rms_norm_eps: shortest(reader.needed("attention.layer_norm_rms_epsilon")),
    ...ropeOf(reader),
    max_position_embeddings: reader.needed("context_length"),
    attention_bias: false,
    hidden_act: "silu",
    ...idsOf(general),
    torch_dtype: torchDtype(model.tensors),
  };
}

/** What most of the file is when it is read: quantised tensors are decoded to float32. */
function torchDtype(tensors: ReadonlyMap<string, GgufTensor>): string {
  const bytes = { float32: 0, float16: 0, bfloat16: 0 };
  for (const { type, byteLength } of tensors.values())
    bytes[type === "F16" ? "float16" : type === "BF16" ? "bfloat16" : "float32"] += byteLength;
  return Object.entries(bytes).reduce((most, each) => (each[1] > most[1] ? each : most))[0];
}

function sizesOf(reader: MetadataReader, tensors: ReadonlyMap<string, GgufTensor>): Config {
  const ropeDim = reader.needed("rope.dimension_count");
  // Files from before MLA's own keys say by head what newer ones say of the cache.
  const keyLength = reader.number("attention.key_length_mla") ?? reader.needed("attention.key_length");
  const valueLength = reader.number("attention.value_length_mla") ?? reader.needed("attention.value_length");
  const numMtpLayers = reader.number("nextn_predict_layers") ?? 0;
  return {
    vocab_size: tensors.get("token_embd.weight")?.shape[0] ?? reader.needed("vocab_size"),
    hidden_size: reader.needed("embedding_length"),
    intermediate_size: reader.needed("feed_forward_length"),
    num_hidden_layers: reader.needed("block_count") - numMtpLayers,
    num_nextn_predict_layers: numMtpLayers,
    num_attention_heads: reader.needed("attention.head_count"),
    num_key_value_heads: reader.needed("attention.head_count"),
    q_lora_rank: reader.number("attention.q_lora_rank") ?? null,
    kv_lora_rank: reader.needed("attention.kv_lora_rank"),
    qk_nope_head_dim: keyLength - ropeDim,
    qk_rope_head_dim: ropeDim,
    v_head_dim: valueLength,
    tie_word_embeddings: !tensors.has("output.weight"),
  };
}

function expertsOf(reader: MetadataReader, hasRouterBias: boolean): Config {
  const numExperts = reader.number("expert_count") ?? 0;
  if (numExperts === 0) return { n_routed_experts: null };
  const gating = reader.number("expert_gating_func") ?? (hasRouterBias ? GATING.sigmoid : GATING.softmax);
  const numGroups = reader.number("expert_group_count") || 1;
  return {
    n_routed_experts: numExperts,
    moe_intermediate_size: reader.needed("expert_feed_forward_length"),
    n_shared_experts: reader.number("expert_shared_count") ?? 0,
    num_experts_per_tok: reader.needed("expert_used_count"),
    n_group: numGroups,
    topk_group: reader.number("expert_group_used_count") || 1,
    first_k_dense_replace: reader.number("leading_dense_block_count") ?? 0,
    moe_layer_freq: 1,
    routed_scaling_factor: shortest(reader.number("expert_weights_scale") || 1),
    norm_topk_prob: reader.flag("expert_weights_norm") ?? false,
    scoring_func: gating === GATING.sigmoid ? "sigmoid" : gating === GATING.softmax ? "softmax" : gating,
    topk_method: hasRouterBias ? "noaux_tc" : numGroups > 1 ? "group_limited_greedy" : "greedy",
  };
}

function ropeOf(reader: MetadataReader): Config {
  const theta = shortest(reader.needed("rope.freq_base"));
  const type = reader.string("rope.scaling.type");
  if (type === undefined || type === "none") return { rope_theta: theta, rope_scaling: null };
  const logMultiplier = reader.number("rope.scaling.yarn_log_multiplier") ?? 0;
  const amplitude = shortest(Math.fround(10 * shortest(logMultiplier)));
  const beta = (name: string) => {
    const value = reader.number(`rope.scaling.yarn_${name}`);
    return value === undefined ? {} : { [name]: shortest(value) };
  };
  return {
    rope_theta: theta,
    rope_scaling: {
      type,
      factor: shortest(reader.needed("rope.scaling.factor")),
      ...beta("beta_fast"),
      ...beta("beta_slow"),
      mscale: amplitude,
      mscale_all_dim: amplitude,
      original_max_position_embeddings: reader.needed("rope.scaling.original_context_length"),
    },
  };
}

function idsOf(general: MetadataReader): Config {
  const id = (key: string, name: string) => {
    const value = general.number(`tokenizer.ggml.${name}`);
    return value === undefined ? {} : { [key]: value };
  };
  return { ...id("bos_token_id", "bos_token_id"), ...id("eos_token_id", "eos_token_id") };
}

/** The shortest decimal that is this float32. */
function shortest(value: number): number {
  const single = Math.fround(value);
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return short;
  }
  return single;
}
