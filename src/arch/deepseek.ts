/**
 * Every tensor of a DeepSeek-V2 or -V3 checkpoint, derived from its config: model.md sections 1, 3 and 10.1,
 * checkpoint-format.md section 3. For the real V3 config it gives the published totals to the byte.
 *
 * Shapes are [out, in] as on disk. V2 differs in its softmax gate, which has no bias, and in having no MTP.
 */
import { formatInteger } from "../base/format.ts";
import { scaleShape } from "../tensor/block.ts";
import { byteLengthOf, type Dtype, formatShape } from "../tensor/dtype.ts";
import { isMoeLayer } from "./deepseek-modules.ts";
import type { DeepseekSizes } from "./deepseek-sizes.ts";
import type { Naming } from "./naming.ts";
import type { Quantization } from "./quantization.ts";
import { scaleNameOf } from "./scale-names.ts";

export interface ExpectedTensor {
  name: string;
  dtype: Dtype;
  shape: number[];
}

/** 20 times DeepSeek-V3, which has 91,991. What is beyond is a broken config, or one meant to exhaust memory. */
export const MAX_TENSORS = 2_000_000;

/** How the numbers are stored. */
export interface Storage {
  quantization: Quantization;
  /** Dtype of what is neither quantised nor kept in F32. */
  plain: Dtype;
}

/** A tensor relative to its layer: the same in every layer of a kind. */
type Part = [name: string, ...shape: number[]];

/** What makes these sizes impossible to list, or undefined. */
export function absurdity(sizes: DeepseekSizes, storage: Storage, naming: Naming): string | undefined {
  const numTensors = countTensors(sizes, storage, naming);
  if (numTensors > MAX_TENSORS) {
    return `it describes ${formatInteger(numTensors)} tensors, wanted at most ${formatInteger(MAX_TENSORS)}`;
  }
  for (const [name, ...shape] of Object.values(partsOf(sizes, 1)).flat()) {
    if (Number.isNaN(byteLengthOf("F32", shape))) {
      return `it gives "${name}" the shape ${formatShape(shape)}, wanted less than 2^53 bytes`;
    }
  }
  return undefined;
}

/** How many expectedTensors() would give, from one layer of each kind and one expert. */
export function countTensors(sizes: DeepseekSizes, storage: Storage, naming: Naming): number {
  const { numLayers, numMtpLayers, numExperts } = sizes;
  if (numLayers + numMtpLayers > MAX_TENSORS) return numLayers + numMtpLayers;
  const parts = partsOf(sizes, 1);
  const count = (list: readonly Part[]): number =>
    list.reduce(
      (sum, [name, ...shape]) => sum + stored(`model.layers.0.${name}`, shape, storage, naming).length,
      0,
    );
  const perMoe = count(parts.moe) + numExperts * count(parts.experts);
  let numMoeLayers = 0;
  for (let layer = 0; layer < numLayers + numMtpLayers; layer++) {
    if (isMoeLayer(sizes, layer)) numMoeLayers++;
  }
  const numDenseLayers = numLayers + numMtpLayers - numMoeLayers;
  return (
    parts.outside.length +
    numDenseLayers * count(parts.dense) +
    numMoeLayers * perMoe +
    numMtpLayers * parts.extras.length
  );
}

export function expectedTensors(sizes: DeepseekSizes, storage: Storage, naming: Naming): ExpectedTensor[] {
  const parts = partsOf(sizes, sizes.numExperts);
  const tensors: ExpectedTensor[] = [];
  const add = (prefix: string, list: readonly Part[]): void => {
    for (const [name, ...shape] of list) tensors.push(...stored(prefix + name, shape, storage, naming));
  };
  for (let layer = 0; layer < sizes.numLayers + sizes.numMtpLayers; layer++) {
    const isMtp = layer >= sizes.numLayers;
    const prefix = `model.layers.${layer}.`;
    if (isMoeLayer(sizes, layer)) {
      add(prefix, parts.moe);
      add(prefix, parts.experts);
    } else {
      add(prefix, parts.dense);
    }
    if (isMtp) add(prefix, parts.extras);
  }
  add("", parts.outside);
  return tensors;
}

