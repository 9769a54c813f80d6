/**
 * Names of the tensors that a DeepSeek layer is made of, for whoever runs one: the same spelling as in
 * deepseek.ts, by what each tensor does.
 */

const BIAS = ".bias";

export interface AttentionNames {
  inputNorm: string;
  /** One matrix instead of the query LoRA where there is none. */
  query: { down: string; norm: string; up: string } | { whole: string };
  keyValueDown: string;
  keyValueNorm: string;
  keyValueUp: string;
  output: string;
}

export interface SwigluNames {
  gate: string;
  up: string;
  down: string;
}

export interface LayerNames extends AttentionNames {
  outputNorm: string;
  dense: SwigluNames;
  shared: SwigluNames;
  router: string;
  routerBias: string;
  expert(index: number): SwigluNames;
}

export const EMBEDDING = "model.embed_tokens.weight";
export const FINAL_NORM = "model.norm.weight";
export const HEAD = "lm_head.weight";

export function layerNames(layer: number, { hasQueryRank }: { hasQueryRank: boolean }): LayerNames {
  const at = (name: string) => `model.layers.${layer}.${name}.weight`;
  const swiglu = (module: string): SwigluNames => ({
    gate: at(`${module}.gate_proj`),
    up: at(`${module}.up_proj`),
    down: at(`${module}.down_proj`),
  });
  return {
    inputNorm: at("input_layernorm"),
    query: hasQueryRank
      ? {
          down: at("self_attn.q_a_proj"),
          norm: at("self_attn.q_a_layernorm"),
          up: at("self_attn.q_b_proj"),
        }
      : { whole: at("self_attn.q_proj") },
    keyValueDown: at("self_attn.kv_a_proj_with_mqa"),
    keyValueNorm: at("self_attn.kv_a_layernorm"),
    keyValueUp: at("self_attn.kv_b_proj"),
    output: at("self_attn.o_proj"),
    outputNorm: at("post_attention_layernorm"),
    dense: swiglu("mlp"),
    shared: swiglu("mlp.shared_experts"),
    router: at("mlp.gate"),
    routerBias: `model.layers.${layer}.mlp.gate.e_score_correction_bias`,
    expert: (index) => swiglu(`mlp.experts.${index}`),
  };
}

/** What an MTP layer has beside a decoder block (model.md section 10.1). */
export interface MtpNames {
  embeddingNorm: string;
  hiddenNorm: string;
  join: string;
  headNorm: string;
  /** Copies of the main tensors; checkpoints may leave them out. */
  embedding: string;
  head: string;
}

export function mtpNames(layer: number): MtpNames {
  const at = (name: string) => `model.layers.${layer}.${name}.weight`;
  return {
    embeddingNorm: at("enorm"),
    hiddenNorm: at("hnorm"),
    join: at("eh_proj"),
    headNorm: at("shared_head.norm"),
    embedding: at("embed_tokens"),
    head: at("shared_head.head"),
  };
}

/** The bias beside a weight, where attention_bias says that there is one. */
export function biasOf(weight: string): string {
  return weight.replace(/\.weight$/, BIAS);
}

/** Whether a layer is MoE: model.md section 1. MTP layers always are. */
export function isMoeLayer(
  sizes: { numExperts: number; numLayers: number; firstMoeLayer: number; moeEvery: number },
  layer: number,
): boolean {
  if (sizes.numExperts === 0) return false;
  if (layer >= sizes.numLayers) return true;
  return layer >= sizes.firstMoeLayer && layer % sizes.moeEvery === 0;
}
