/**
 * DeepSeek-V2 and -V3 as llama.cpp's architecture `deepseek2` has them: keys, names, and where each tensor's
 * rows come from. Learnt from its converter and its loader:
 *
 * - attention is the absorbed form, one head of keys as wide as a cache row; kv_b_proj is cut by heads into
 *   k_b, transposed, and v_b;
 * - the experts of a layer are one tensor; norms, router and its bias are F32;
 * - RoPE's pairs stay neighbours, as they are in the checkpoint;
 * - YaRN: the logarithm's factor is 0.1 · mscale_all_dim; an amplitude other than 1 cannot be said;
 * - MTP layers are left out. The vocabulary is made up, as who measures feeds ids; without one no context opens.
 */
import { EMBEDDING, FINAL_NORM, HEAD, isMoeLayer, layerNames } from "../../src/arch/deepseek-modules.ts";
import type { ModelConfig } from "../../src/arch/model-config.ts";
import {
  bool,
  f32,
  string,
  strings,
  type TensorEntry,
  type TensorType,
  u32,
  type Value,
} from "./container.ts";

const ARCHITECTURE = "deepseek2";
/** `general.file_type` of files that are mostly of a type. */
const FILE_TYPES: Record<TensorType, number> = { F32: 0, Q8_0: 7, BF16: 32 };
const GATING = { softmax: 1, sigmoid: 2 } as const;

/** Rows of a weight of the checkpoint; all of them without `rows`. */
export interface Part {
  weight: string;
  rows?: { from: number; to: number };
  isTransposed?: boolean;
}

export interface Tensor extends TensorEntry {
  /** One after another they are the tensor. */
  parts: readonly Part[];
}

export function metadataOf(config: ModelConfig, type: TensorType): Map<string, Value> {
  const { sizes, router, rope } = config;
  const keyLength = sizes.latent + sizes.ropeDim;
  const entries: [string, Value][] = [
    ["block_count", u32(sizes.numLayers)],
    ["context_length", u32(config.maxPositions)],
    ["vocab_size", u32(sizes.vocab)],
    ["embedding_length", u32(sizes.hidden)],
    ["feed_forward_length", u32(sizes.denseWidth)],
    ["leading_dense_block_count", u32(router ? sizes.firstMoeLayer : sizes.numLayers)],
    ["attention.head_count", u32(sizes.numHeads)],
    ["attention.head_count_kv", u32(1)],
    ["attention.layer_norm_rms_epsilon", f32(config.epsilon)],
    ["attention.kv_lora_rank", u32(sizes.latent)],
    ["attention.key_length", u32(keyLength)],
    ["attention.value_length", u32(sizes.latent)],
    ["attention.key_length_mla", u32(sizes.nopeDim + sizes.ropeDim)],
    ["attention.value_length_mla", u32(sizes.valueDim)],
    ["rope.dimension_count", u32(sizes.ropeDim)],
    ["rope.freq_base", f32(rope.theta)],
    ["expert_feed_forward_length", u32(router ? sizes.expertWidth : sizes.denseWidth)],
    ["expert_shared_count", u32(sizes.numSharedExperts)],
  ];
  if (sizes.queryRank > 0) entries.push(["attention.q_lora_rank", u32(sizes.queryRank)]);
  if (router) {
    entries.push(
      ["expert_count", u32(sizes.numExperts)],
      ["expert_used_count", u32(router.numChosen)],
      ["expert_gating_func", u32(GATING[router.scoring])],
      ["expert_weights_scale", f32(router.scale)],
      ["expert_weights_norm", bool(router.normalise)],
    );
    if (router.numGroups > 1) {
      entries.push(
        ["expert_group_count", u32(router.numGroups)],
        ["expert_group_used_count", u32(router.numGroupsKept)],
      );
    }
  }
  const { yarn } = rope;
  if (yarn) {
    entries.push(
      ["rope.scaling.type", string("yarn")],
      ["rope.scaling.factor", f32(yarn.factor)],
      ["rope.scaling.original_context_length", u32(yarn.originalPositions)],
      ["rope.scaling.yarn_log_multiplier", f32(0.1 * yarn.mscaleAllDim)],
      ["rope.scaling.yarn_beta_fast", f32(yarn.betaFast)],
      ["rope.scaling.yarn_beta_slow", f32(yarn.betaSlow)],
    );
  }
  return new Map<string, Value>([
    ["general.architecture", string(ARCHITECTURE)],
    ["general.file_type", u32(FILE_TYPES[type])],
    ["general.quantization_version", u32(2)],
    ...entries.map(([key, value]): [string, Value] => [`${ARCHITECTURE}.${key}`, value]),
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.pre", string("deepseek-v3")],
    ["tokenizer.ggml.tokens", strings(Array.from({ length: sizes.vocab }, (_, id) => `<${id}>`))],
    ["tokenizer.ggml.merges", strings([])],
  ]);
}

