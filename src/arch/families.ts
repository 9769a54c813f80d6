/**
 * The families of models we know, as tables: which tensor is what, spelt as in their checkpoints.
 *
 * A pattern is a module's name relative to `model.layers.L.` (or to `model.` for OUTSIDE): it covers the
 * module's weight and bias, or a tensor of just that name. `E` stands for the index of a routed expert,
 * a final `*` for everything below. Sources: model.md section 3 for DeepSeek, the modelling files of
 * transformers for the others. naming.ts reads these tables; no other file spells a name of a layer's tensor,
 * except deepseek.ts, which lists them with their shapes.
 */
import { asConfig, type Config, own } from "./config.ts";
import type { Role } from "./place.ts";

export type Patterns = Partial<Record<Role, readonly string[]>>;

export interface Family {
  id: string;
  /** For people. */
  label: string;
  /** Values of `model_type`, and of `architectures` where model_type is missing or unknown to us. */
  modelTypes: readonly string[];
  classes: readonly string[];
  /** Key of config.json with the number of routed experts per layer. Absent for dense models. */
  numExpertsKey?: string;
  /** Whether the output head is the embedding when config.json does not say. */
  tiedByDefault?: true;
  layer: Patterns;
  /** The usual names of matrices that the family spells otherwise: recipes may use either. */
  aliases?: Readonly<Record<string, string>>;
  /** Modules whose weight the family's FP8 releases store as F8_E4M3 with block scales. */
  fp8: readonly string[];
  /** Tensors that stay F32 whatever the dtype of the rest. */
  f32: readonly string[];
}

/** Tensors outside the layers: the same everywhere. */
export const OUTSIDE: Patterns = { embeddings: ["embed_tokens"], norms: ["norm"], "lm-head": ["lm_head"] };

