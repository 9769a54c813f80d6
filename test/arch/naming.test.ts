import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Architecture, architectureOf } from "../../src/arch/architecture.ts";
import type { Place } from "../../src/arch/place.ts";
import { V3_CONFIG, v3Without } from "./v3-config.ts";

const V3 = architectureOf(V3_CONFIG);
const place = (role: Place["role"], matrix: string, more: Partial<Place> = {}): Place => ({
  role,
  matrix,
  mtp: false,
  ...more,
});

const L5 = "model.layers.5.";
const L61 = "model.layers.61.";
const V3_PLACES: [name: string, place: Place][] = [
  ["model.embed_tokens.weight", place("embeddings", "embed_tokens")],
  ["model.norm.weight", place("norms", "norm")],
  ["lm_head.weight", place("lm-head", "lm_head")],
  [`${L5}input_layernorm.weight`, place("norms", "input_layernorm", { layer: 5 })],
  [`${L5}post_attention_layernorm.weight`, place("norms", "post_attention_layernorm", { layer: 5 })],
  [`${L5}self_attn.q_a_proj.weight`, place("attention", "q_a_proj", { layer: 5 })],
  [`${L5}self_attn.q_a_proj.bias`, place("attention", "q_a_proj", { layer: 5 })],
  [`${L5}self_attn.q_a_layernorm.weight`, place("attention", "q_a_layernorm", { layer: 5 })],
  [
    `${L5}self_attn.kv_a_proj_with_mqa.weight_scale_inv`,
    place("attention", "kv_a_proj_with_mqa", { layer: 5 }),
  ],
  [`${L5}self_attn.rotary_emb.inv_freq`, place("attention", "inv_freq", { layer: 5 })],
  [`${L5}mlp.gate.weight`, place("router", "gate", { layer: 5 })],
  [`${L5}mlp.gate.e_score_correction_bias`, place("router", "e_score_correction_bias", { layer: 5 })],
  [`${L5}mlp.shared_experts.up_proj.weight`, place("shared-experts", "up_proj", { layer: 5 })],
  [`${L5}mlp.experts.255.down_proj.weight`, place("routed-experts", "down_proj", { layer: 5, expert: 255 })],
  [
    `${L5}mlp.experts.0.gate_proj.weight_scale_inv`,
    place("routed-experts", "gate_proj", { layer: 5, expert: 0 }),
  ],
  [`${L5}mlp.experts.0.gate_proj.scale`, place("routed-experts", "gate_proj", { layer: 5, expert: 0 })],
  [
    `${L5}mlp.experts.0.gate_proj.weight_packed`,
    place("routed-experts", "gate_proj", { layer: 5, expert: 0 }),
  ],
  [`${L5}mlp.experts.gate_up_proj`, place("routed-experts", "gate_up_proj", { layer: 5 })],
  [`${L5}mlp.experts.gate_up_proj_scale_inv`, place("routed-experts", "gate_up_proj", { layer: 5 })],
  [`${L5}mlp.experts.down_proj.weight`, place("routed-experts", "down_proj", { layer: 5 })],
  ["model.layers.0.mlp.down_proj.weight", place("dense-mlp", "down_proj", { layer: 0 })],
  [`${L61}input_layernorm.weight`, place("norms", "input_layernorm", { layer: 61, mtp: true })],
  [`${L61}self_attn.o_proj.weight`, place("attention", "o_proj", { layer: 61, mtp: true })],
  [
    `${L61}mlp.experts.7.up_proj.weight`,
    place("routed-experts", "up_proj", { layer: 61, expert: 7, mtp: true }),
  ],
  [`${L61}embed_tokens.weight`, place("mtp", "embed_tokens", { layer: 61, mtp: true })],
  [`${L61}enorm.weight`, place("mtp", "enorm", { layer: 61, mtp: true })],
  [`${L61}hnorm.weight`, place("mtp", "hnorm", { layer: 61, mtp: true })],
  [`${L61}eh_proj.weight`, place("mtp", "eh_proj", { layer: 61, mtp: true })],
  [`${L61}shared_head.norm.weight`, place("mtp", "norm", { layer: 61, mtp: true })],
  [`${L61}shared_head.head.weight`, place("mtp", "head", { layer: 61, mtp: true })],
];