/** Throws RangeError for a model that the format has no words for. */
export function tensorsOf(config: ModelConfig, type: TensorType): Tensor[] {
  requireExpressible(config);
  const { sizes } = config;
  const tensors = [
    matrix("token_embd", type, { weight: EMBEDDING, shape: [sizes.vocab, sizes.hidden] }),
    vector("output_norm.weight", FINAL_NORM, sizes.hidden),
  ];
  if (!sizes.isTied)
    tensors.push(matrix("output", type, { weight: HEAD, shape: [sizes.vocab, sizes.hidden] }));
  for (let layer = 0; layer < sizes.numLayers; layer++) tensors.push(...layerTensors(config, type, layer));
  return tensors;
}

function requireExpressible({ rope, sizes, router }: ModelConfig): void {
  const refuse = (what: string, wanted: string): never => {
    throw new RangeError(`Cannot write the model as GGUF: ${what}, wanted ${wanted}`);
  };
  const { yarn } = rope;
  if (yarn && yarn.mscale !== yarn.mscaleAllDim)
    refuse(`mscale is ${yarn.mscale} and mscale_all_dim ${yarn.mscaleAllDim}`, "equal ones");
  if (!rope.interleaved) refuse("its rotary pairs are halves apart", "neighbours");
  if (sizes.hasAttentionBias) refuse("its attention has biases", "none");
  if (router && sizes.moeEvery !== 1) refuse(`only every ${sizes.moeEvery}th layer is MoE`, "each");
}

function layerTensors({ sizes }: ModelConfig, type: TensorType, layer: number): Tensor[] {
  const { hidden, queryRank, latent, ropeDim, nopeDim, valueDim, numHeads } = sizes;
  const names = layerNames(layer, { hasQueryRank: queryRank > 0 });
  const to = (name: string) => `blk.${layer}.${name}`;
  const take = (name: string, weight: string, shape: number[]) => matrix(to(name), type, { weight, shape });
  const queries = numHeads * (nopeDim + ropeDim);
  const tensors = [
    vector(to("attn_norm.weight"), names.inputNorm, hidden),
    vector(to("ffn_norm.weight"), names.outputNorm, hidden),
    take("attn_kv_a_mqa", names.keyValueDown, [latent + ropeDim, hidden]),
    vector(to("attn_kv_a_norm.weight"), names.keyValueNorm, latent),
    take("attn_output", names.output, [hidden, numHeads * valueDim]),
  ];
  if ("whole" in names.query) tensors.push(take("attn_q", names.query.whole, [queries, hidden]));
  else {
    tensors.push(
      take("attn_q_a", names.query.down, [queryRank, hidden]),
      vector(to("attn_q_a_norm.weight"), names.query.norm, queryRank),
      take("attn_q_b", names.query.up, [queries, queryRank]),
    );
  }
  const heads = Array.from({ length: numHeads }, (_, head) => head * (nopeDim + valueDim));
  const weight = names.keyValueUp;
  tensors.push(
    stack(to("attn_k_b"), type, {
      shape: [numHeads, latent, nopeDim],
      parts: heads.map((from) => ({ weight, rows: { from, to: from + nopeDim }, isTransposed: true })),
    }),
    stack(to("attn_v_b"), type, {
      shape: [numHeads, valueDim, latent],
      parts: heads.map((from) => ({
        weight,
        rows: { from: from + nopeDim, to: from + nopeDim + valueDim },
      })),
    }),
  );
  if (!isMoeLayer(sizes, layer)) {
    for (const part of ["gate", "up", "down"] as const) {
      const shape = part === "down" ? [hidden, sizes.denseWidth] : [sizes.denseWidth, hidden];
      tensors.push(take(`ffn_${part}`, names.dense[part], shape));
    }
    return tensors;
  }
  tensors.push(
    matrix(to("ffn_gate_inp"), "F32", { weight: names.router, shape: [sizes.numExperts, hidden] }),
  );
  if (sizes.hasRouterBias) tensors.push(vector(to("exp_probs_b.bias"), names.routerBias, sizes.numExperts));
  for (const part of ["gate", "up", "down"] as const) {
    const shapeOf = (width: number) => (part === "down" ? [hidden, width] : [width, hidden]);
    const parts = Array.from({ length: sizes.numExperts }, (_, i) => ({ weight: names.expert(i)[part] }));
    const shape = [sizes.numExperts, ...shapeOf(sizes.expertWidth)];
    tensors.push(stack(to(`ffn_${part}_exps`), type, { shape, parts }));
    if (sizes.numSharedExperts === 0) continue;
    const width = sizes.numSharedExperts * sizes.expertWidth;
    tensors.push(take(`ffn_${part}_shexp`, names.shared[part], shapeOf(width)));
  }
  return tensors;
}

function vector(name: string, weight: string, length: number): Tensor {
  return { name, type: "F32", shape: [length], parts: [{ weight }] };
}

function matrix(
  module: string,
  type: TensorType,
  { weight, shape }: { weight: string; shape: number[] },
): Tensor {
  return stack(module, type, { shape, parts: [{ weight }] });
}

/** Rows that are no multiple of Q8_0's 32 stay BF16, as llama.cpp's own quantiser falls back. */
function stack(module: string, type: TensorType, rest: { shape: number[]; parts: Part[] }): Tensor {
  const fits = type !== "Q8_0" || rest.shape.at(-1)! % 32 === 0;
  return { name: `${module}.weight`, type: fits ? type : "BF16", ...rest };
}
