/**
 * DeepSeek-V2 and -V3 as llama.cpp's architecture `deepseek2` has them: keys, and where each tensor's rows come
 * from. Learnt from its converter and its loader:
 *
 * - attention is the absorbed form, one head of keys as wide as a cache row; kv_b_proj is cut by heads into
 *   k_b, transposed, and v_b;
 * - the experts of a layer are one tensor; norms, router and its bias are F32;
 * - RoPE's pairs stay neighbours, as they are in the checkpoint;
 * - YaRN: the logarithm's factor is 0.1 · mscale_all_dim; an amplitude other than 1 cannot be said;
 * - MTP layers are left out, as llama.cpp's own converter does.
 */
import { EMBEDDING, FINAL_NORM, HEAD, isMoeLayer, layerNames } from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import type { EncodedType } from "../gguf/blocks.ts";
import { ARCHITECTURE, GATING } from "../gguf/config.ts";
import { expertsName, ggufNameOf, keyValueName } from "../gguf/names.ts";
import { ggufByteLength } from "../gguf/types.ts";
import { bool, type EncodedValue, f32, string, type TensorEntry, u32 } from "../gguf/write.ts";

/** `general.file_type` of files that are mostly of a type. */
const FILE_TYPES: Record<EncodedType, number> = { F32: 0, F16: 1, Q8_0: 7, BF16: 32 };

/** Rows of a weight of the checkpoint; all of them without `rows`. */
export interface Part {
  weight: string;
  rows?: { from: number; to: number };
  isTransposed?: boolean;
}

export interface OutputTensor extends TensorEntry {
  type: EncodedType;
  /** One after another they are the tensor. */
  parts: readonly Part[];
}

/** What stands before the tokenizer. */
export function metadataOf(
  config: ModelConfig,
  { type, name }: { type: EncodedType; name: string },
): Map<string, EncodedValue> {
  return new Map<string, EncodedValue>([
    ["general.architecture", string(ARCHITECTURE)],
    ["general.type", string("model")],
    ["general.name", string(name)],
    ["general.file_type", u32(FILE_TYPES[type])],
    ["general.quantization_version", u32(2)],
    ...[...sizeKeys(config), ...routerKeys(config), ...ropeKeys(config)].map(
      ([key, value]): [string, EncodedValue] => [`${ARCHITECTURE}.${key}`, value],
    ),
  ]);
}

type Keys = [string, EncodedValue][];

function sizeKeys({ sizes, router, maxPositions, epsilon }: ModelConfig): Keys {
  return [
    ["block_count", u32(sizes.numLayers)],
    ["context_length", u32(maxPositions)],
    ["vocab_size", u32(sizes.vocab)],
    ["embedding_length", u32(sizes.hidden)],
    ["feed_forward_length", u32(sizes.denseWidth)],
    ["leading_dense_block_count", u32(router ? sizes.firstMoeLayer : sizes.numLayers)],
    ["attention.head_count", u32(sizes.numHeads)],
    ["attention.head_count_kv", u32(1)],
    ["attention.layer_norm_rms_epsilon", f32(epsilon)],
    ...(sizes.queryRank > 0 ? ([["attention.q_lora_rank", u32(sizes.queryRank)]] as Keys) : []),
    ["attention.kv_lora_rank", u32(sizes.latent)],
    ["attention.key_length", u32(sizes.latent + sizes.ropeDim)],
    ["attention.value_length", u32(sizes.latent)],
    ["attention.key_length_mla", u32(sizes.nopeDim + sizes.ropeDim)],
    ["attention.value_length_mla", u32(sizes.valueDim)],
  ];
}

function routerKeys({ sizes, router }: ModelConfig): Keys {
  const keys: Keys = [
    ["expert_feed_forward_length", u32(router ? sizes.expertWidth : sizes.denseWidth)],
    ["expert_shared_count", u32(sizes.numSharedExperts)],
  ];
  if (!router) return keys;
  keys.push(
    ["expert_count", u32(sizes.numExperts)],
    ["expert_used_count", u32(router.numChosen)],
    ["expert_gating_func", u32(GATING[router.scoring])],
    ["expert_weights_scale", f32(router.scale)],
    ["expert_weights_norm", bool(router.normalise)],
  );
  if (router.numGroups > 1) {
    keys.push(
      ["expert_group_count", u32(router.numGroups)],
      ["expert_group_used_count", u32(router.numGroupsKept)],
    );
  }
  return keys;
}

function ropeKeys({ sizes, rope: { theta, yarn } }: ModelConfig): Keys {
  const keys: Keys = [
    ["rope.dimension_count", u32(sizes.ropeDim)],
    ["rope.freq_base", f32(theta)],
  ];
  if (!yarn) return keys;
  keys.push(
    ["rope.scaling.type", string("yarn")],
    ["rope.scaling.factor", f32(yarn.factor)],
    ["rope.scaling.original_context_length", u32(yarn.originalPositions)],
    ["rope.scaling.yarn_log_multiplier", f32(0.1 * yarn.mscaleAllDim)],
    ["rope.scaling.yarn_beta_fast", f32(yarn.betaFast)],
    ["rope.scaling.yarn_beta_slow", f32(yarn.betaSlow)],
  );
  return keys;
}

