import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareConfigs } from "../../src/arch/compare-configs.ts";
import { V2_LITE_CONFIG, V3_CONFIG, v3Without } from "./v3-config.ts";

const lines = (base: unknown, other: unknown): string[] =>
  compareConfigs(base, other).map(
    ({ key, base: a, other: b, affects }) => `${affects} ${key}: ${JSON.stringify(a)} ${JSON.stringify(b)}`,
  );

test("compareConfigs() ignores what touches neither shapes nor numerics", () => {
  const other = {
    ...v3Without("torch_dtype", "aux_loss_alpha", "seq_aux", "pretraining_tp", "auto_map", "ep_size"),
    dtype: "bfloat16",
    transformers_version: "5.17.0",
    _name_or_path: "/tmp/x",
    use_cache: false,
    eos_token_id: 2,
    initializer_range: 0.006,
    qk_head_dim: 192,
    head_dim: 64,
    rope_interleave: true,
  };
  assert.deepEqual(compareConfigs(V3_CONFIG, other), []);
});

test("compareConfigs() tells shapes from numerics, in the order of the base's keys", () => {
  const other = {
    ...V3_CONFIG,
    vocab_size: 129281,
    hidden_size: 1,
    rope_theta: 1,
    norm_topk_prob: false,
    new_key: 1,
  };
  assert.deepEqual(lines(V3_CONFIG, other), [
    "shape hidden_size: 7168 1",
    "numerics norm_topk_prob: true false",
    "numerics rope_theta: 10000 1",
    "shape vocab_size: 129280 129281",
    "numerics new_key: undefined 1",
  ]);
});

test("compareConfigs() takes a missing key for its default, and else for no difference of shape", () => {
  assert.deepEqual(
    lines(V3_CONFIG, v3Without("attention_bias", "moe_layer_freq", "tie_word_embeddings")),
    [],
  );
  assert.deepEqual(lines(V3_CONFIG, { ...V3_CONFIG, attention_bias: true }), [
    "shape attention_bias: false true",
  ]);
  assert.deepEqual(lines(V3_CONFIG, v3Without("num_key_value_heads")), [
    "numerics num_key_value_heads: 128 undefined",
  ]);
  assert.deepEqual(lines(V3_CONFIG, { ...V3_CONFIG, q_lora_rank: null }), ["shape q_lora_rank: 1536 null"]);
  assert.deepEqual(lines({ q_lora_rank: null }, {}), []);
});

test("compareConfigs() does not refuse a parent that has lost its MTP layer", () => {
  assert.deepEqual(lines(V3_CONFIG, v3Without("num_nextn_predict_layers")), [
    "numerics num_nextn_predict_layers: 1 undefined",
  ]);
});

test("compareConfigs() knows that a missing tie_word_embeddings means true for Gemma", () => {
  const gemma = { model_type: "gemma2" };
  assert.deepEqual(lines(gemma, { ...gemma, tie_word_embeddings: true }), []);
  assert.deepEqual(lines(gemma, { ...gemma, tie_word_embeddings: false }), [
    "numerics tie_word_embeddings: undefined false",
  ]);
});

test("compareConfigs() compares families, not their names", () => {
  assert.deepEqual(lines(V3_CONFIG, { ...V3_CONFIG, model_type: "kimi_k2", architectures: ["X"] }), []);
  const [first] = lines(V3_CONFIG, V2_LITE_CONFIG);
  assert.equal(first, 'numerics architectures: ["DeepseekV3ForCausalLM"] ["DeepseekV2ForCausalLM"]');
  assert.ok(lines(V3_CONFIG, V2_LITE_CONFIG).includes('shape model_type: "deepseek_v3" "deepseek_v2"'));
});

test("compareConfigs() reads the three spellings of rope settings alike", () => {
  const { type, ...scaling } = V3_CONFIG.rope_scaling;
  const plain = v3Without("rope_scaling", "rope_theta");
  const spellings = [
    { ...V3_CONFIG, rope_scaling: { ...scaling, rope_type: type } },
    { ...plain, rope_parameters: { ...scaling, rope_type: type, rope_theta: 10000 } },
  ];
  for (const other of spellings) assert.deepEqual(compareConfigs(V3_CONFIG, other), []);
  assert.deepEqual(
    lines(V3_CONFIG, { ...V3_CONFIG, rope_scaling: { ...V3_CONFIG.rope_scaling, factor: 4 } }),
    ["numerics rope_scaling.factor: 40 4"],
  );
  const unscaled = { ...plain, rope_theta: 10000 };
  assert.deepEqual(lines({ ...unscaled, rope_scaling: null }, unscaled), []);
  assert.deepEqual(lines({ ...unscaled, rope_scaling: { rope_type: "default" } }, unscaled), []);
});

test("compareConfigs() names the setting of quantization_config, or the whole when one side has none", () => {
  const { quantization_config } = V3_CONFIG;
  const ue8m0 = { ...V3_CONFIG, quantization_config: { ...quantization_config, scale_fmt: "ue8m0" } };
  assert.deepEqual(lines(V3_CONFIG, ue8m0), ['numerics quantization_config.scale_fmt: undefined "ue8m0"']);
  const [only, ...rest] = compareConfigs(V3_CONFIG, v3Without("quantization_config"));
  assert.deepEqual([only!.key, only!.affects, rest.length], ["quantization_config", "numerics", 0]);
});

test("compareConfigs() has nothing to say when a config is missing", () => {
  for (const none of [undefined, null, [], "config", 1]) {
    assert.deepEqual(compareConfigs(V3_CONFIG, none), []);
    assert.deepEqual(compareConfigs(none, V3_CONFIG), []);
  }
});

test("compareConfigs() finds no difference of any JSON value from its copy, and never throws", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      assert.deepEqual(compareConfigs(a, JSON.parse(JSON.stringify(a))), []);
      compareConfigs(a, b);
    }),
    { seed: 13, numRuns: 500 },
  );
  const deep = (): unknown => JSON.parse(`${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`);
  compareConfigs(deep(), deep());
});