describe("locate() knows DeepSeek-V3's", () => {
  for (const [name, expected] of V3_PLACES) {
    test(name, () => assert.deepEqual(V3.locate(name), expected));
  }
});

test("locate() leaves what no rule explains to the role other", () => {
  const cases: [name: string, place: Place][] = [
    ["", place("other", "")],
    ["vision_tower.encoder.layers.3.self_attn.q_proj.weight", place("other", "q_proj")],
    ["multi_modal_projector.linear_1.bias", place("other", "linear_1")],
    ["model.layers.5.mystery.weight", place("other", "mystery", { layer: 5 })],
    ["model.layers.5.mlp.experts.E.up_proj.weight", place("other", "up_proj", { layer: 5 })],
    ["model.layers.5.mlp.experts.007.up_proj.weight", place("other", "up_proj", { layer: 5 })],
    ["model.layers.5.mlp.experts.0.w1.weight", place("other", "w1", { layer: 5 })],
    ["model.layers.5.mlp.experts.0.up_proj.lora_A.weight", place("other", "lora_A", { layer: 5 })],
    ["model.layers.05.mlp.gate.weight", place("other", "gate")],
    ["model.layers.-1.mlp.gate.weight", place("other", "gate")],
    ["model.layers.99999999999999999999.mlp.gate.weight", place("other", "gate")],
    ["model.layers.5.", place("other", "")],
    ["xmodel.norm.weight", place("other", "norm")],
    ["model.norm.weight.norm", place("other", "norm")],
    // The extras of an MTP layer in a layer that is none.
    ["model.layers.5.enorm.weight", place("other", "enorm", { layer: 5 })],
    // Beyond the MTP layers that the config declares.
    ["model.layers.62.mlp.gate.weight", place("other", "gate", { layer: 62 })],
    ["model.layers.62.mlp.experts.0.up_proj.weight", place("other", "up_proj", { layer: 62 })],
  ];
  for (const [name, expected] of cases) assert.deepEqual(V3.locate(name), expected, name);
});

test("locate() takes the first MTP layer from the config", () => {
  for (const numLayers of [2, 60, 62]) {
    const { locate } = architectureOf({ ...V3_CONFIG, num_hidden_layers: numLayers });
    const isMtp = [numLayers - 1, numLayers, numLayers + 1].map((layer) => {
      const { role, mtp } = locate(`model.layers.${layer}.mlp.experts.3.up_proj.weight`);
      return `${role} ${mtp}`;
    });
    assert.deepEqual(isMtp, ["routed-experts false", "routed-experts true", "other false"]);
  }
});

test("locate() counts every layer beyond the main ones as MTP when the config does not say how many", () => {
  const { locate } = architectureOf(v3Without("num_nextn_predict_layers"));
  assert.deepEqual(locate("model.layers.60.mlp.gate.weight"), place("router", "gate", { layer: 60 }));
  for (const layer of [61, 62]) {
    assert.deepEqual(
      locate(`model.layers.${layer}.hnorm.weight`),
      place("mtp", "hnorm", { layer, mtp: true }),
    );
  }
});

test("locate() tells MTP by the extras alone when the number of layers is unknown", () => {
  const { locate } = architectureOf(v3Without("num_hidden_layers"));
  assert.deepEqual(locate("model.layers.61.mlp.gate.weight"), place("router", "gate", { layer: 61 }));
  assert.deepEqual(locate("model.layers.61.enorm.weight"), place("mtp", "enorm", { layer: 61, mtp: true }));
});

test("locate() looks through the wrapper of a multimodal model", () => {
  const gate = place("router", "gate", { layer: 9 });
  for (const wrapper of ["language_model.model.", "model.language_model.", "language.model.", ""]) {
    assert.deepEqual(V3.locate(`${wrapper}layers.9.mlp.gate.weight`), gate, wrapper);
  }
  assert.deepEqual(V3.locate("language_model.lm_head.weight"), place("lm-head", "lm_head"));
});

const config = (model_type: string): object => ({ model_type, num_hidden_layers: 4 });