/** In the order of the file. Throws CheckpointError for a model that the format has no words for. */
export function tensorsOf(config: ModelConfig, type: EncodedType): OutputTensor[] {
  requireExpressible(config);
  const { sizes } = config;
  const tensors = [matrix(type, EMBEDDING, [sizes.vocab, sizes.hidden]), vector(FINAL_NORM, sizes.hidden)];
  if (!sizes.isTied) tensors.push(matrix(type, HEAD, [sizes.vocab, sizes.hidden]));
  for (let layer = 0; layer < sizes.numLayers; layer++) tensors.push(...layerTensors(config, type, layer));
  return tensors;
}

function requireExpressible({ rope, sizes, router }: ModelConfig): void {
  const refuse = (what: string, wanted: string): never => {
    throw new CheckpointError(
      "not-expressible",
      `Cannot write the model as GGUF: ${what}, wanted ${wanted}`,
      { note: `llama.cpp's architecture ${ARCHITECTURE} has no word for it` },
    );
  };
  const { yarn } = rope;
  if (yarn && yarn.mscale !== yarn.mscaleAllDim)
    refuse(`mscale is ${yarn.mscale} and mscale_all_dim ${yarn.mscaleAllDim}`, "equal ones");
  if (!rope.interleaved) refuse("its rotary pairs are halves apart", "neighbours");
  if (sizes.hasAttentionBias) refuse("its attention has biases", "none");
  if (router && sizes.moeEvery !== 1) refuse(`only every ${sizes.moeEvery}th layer is MoE`, "each");
}

function layerTensors({ sizes }: ModelConfig, type: EncodedType, layer: number): OutputTensor[] {
  const { hidden, queryRank, latent, ropeDim, nopeDim, valueDim, numHeads } = sizes;
  const names = layerNames(layer, { hasQueryRank: queryRank > 0 });
  const queries = numHeads * (nopeDim + ropeDim);
  const tensors = [
    vector(names.inputNorm, hidden),
    vector(names.outputNorm, hidden),
    matrix(type, names.keyValueDown, [latent + ropeDim, hidden]),
    vector(names.keyValueNorm, latent),
    matrix(type, names.output, [hidden, numHeads * valueDim]),
  ];
  if ("whole" in names.query) tensors.push(matrix(type, names.query.whole, [queries, hidden]));
  else {
    tensors.push(
      matrix(type, names.query.down, [queryRank, hidden]),
      vector(names.query.norm, queryRank),
      matrix(type, names.query.up, [queries, queryRank]),
    );
  }
  const weight = names.keyValueUp;
  const heads = Array.from({ length: numHeads }, (_, head) => head * (nopeDim + valueDim));
  const keys = heads.map((from) => ({ weight, rows: { from, to: from + nopeDim }, isTransposed: true }));
  const values = heads.map((from) => ({
    weight,
    rows: { from: from + nopeDim, to: from + nopeDim + valueDim },
  }));
  tensors.push(
    stack(keyValueName(layer, "k"), type, { shape: [numHeads, latent, nopeDim], parts: keys }),
    stack(keyValueName(layer, "v"), type, { shape: [numHeads, valueDim, latent], parts: values }),
  );
  if (!isMoeLayer(sizes, layer)) {
    const width = sizes.denseWidth;
    tensors.push(
      matrix(type, names.dense.gate, [width, hidden]),
      matrix(type, names.dense.up, [width, hidden]),
    );
    tensors.push(matrix(type, names.dense.down, [hidden, width]));
    return tensors;
  }
  tensors.push(matrix("F32", names.router, [sizes.numExperts, hidden]));
  if (sizes.hasRouterBias) tensors.push(vector(names.routerBias, sizes.numExperts));
  for (const part of ["gate", "up", "down"] as const) {
    const shapeOf = (width: number) => (part === "down" ? [hidden, width] : [width, hidden]);
    const parts = Array.from({ length: sizes.numExperts }, (_, i) => ({ weight: names.expert(i)[part] }));
    const shape = [sizes.numExperts, ...shapeOf(sizes.expertWidth)];
    tensors.push(stack(expertsName(layer, part), type, { shape, parts }));
    if (sizes.numSharedExperts === 0) continue;
    tensors.push(matrix(type, names.shared[part], shapeOf(sizes.numSharedExperts * sizes.expertWidth)));
  }
  return tensors;
}

function vector(weight: string, length: number): OutputTensor {
  return { name: ggufNameOf(weight)!, type: "F32", shape: [length], parts: [{ weight }] };
}

function matrix(type: EncodedType, weight: string, shape: number[]): OutputTensor {
  return stack(ggufNameOf(weight)!, type, { shape, parts: [{ weight }] });
}

/** Rows that are no multiple of Q8_0's 32 stay BF16. */
function stack(
  name: string,
  type: EncodedType,
  { shape, parts }: { shape: number[]; parts: Part[] },
): OutputTensor {
  const fits = !Number.isNaN(ggufByteLength(type, shape));
  return { name, type: fits ? type : "BF16", shape, parts };
}