/** A weight in its dtype, followed by its scale when it is stored in FP8. */
function stored(name: string, shape: number[], storage: Storage, naming: Naming): ExpectedTensor[] {
  if (naming.keepsF32(name)) return [{ name, dtype: "F32", shape }];
  const { kind, block, exempts } = storage.quantization;
  const isFp8 =
    kind === "fp8-block" && naming.quantizable(name) && !exempts(name.slice(0, -".weight".length));
  if (!isFp8) return [{ name, dtype: storage.plain, shape }];
  return [
    { name, dtype: "F8_E4M3", shape },
    { name: scaleNameOf(name)[0]!, dtype: "F32", shape: scaleShape(shape, block) },
  ];
}

interface PartsByKind {
  outside: Part[];
  dense: Part[];
  /** Without its routed experts, */
  moe: Part[];
  /** which are these. */
  experts: Part[];
  extras: Part[];
}

/** Only the first `numListed` routed experts: one of them is enough to count by. */
function partsOf(sizes: DeepseekSizes, numListed: number): PartsByKind {
  const { hidden, vocab, numExperts, expertWidth, numSharedExperts } = sizes;
  const block: Part[] = [
    ["input_layernorm.weight", hidden],
    ...attention(sizes),
    ["post_attention_layernorm.weight", hidden],
  ];
  const router: Part[] = [["mlp.gate.weight", numExperts, hidden]];
  if (sizes.hasRouterBias) router.push(["mlp.gate.e_score_correction_bias", numExperts]);
  // The shared experts are one MLP of their summed width (model.md section 7).
  const shared = numSharedExperts ? swiglu("mlp.shared_experts", numSharedExperts * expertWidth, hidden) : [];
  const experts = Array.from({ length: numListed }, (_, e) =>
    swiglu(`mlp.experts.${e}`, expertWidth, hidden),
  );
  const outside: Part[] = [
    ["model.embed_tokens.weight", vocab, hidden],
    ["model.norm.weight", hidden],
  ];
  if (!sizes.isTied) outside.push(["lm_head.weight", vocab, hidden]);
  return {
    outside,
    dense: [...block, ...swiglu("mlp", sizes.denseWidth, hidden)],
    moe: [...block, ...router, ...shared],
    experts: experts.flat(),
    extras: [
      ["embed_tokens.weight", vocab, hidden],
      ["enorm.weight", hidden],
      ["hnorm.weight", hidden],
      ["eh_proj.weight", hidden, 2 * hidden],
      ["shared_head.norm.weight", hidden],
      ["shared_head.head.weight", vocab, hidden],
    ],
  };
}

function attention(sizes: DeepseekSizes): Part[] {
  const { hidden, numHeads, queryRank, latent, nopeDim, ropeDim, valueDim } = sizes;
  const bias = (name: string, rows: number): Part[] =>
    sizes.hasAttentionBias ? [[`self_attn.${name}.bias`, rows]] : [];
  const queryRows = numHeads * (nopeDim + ropeDim);
  const query: Part[] = queryRank
    ? [
        ["self_attn.q_a_proj.weight", queryRank, hidden],
        ...bias("q_a_proj", queryRank),
        ["self_attn.q_a_layernorm.weight", queryRank],
        ["self_attn.q_b_proj.weight", queryRows, queryRank],
      ]
    : [["self_attn.q_proj.weight", queryRows, hidden]];
  return [
    ...query,
    ["self_attn.kv_a_proj_with_mqa.weight", latent + ropeDim, hidden],
    ...bias("kv_a_proj_with_mqa", latent + ropeDim),
    ["self_attn.kv_a_layernorm.weight", latent],
    ["self_attn.kv_b_proj.weight", numHeads * (nopeDim + valueDim), latent],
    ["self_attn.o_proj.weight", hidden, numHeads * valueDim],
    ...bias("o_proj", hidden),
  ];
}

function swiglu(module: string, width: number, hidden: number): Part[] {
  return [
    [`${module}.gate_proj.weight`, width, hidden],
    [`${module}.up_proj.weight`, width, hidden],
    [`${module}.down_proj.weight`, hidden, width],
  ];
}