describe("locate() knows other families:", () => {
  const cases: [type: string, name: string, expected: string][] = [
    ["deepseek_v2", "self_attn.kv_b_proj.weight", "attention kv_b_proj"],
    ["deepseek_v2", "mlp.shared_experts.gate_proj.weight", "shared-experts gate_proj"],
    ["qwen2_moe", "mlp.shared_expert.gate_proj.weight", "shared-experts gate_proj"],
    ["qwen2_moe", "mlp.shared_expert_gate.weight", "shared-experts shared_expert_gate"],
    ["qwen2_moe", "mlp.experts.59.up_proj.weight", "routed-experts up_proj 59"],
    ["qwen2_moe", "self_attn.k_proj.bias", "attention k_proj"],
    ["qwen3_moe", "self_attn.q_norm.weight", "attention q_norm"],
    ["qwen3_moe", "mlp.gate.weight", "router gate"],
    ["qwen3_moe", "mlp.experts.127.down_proj.weight", "routed-experts down_proj 127"],
    ["qwen3_moe", "mlp.experts.gate_up_proj", "routed-experts gate_up_proj"],
    ["qwen3_moe", "mlp.shared_experts.up_proj.weight", "other up_proj"],
    ["mixtral", "block_sparse_moe.gate.weight", "router gate"],
    ["mixtral", "block_sparse_moe.experts.7.w2.weight", "routed-experts w2 7"],
    ["mixtral", "block_sparse_moe.experts.7.gate_proj.weight", "other gate_proj"],
    ["glm4_moe", "mlp.gate.e_score_correction_bias", "router e_score_correction_bias"],
    ["glm4_moe", "mlp.shared_experts.down_proj.weight", "shared-experts down_proj"],
    ["glm4_moe", "self_attn.k_norm.weight", "attention k_norm"],
    ["olmoe", "mlp.experts.63.gate_proj.weight", "routed-experts gate_proj 63"],
    ["olmoe", "self_attn.q_norm.weight", "attention q_norm"],
    ["llama", "mlp.up_proj.weight", "dense-mlp up_proj"],
    ["llama", "mlp.experts.0.up_proj.weight", "other up_proj"],
    ["mistral", "self_attn.o_proj.weight", "attention o_proj"],
    ["qwen2", "self_attn.q_proj.bias", "attention q_proj"],
    ["qwen3", "self_attn.q_norm.weight", "attention q_norm"],
    ["gemma", "post_attention_layernorm.weight", "norms post_attention_layernorm"],
    ["gemma2", "pre_feedforward_layernorm.weight", "norms pre_feedforward_layernorm"],
    ["gemma3_text", "post_feedforward_layernorm.weight", "norms post_feedforward_layernorm"],
    ["llama", "pre_feedforward_layernorm.weight", "other pre_feedforward_layernorm"],
  ];
  test("mixtral's w1, w2, w3 go by their usual names too", () => {
    const arch = architectureOf(config("mixtral"));
    const aliases = ["w1", "w2", "w3"].map(
      (w) => arch.locate(`model.layers.1.block_sparse_moe.experts.0.${w}.weight`).alias,
    );
    assert.deepEqual(aliases, ["gate_proj", "down_proj", "up_proj"]);
    assert.equal(arch.locate("model.layers.1.self_attn.o_proj.weight").alias, undefined);
  });
  for (const [type, name, expected] of cases) {
    test(`${type} ${name}`, () => {
      const { role, matrix, expert, layer } = architectureOf(config(type)).locate(`model.layers.1.${name}`);
      assert.equal([role, matrix, expert].filter((part) => part !== undefined).join(" "), expected);
      assert.equal(layer, 1);
    });
  }
});

test("locate() finds GLM's MTP layer behind its main layers", () => {
  const { locate } = architectureOf({ ...config("glm4_moe"), num_nextn_predict_layers: 1 });
  assert.deepEqual(locate("model.layers.4.eh_proj.weight"), place("mtp", "eh_proj", { layer: 4, mtp: true }));
  assert.deepEqual(
    locate("model.layers.4.mlp.experts.2.up_proj.weight"),
    place("routed-experts", "up_proj", { layer: 4, expert: 2, mtp: true }),
  );
});

const quantizable = ({ quantizable }: Architecture, names: readonly string[]): string[] =>
  names.filter((name) => quantizable(name));