const SWIGLU = ["gate_proj", "up_proj", "down_proj"];
const LATENT_ATTENTION = ["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"];
const GROUPED_ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"];
const NORMS = ["input_layernorm", "post_attention_layernorm"];
const SANDWICH_NORMS = [...NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm"];
const ROUTER_BIAS = "mlp.gate.e_score_correction_bias";

/** What an MTP layer has beside a decoder block (model.md section 10.1). */
const MTP_EXTRAS = ["embed_tokens", "enorm", "hnorm", "eh_proj", "shared_head.norm", "shared_head.head"];

const under = (module: string, names: readonly string[]): string[] =>
  names.map((name) => `${module}.${name}`);

// All experts of a layer in one tensor of three dimensions, as newer transformers may save them.
const fused = (module: string): string[] => under(module, ["gate_up_proj", ...SWIGLU]);

const DENSE_LAYER: Patterns = { attention: ["self_attn.*"], norms: NORMS, "dense-mlp": under("mlp", SWIGLU) };

const MOE_LAYER: Patterns = {
  ...DENSE_LAYER,
  router: ["mlp.gate"],
  "routed-experts": [...under("mlp.experts.E", SWIGLU), ...fused("mlp.experts")],
};

/** DeepSeek's layer; GLM has the same apart from its attention. */
const SHARED_MOE_LAYER: Patterns = {
  ...MOE_LAYER,
  router: ["mlp.gate", ROUTER_BIAS],
  "shared-experts": ["mlp.shared_experts.*"],
  mtp: MTP_EXTRAS,
};

const DENSE_FP8 = [...under("self_attn", GROUPED_ATTENTION), ...under("mlp", SWIGLU)];
const MOE_FP8 = [...DENSE_FP8, ...under("mlp.experts.E", SWIGLU)];
const DEEPSEEK_FP8 = [
  ...under("self_attn", LATENT_ATTENTION),
  ...under("mlp", SWIGLU),
  ...under("mlp.shared_experts", SWIGLU),
  ...under("mlp.experts.E", SWIGLU),
];

const dense = (id: string, label: string, className: string): Family => ({
  id,
  label,
  modelTypes: [id],
  classes: [className],
  layer: DENSE_LAYER,
  fp8: DENSE_FP8,
  f32: [],
});

export const FAMILIES: readonly Family[] = [
  {
    id: "deepseek_v3",
    label: "DeepSeek-V3",
    modelTypes: ["deepseek_v3", "kimi_k2", "kimi_vl"], // Kimi-VL's text_config may come without a model_type
    classes: ["DeepseekV3ForCausalLM"],
    numExpertsKey: "n_routed_experts",
    layer: SHARED_MOE_LAYER,
    fp8: DEEPSEEK_FP8,
    f32: [ROUTER_BIAS],
  },
  {
    id: "deepseek_v2",
    label: "DeepSeek-V2",
    modelTypes: ["deepseek_v2"],
    classes: ["DeepseekV2ForCausalLM"],
    numExpertsKey: "n_routed_experts",
    layer: SHARED_MOE_LAYER,
    fp8: DEEPSEEK_FP8,
    f32: [ROUTER_BIAS],
  },
  {
    id: "qwen2_moe",
    label: "Qwen2-MoE",
    modelTypes: ["qwen2_moe"],
    classes: ["Qwen2MoeForCausalLM"],
    numExpertsKey: "num_experts",
    layer: { ...MOE_LAYER, "shared-experts": ["mlp.shared_expert.*", "mlp.shared_expert_gate"] },
    fp8: [...MOE_FP8, ...under("mlp.shared_expert", SWIGLU)],
    f32: [],
  },
  {
    id: "qwen3_moe",
    label: "Qwen3-MoE",
    modelTypes: ["qwen3_moe"],
    classes: ["Qwen3MoeForCausalLM"],
    numExpertsKey: "num_experts",
    layer: MOE_LAYER,
    fp8: MOE_FP8,
    f32: [],
  },
  {
    id: "mixtral",
    label: "Mixtral",
    modelTypes: ["mixtral"],
    classes: ["MixtralForCausalLM"],
    numExpertsKey: "num_local_experts",
    layer: {
      attention: ["self_attn.*"],
      norms: NORMS,
      router: ["block_sparse_moe.gate", "mlp.gate"],
      "routed-experts": [
        ...under("block_sparse_moe.experts.E", ["w1", "w2", "w3"]),
        ...fused("block_sparse_moe.experts"),
        ...fused("mlp.experts"),
      ],
    },
    aliases: { w1: "gate_proj", w2: "down_proj", w3: "up_proj" },
    fp8: [
      ...under("self_attn", GROUPED_ATTENTION),
      ...under("block_sparse_moe.experts.E", ["w1", "w2", "w3"]),
    ],
    f32: [],
  },
  {
    id: "glm4_moe",
    label: "GLM-4-MoE",
    modelTypes: ["glm4_moe"],
    classes: ["Glm4MoeForCausalLM"],
    numExpertsKey: "n_routed_experts",
    layer: SHARED_MOE_LAYER,
    fp8: [...MOE_FP8, ...under("mlp.shared_experts", SWIGLU)],
    f32: [ROUTER_BIAS],
  },
  {
    id: "olmoe",
    label: "OLMoE",
    modelTypes: ["olmoe"],
    classes: ["OlmoeForCausalLM"],
    numExpertsKey: "num_experts",
    layer: MOE_LAYER,
    fp8: MOE_FP8,
    f32: [],
  },
  dense("llama", "Llama", "LlamaForCausalLM"),
  dense("mistral", "Mistral", "MistralForCausalLM"),
  dense("qwen2", "Qwen2", "Qwen2ForCausalLM"),
  dense("qwen3", "Qwen3", "Qwen3ForCausalLM"),
  { ...dense("gemma", "Gemma", "GemmaForCausalLM"), tiedByDefault: true },
  ...[
    dense("gemma2", "Gemma 2", "Gemma2ForCausalLM"),
    { ...dense("gemma3_text", "Gemma 3", "Gemma3ForCausalLM"), modelTypes: ["gemma3_text", "gemma3"] },
  ].map(
    (family): Family => ({
      ...family,
      tiedByDefault: true,
      layer: { ...DENSE_LAYER, norms: SANDWICH_NORMS },
    }),
  ),
];

const BY_MODEL_TYPE = new Map(FAMILIES.flatMap((family) => family.modelTypes.map((type) => [type, family])));
const BY_CLASS = new Map(FAMILIES.flatMap((family) => family.classes.map((name) => [name, family])));

/** The families whose tensors we can derive from a config. */
export function isDeepseek(family: Family): boolean {
  return family.id === "deepseek_v3" || family.id === "deepseek_v2";
}

/** The family that a config names: by model_type, else by the first of its classes that we know. */
export function familyOf(config: Config): Family | undefined {
  const named = BY_MODEL_TYPE.get(own(config, "model_type") as string);
  if (named) return named;
  const classes = own(config, "architectures");
  if (!Array.isArray(classes)) return undefined;
  return BY_CLASS.get(classes.find((name) => BY_CLASS.has(name)));
}

/** The part of a config that describes the language model, and what we know about it. */
export interface LanguageModel {
  family: Family | undefined;
  config: Config;
  /** Whether it stands inside the config of a multimodal model, whose other tensors we do not know. */
  wrapped: boolean;
}

const INNER_KEYS = ["text_config", "llm_config", "language_config"];

export function languageModelOf(config: Config): LanguageModel {
  const family = familyOf(config);
  const inner = INNER_KEYS.map((key) => asConfig(own(config, key))).find((found) => found !== undefined);
  if (inner === undefined || (family && Object.hasOwn(config, "num_hidden_layers"))) {
    return { family, config, wrapped: false };
  }
  return { family: familyOf(inner) ?? family, config: inner, wrapped: true };
}
