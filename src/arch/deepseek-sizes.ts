/**
 * The sizes of a DeepSeek-V2 or -V3 model, read from its config by the rules of model.md section 1.
 *
 * What the shapes follow from must be there: a missing key is a problem, never a silent default, save where
 * DeepSeek's own later releases leave a key out.
 */
import type { ConfigReader } from "./config.ts";

/** The sizes that shapes follow from. */
export interface DeepseekSizes {
  vocab: number;
  hidden: number;
  numLayers: number;
  numMtpLayers: number;
  numHeads: number;
  /** 0: one q_proj instead of the query LoRA. */
  queryRank: number;
  latent: number;
  nopeDim: number;
  ropeDim: number;
  valueDim: number;
  denseWidth: number;
  expertWidth: number;
  /** Routed experts of a layer. 0: every layer is dense. */
  numExperts: number;
  numSharedExperts: number;
  firstMoeLayer: number;
  moeEvery: number;
  hasAttentionBias: boolean;
  hasRouterBias: boolean;
  isTied: boolean;
}

/** Sizes from a config; zeros stand for what the reader has noted as a problem. */
export function readSizes(reader: ConfigReader, familyId: string): DeepseekSizes {
  const numExperts = reader.count("n_routed_experts", 0, { none: 0 });
  const isMoe = numExperts > 0;
  const method = reader.word("topk_method", ["noaux_tc", "greedy", "group_limited_greedy"]);
  const scoring = reader.word("scoring_func", ["sigmoid", "softmax"]);
  return {
    vocab: reader.count("vocab_size", 1),
    hidden: reader.count("hidden_size", 1),
    numLayers: reader.count("num_hidden_layers", 1),
    numMtpLayers: reader.count("num_nextn_predict_layers", 0, { absent: 0, none: 0 }),
    numHeads: reader.count("num_attention_heads", 1),
    queryRank: reader.count("q_lora_rank", 0, { none: 0 }),
    latent: reader.count("kv_lora_rank", 1),
    nopeDim: reader.count("qk_nope_head_dim", 1),
    ropeDim: reader.count("qk_rope_head_dim", 1),
    valueDim: reader.count("v_head_dim", 1),
    denseWidth: reader.count("intermediate_size", 1),
    expertWidth: isMoe ? reader.count("moe_intermediate_size", 1) : 0,
    numExperts,
    numSharedExperts: isMoe ? reader.count("n_shared_experts", 0, { none: 0 }) : 0,
    firstMoeLayer: isMoe ? reader.count("first_k_dense_replace", 0) : 0,
    moeEvery: isMoe ? reader.count("moe_layer_freq", 1, { absent: 1 }) : 1,
    hasAttentionBias: reader.flag("attention_bias"),
    // Newer V3 configs leave both keys out; their gate is always noaux_tc.
    hasRouterBias: method ? method === "noaux_tc" : familyId === "deepseek_v3" && scoring !== "softmax",
    isTied: reader.flag("tie_word_embeddings"),
  };
}