test("quantizable() takes the projections and nothing else of DeepSeek-V3", () => {
  const projections = ["q_a_proj", "q_b_proj", "q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"];
  const yes = [
    ...projections.map((name) => `model.layers.5.self_attn.${name}.weight`),
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.5.mlp.shared_experts.down_proj.weight",
    "model.layers.5.mlp.experts.9.up_proj.weight",
    "model.layers.61.mlp.experts.9.up_proj.weight",
    "language_model.model.layers.5.self_attn.o_proj.weight",
  ];
  const no = [
    "model.embed_tokens.weight",
    "lm_head.weight",
    "model.norm.weight",
    "model.layers.5.input_layernorm.weight",
    "model.layers.5.self_attn.q_a_layernorm.weight",
    "model.layers.5.self_attn.q_a_proj.bias",
    "model.layers.5.self_attn.q_a_proj.weight_scale_inv",
    "model.layers.5.mlp.gate.weight",
    "model.layers.5.mlp.gate.e_score_correction_bias",
    "model.layers.5.mlp.experts.gate_up_proj",
    "model.layers.61.eh_proj.weight",
    "model.layers.61.shared_head.head.weight",
    "model.layers.61.embed_tokens.weight",
    "vision_tower.layers.0.self_attn.q_proj.weight",
  ];
  assert.deepEqual(quantizable(V3, [...yes, ...no]), yes);
});

test("quantizable() leaves routers and the gate of the shared expert alone in every family", () => {
  const cases: [type: string, yes: string, no: string][] = [
    ["qwen2_moe", "mlp.shared_expert.up_proj", "mlp.shared_expert_gate"],
    ["qwen3_moe", "mlp.experts.1.up_proj", "mlp.gate"],
    ["mixtral", "block_sparse_moe.experts.1.w3", "block_sparse_moe.gate"],
    ["glm4_moe", "self_attn.k_proj", "self_attn.k_norm"],
    ["olmoe", "mlp.experts.1.down_proj", "mlp.gate"],
    ["llama", "mlp.down_proj", "post_attention_layernorm"],
  ];
  for (const [type, yes, no] of cases) {
    const names = [yes, no].map((module) => `model.layers.1.${module}.weight`);
    assert.deepEqual(quantizable(architectureOf(config(type)), names), names.slice(0, 1), type);
  }
});

test("keepsF32() is true of the router's correction bias only", () => {
  const bias = "model.layers.5.mlp.gate.e_score_correction_bias";
  assert.deepEqual(
    V3_PLACES.map(([name]) => name).filter((name) => V3.keepsF32(name)),
    [bias],
  );
  assert.equal(
    architectureOf(config("glm4_moe")).keepsF32("model.layers.1.mlp.gate.e_score_correction_bias"),
    true,
  );
  assert.equal(architectureOf(config("olmoe")).keepsF32("model.layers.1.mlp.gate.weight"), false);
});

// Each makes a careless expression or loop over its parts go back over what it has read.
const HOSTILE = [
  "layers.",
  "model.",
  "language_model.",
  "mlp.experts.",
  "mlp.experts.0.",
  "model.layers.1.self_attn.",
  ".",
  "1",
  "_",
  "a.weight",
  "_scale_inv",
  "\n",
].flatMap((piece) => {
  const text = piece.repeat(Math.ceil(10_000 / piece.length));
  return [
    text,
    `model.layers.1.${text}`,
    `model.layers.1.mlp.experts.${text}`,
    `model.layers.1.self_attn.${text}`,
  ];
});

test("locate() takes 100 times 48 hostile names of 10 kB in less than 3 s of CPU", () => {
  const before = process.cpuUsage();
  for (let round = 0; round < 100; round++) {
    for (const name of HOSTILE) {
      V3.locate(name);
      V3.quantizable(name);
      V3.keepsF32(name);
    }
  }
  const { user, system } = process.cpuUsage(before);
  assert.ok((user + system) / 1e6 < 3, `${(user + system) / 1e6} s`);
});

test("locate() takes an index of 92,000 names in less than 1 s of CPU", () => {
  const names = V3.expectedTensors!().map(({ name }) => name);
  const before = process.cpuUsage();
  let numRouted = 0;
  for (const name of names) if (V3.locate(name).role === "routed-experts") numRouted++;
  const { user, system } = process.cpuUsage(before);
  assert.equal(numRouted, 59 * 256 * 6);
  assert.ok((user + system) / 1e6 < 1, `${(user + system) / 1e6} s`);
});
