/**
 * Names of llama.cpp's architecture `deepseek2` and the names of DeepSeek's own checkpoints, side by side: the
 * one place where GGUF's are spelled, for writing and for reading.
 *
 * Three kinds have no counterpart of the same shape, and view.ts and convert/ know what to do: the experts of a
 * layer are one tensor; kv_b_proj is cut by heads into k_b, transposed, and v_b (older files keep it whole).
 */

/** The GGUF module of a whole tensor, by that of the checkpoint. */
const OUTSIDE = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
} as const;

const LAYER = {
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.q_a_proj": "attn_q_a",
  "self_attn.q_a_layernorm": "attn_q_a_norm",
  "self_attn.q_b_proj": "attn_q_b",
  "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
  "self_attn.kv_a_layernorm": "attn_kv_a_norm",
  "self_attn.kv_b_proj": "attn_kv_b",
  "self_attn.o_proj": "attn_output",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "mlp.gate": "ffn_gate_inp",
  "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
  "mlp.shared_experts.up_proj": "ffn_up_shexp",
  "mlp.shared_experts.down_proj": "ffn_down_shexp",
  eh_proj: "nextn.eh_proj",
  enorm: "nextn.enorm",
  hnorm: "nextn.hnorm",
  embed_tokens: "nextn.embed_tokens",
  "shared_head.head": "nextn.shared_head_head",
  "shared_head.norm": "nextn.shared_head_norm",
} as const;

const ROUTER_BIAS = { name: "mlp.gate.e_score_correction_bias", module: "exp_probs_b" };

const OUTSIDE_BACK = inverse(OUTSIDE);
const LAYER_BACK = inverse(LAYER);

const IN_LAYER = /^model\.layers\.(\d{1,6})\.(.+)$/s;
const IN_BLOCK = /^blk\.(\d{1,6})\.(.+)$/s;
const LEAF = /^(.+)\.(weight|bias)$/s;
const EXPERTS = /^blk\.(\d{1,6})\.ffn_(gate|up|down)_exps\.weight$/;
const KEY_VALUE = /^blk\.(\d{1,6})\.attn_([kv])_b\.weight$/;

export type ExpertMatrix = "gate" | "up" | "down";

/** The GGUF name of a tensor that is taken over whole; undefined where there is none. */
export function ggufNameOf(name: string): string | undefined {
  const inLayer = IN_LAYER.exec(name);
  if (inLayer?.[2] === ROUTER_BIAS.name) return `blk.${inLayer[1]}.${ROUTER_BIAS.module}.bias`;
  const leaf = LEAF.exec(inLayer ? inLayer[2]! : name);
  const module = leaf ? find(inLayer ? LAYER : OUTSIDE, leaf[1]!) : undefined;
  return module && `${inLayer ? `blk.${inLayer[1]}.` : ""}${module}.${leaf![2]}`;
}

/** The other way round. */
export function checkpointNameOf(name: string): string | undefined {
  const inBlock = IN_BLOCK.exec(name);
  const leaf = LEAF.exec(inBlock ? inBlock[2]! : name);
  if (inBlock && leaf?.[1] === ROUTER_BIAS.module && leaf[2] === "bias")
    return `model.layers.${inBlock[1]}.${ROUTER_BIAS.name}`;
  const module = leaf ? (inBlock ? LAYER_BACK : OUTSIDE_BACK).get(leaf[1]!) : undefined;
  return module && `${inBlock ? `model.layers.${inBlock[1]}.` : ""}${module}.${leaf![2]}`;
}

export function expertsName(layer: number, matrix: ExpertMatrix): string {
  return `blk.${layer}.ffn_${matrix}_exps.weight`;
}

/** Which experts a tensor holds, and the name of each. */
export function expertsOf(name: string): { nameOf: (expert: number) => string } | undefined {
  const match = EXPERTS.exec(name);
  if (!match) return undefined;
  return { nameOf: (expert) => `model.layers.${match[1]}.mlp.experts.${expert}.${match[2]}_proj.weight` };
}

export function keyValueName(layer: number, part: "k" | "v"): string {
  return `blk.${layer}.attn_${part}_b.weight`;
}

/** Whether a tensor is one of the two parts of kv_b_proj, and of which layer. */
export function keyValueOf(name: string): { layer: number; part: "k" | "v"; whole: string } | undefined {
  const match = KEY_VALUE.exec(name);
  if (!match) return undefined;
  const layer = Number(match[1]);
  return { layer, part: match[2] as "k" | "v", whole: `model.layers.${layer}.self_attn.kv_b_proj.weight` };
}

function find(table: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function inverse(table: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(table).map(([key, value]) => [value, key]));
}
