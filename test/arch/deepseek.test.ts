import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { test } from "node:test";
import { architectureOf, type ExpectedTensor } from "../../src/arch/architecture.ts";
import { ConfigReader } from "../../src/arch/config.ts";
import { configProblems } from "../../src/arch/config-problems.ts";
import { countTensors, MAX_TENSORS, type Storage } from "../../src/arch/deepseek.ts";
import { readSizes } from "../../src/arch/deepseek-sizes.ts";
import { familyOf as familyNamed } from "../../src/arch/families.ts";
import { Naming } from "../../src/arch/naming.ts";
import { quantizationOf } from "../../src/arch/quantization.ts";
import { byteLengthOf, numElements } from "../../src/tensor/dtype.ts";
import { V2_LITE_CONFIG, V3_CONFIG, v3Without } from "./v3-config.ts";

const expected = (config: unknown): ExpectedTensor[] => architectureOf(config).expectedTensors!();
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const bytesOf = (tensors: readonly ExpectedTensor[]): number =>
  sum(tensors.map(({ dtype, shape }) => byteLengthOf(dtype, shape)));
const show = ({ name, dtype, shape }: ExpectedTensor): string => `${name} ${dtype} [${shape.join(", ")}]`;

// Map.groupBy() needs Node 21.
function groupBy<Key>(
  tensors: readonly ExpectedTensor[],
  keyOf: (name: string) => Key,
): Map<Key, ExpectedTensor[]> {
  const groups = new Map<Key, ExpectedTensor[]>();
  for (const tensor of tensors) {
    const key = keyOf(tensor.name);
    if (!groups.get(key)?.push(tensor)) groups.set(key, [tensor]);
  }
  return groups;
}

const V3 = architectureOf(V3_CONFIG);
const V3_TENSORS = expected(V3_CONFIG);

// checkpoint-format.md section 4.
test("expectedTensors() gives the published totals of DeepSeek-V3", () => {
  const totals = ["F32", "BF16", "F8_E4M3"].map((wanted) => {
    const tensors = V3_TENSORS.filter(({ dtype }) => dtype === wanted);
    return [wanted, tensors.length, sum(tensors.map(({ shape }) => numElements(shape)))];
  });
  assert.deepEqual(totals, [
    ["F32", 45_867, 41_555_600],
    ["BF16", 316, 3_918_786_560],
    ["F8_E4M3", 45_808, 680_571_043_840],
  ]);
  assert.equal(V3_TENSORS.length, 91_991);
  assert.equal(new Set(V3_TENSORS.map(({ name }) => name)).size, 91_991);
  assert.equal(bytesOf(V3_TENSORS), 688_574_839_360);
});

// checkpoint-format.md section 4.1: [family, tensors, bytes], and how locate() tells the family.
const FAMILIES: [label: string, numTensors: number, bytes: number][] = [
  ["main routed-experts", 89_088, 654_068_416_512],
  ["main attention projections", 610, 11_416_215_392],
  ["main shared-experts", 348, 2_554_954_752],
  ["main dense-mlp", 18, 1_189_375_488],
  ["main router gate", 58, 212_860_928],
  ["main router e_score_correction_bias", 58, 59_392],
  ["main layer norms", 244, 1_998_848],
  ["embeddings", 1, 1_853_358_080],
  ["lm-head", 1, 1_853_358_080],
  ["norm", 1, 14_336],
  ["mtp routed-experts", 1_536, 11_277_041_664],
  ["mtp attention, shared experts, router, norms", 22, 234_905_824],
  ["mtp copies", 2, 3_706_716_160],
  ["mtp extras", 4, 205_563_904],
];

function familyOf(name: string): string {
  const { role, matrix, layer, mtp } = V3.locate(name);
  if (layer === undefined) return role === "norms" ? matrix : role;
  if (role === "mtp") return matrix === "embed_tokens" || matrix === "head" ? "mtp copies" : "mtp extras";
  if (role === "routed-experts") return `${mtp ? "mtp" : "main"} routed-experts`;
  if (mtp) return "mtp attention, shared experts, router, norms";
  if (matrix.endsWith("norm")) return "main layer norms";
  if (role === "attention") return "main attention projections";
  return role === "router" ? `main router ${matrix}` : `main ${role}`;
}

test("expectedTensors() and locate() give the published table by family", () => {
  const byFamily = groupBy(V3_TENSORS, familyOf);
  const table = [...byFamily].map(([label, tensors]) => [label, tensors.length, bytesOf(tensors)]);
  assert.deepEqual(table.sort(), [...FAMILIES].sort());
});

test("expectedTensors() gives 20 tensors per dense layer, 1,558 per MoE layer, 1,564 in the MTP layer", () => {
  const byLayer = groupBy(V3_TENSORS, (name) => V3.locate(name).layer);
  assert.deepEqual(
    [undefined, 0, 2, 3, 60, 61, 62].map((layer) => byLayer.get(layer)?.length),
    [3, 20, 20, 1558, 1558, 1564, undefined],
  );
});

test("expectedTensors() rounds ragged blocks up and keeps each scale behind its weight", () => {
  const at = V3_TENSORS.findIndex(({ name }) =>
    name.endsWith("layers.7.self_attn.kv_a_proj_with_mqa.weight"),
  );
  assert.deepEqual(V3_TENSORS.slice(at, at + 2).map(show), [
    "model.layers.7.self_attn.kv_a_proj_with_mqa.weight F8_E4M3 [576, 7168]",
    "model.layers.7.self_attn.kv_a_proj_with_mqa.weight_scale_inv F32 [5, 56]",
  ]);
});

test("expectedTensors() without quantization_config is BF16 with F32 biases and no scales", () => {
  const tensors = expected(v3Without("quantization_config"));
  assert.equal(bytesOf(tensors), 1_368_979_721_216);
  assert.equal(tensors.length, 91_991 - 45_808);
  for (const { name, dtype } of tensors) {
    assert.equal(dtype, name.endsWith(".e_score_correction_bias") ? "F32" : "BF16", name);
  }
});

test("expectedTensors() takes the plain dtype from torch_dtype or dtype", () => {
  const plain = (settings: object): string =>
    expected({ ...v3Without("quantization_config", "torch_dtype"), ...settings })[0]!.dtype;
  assert.equal(plain({}), "BF16");
  assert.equal(plain({ torch_dtype: "float32" }), "F32");
  assert.equal(plain({ dtype: "float16" }), "F16");
});

test("expectedTensors() leaves out lm_head when it is tied to the embedding", () => {
  const tied = expected({ ...V3_CONFIG, tie_word_embeddings: true });
  assert.equal(tied.length, 91_990);
  assert.ok(!tied.some(({ name }) => name === "lm_head.weight"));
});

test("expectedTensors() leaves out the MTP layer when the config has none", () => {
  for (const config of [
    v3Without("num_nextn_predict_layers"),
    { ...V3_CONFIG, num_nextn_predict_layers: 0 },
  ]) {
    assert.equal(expected(config).length, 91_991 - 1564);
  }
});

test("expectedTensors() of V2-Lite has q_proj and no correction bias", () => {
  const tensors = expected(V2_LITE_CONFIG).map(show);
  assert.deepEqual(
    tensors.filter((line) => /layers\.1\.(?!mlp\.experts)/.test(line)),
    [
      "model.layers.1.input_layernorm.weight BF16 [2048]",
      "model.layers.1.self_attn.q_proj.weight BF16 [3072, 2048]",
      "model.layers.1.self_attn.kv_a_proj_with_mqa.weight BF16 [576, 2048]",
      "model.layers.1.self_attn.kv_a_layernorm.weight BF16 [512]",
      "model.layers.1.self_attn.kv_b_proj.weight BF16 [4096, 512]",
      "model.layers.1.self_attn.o_proj.weight BF16 [2048, 2048]",
      "model.layers.1.post_attention_layernorm.weight BF16 [2048]",
      "model.layers.1.mlp.gate.weight BF16 [64, 2048]",
      "model.layers.1.mlp.shared_experts.gate_proj.weight BF16 [2816, 2048]",
      "model.layers.1.mlp.shared_experts.up_proj.weight BF16 [2816, 2048]",
      "model.layers.1.mlp.shared_experts.down_proj.weight BF16 [2048, 2816]",
    ],
  );
  // Its 15.7 B parameters.
  assert.equal(bytesOf(expected(V2_LITE_CONFIG)) / 2, 15_706_484_224);
});

test("expectedTensors() makes the correction bias follow topk_method, then family and scoring_func", () => {
  const hasBias = (config: object): boolean =>
    expected(config).some(({ name }) => name.endsWith(".e_score_correction_bias"));
  const v3 = v3Without("topk_method", "scoring_func");
  assert.equal(hasBias(v3), true);
  assert.equal(hasBias({ ...v3, scoring_func: "softmax" }), false);
  assert.equal(hasBias({ ...v3, topk_method: "greedy" }), false);
  const { topk_method, ...v2 } = V2_LITE_CONFIG;
  assert.equal(topk_method, "greedy");
  assert.equal(hasBias(v2), false);
  assert.equal(hasBias({ ...v2, topk_method: "noaux_tc" }), true);
});

test("expectedTensors() adds three biases per layer with attention_bias", () => {
  const tensors = expected({ ...V3_CONFIG, attention_bias: true });
  assert.equal(tensors.length, 91_991 + 3 * 62);
  assert.deepEqual(tensors.filter(({ name }) => /layers\.9\..*\.bias$/.test(name)).map(show), [
    "model.layers.9.self_attn.q_a_proj.bias BF16 [1536]",
    "model.layers.9.self_attn.kv_a_proj_with_mqa.bias BF16 [576]",
    "model.layers.9.self_attn.o_proj.bias BF16 [7168]",
  ]);
  const lite = expected({ ...V2_LITE_CONFIG, attention_bias: true });
  assert.equal(lite.filter(({ name }) => name.endsWith(".bias")).length, 2 * 27);
});

test("expectedTensors() makes every moe_layer_freq-th layer MoE, and all MTP layers", () => {
  const config = { ...V3_CONFIG, num_hidden_layers: 8, moe_layer_freq: 3, num_nextn_predict_layers: 2 };
  const routers = expected(config).filter(({ name }) => name.endsWith("mlp.gate.weight"));
  assert.deepEqual(
    routers.map(({ name }) => architectureOf(config).locate(name).layer),
    [3, 6, 8, 9],
  );
});

test("expectedTensors() of a config without routed experts is dense throughout", () => {
  for (const none of [null, 0]) {
    const names = expected({ ...V3_CONFIG, n_routed_experts: none }).map(({ name }) => name);
    assert.equal(names.length, 62 * 20 + 6 + 3);
  }
});

test("expectedTensors() keeps what modules_to_not_convert exempts out of FP8", () => {
  const plainWith = (modules: unknown): number => {
    const quantization_config = { ...V3_CONFIG.quantization_config, modules_to_not_convert: modules };
    const tensors = expected({ ...V3_CONFIG, quantization_config });
    return tensors.filter(({ dtype }) => dtype === "BF16").length - 316;
  };
  assert.equal(plainWith(["lm_head"]), 0);
  assert.equal(plainWith(["model.layers.1"]), 8); // and not layers 10 to 19
  assert.equal(plainWith(["model.layers.1.*", "model.layers.2.self_attn.o_proj"]), 9);
  assert.equal(plainWith(["q_a_proj", "o_proj"]), 2 * 62);
  assert.equal(plainWith("o_proj"), 0);
  assert.equal(plainWith([1, null, {}]), 0);
});

/** Name, dtype and shape of every tensor, from the headers of a folder's shards. */
function headersOf(folder: string): string[] {
  const index = JSON.parse(readFileSync(`${folder}/model.safetensors.index.json`, "utf8"));
  return [...new Set(Object.values<string>(index.weight_map))].flatMap((file) => {
    const descriptor = openSync(`${folder}/${file}`, "r");
    const length = Buffer.alloc(8);
    readSync(descriptor, length, 0, 8, 0);
    const header = Buffer.alloc(Number(length.readBigUInt64LE()));
    readSync(descriptor, header, 0, header.length, 8);
    closeSync(descriptor);
    const { __metadata__, ...tensors } = JSON.parse(header.toString("utf8"));
    return Object.entries<ExpectedTensor>(tensors).map(([name, tensor]) => show({ ...tensor, name }));
  });
}

test("expectedTensors() equals the tensors of models/mini-v3", () => {
  const config = JSON.parse(readFileSync("models/mini-v3/config.json", "utf8"));
  const tensors = expected(config).map(show);
  assert.equal(tensors.length, 501);
  assert.deepEqual(tensors.sort(), headersOf("models/mini-v3").sort());
});

test("expectedTensors() is missing when the tensors cannot be derived", () => {
  const { quantization_config } = V3_CONFIG;
  const cases: [why: string, config: object][] = [
    ["a family without a derivation", { model_type: "qwen3_moe", num_hidden_layers: 2, num_experts: 4 }],
    ["a multimodal wrapper", { model_type: "kimi_vl", text_config: V3_CONFIG }],
    ["a quantisation we do not know", { ...V3_CONFIG, quantization_config: { quant_method: "awq" } }],
    ["FP8 without blocks", { ...V3_CONFIG, quantization_config: { quant_method: "fp8" } }],
    ["another FP8", { ...V3_CONFIG, quantization_config: { ...quantization_config, fmt: "e5m2" } }],
    ["a missing key", v3Without("kv_lora_rank")],
    ["too many experts", { ...V3_CONFIG, n_routed_experts: 1_000_000, n_group: 1, topk_group: 1 }],
    ["too many layers", { ...V3_CONFIG, num_hidden_layers: Number.MAX_SAFE_INTEGER }],
    ["too large a tensor", { ...V3_CONFIG, hidden_size: Number.MAX_SAFE_INTEGER }],
    ["too large a router", { ...V3_CONFIG, hidden_size: 2 ** 49, vocab_size: 1 }],
  ];
  for (const [why, config] of cases) {
    assert.equal(architectureOf(config).expectedTensors, undefined, why);
  }
});

test("configProblems() refuses the first config beyond MAX_TENSORS", () => {
  const config = (n_routed_experts: number): object => ({
    ...V3_CONFIG,
    ...{ num_hidden_layers: 1, first_k_dense_replace: 0, num_nextn_predict_layers: 0 },
    ...{ hidden_size: 1, vocab_size: 1, n_routed_experts, n_group: 1, topk_group: 1 },
  });
  const fixed = expected(config(8)).length - 8 * 6;
  const most = Math.floor((MAX_TENSORS - fixed) / 6);
  assert.deepEqual(configProblems(config(most)), []);
  assert.deepEqual(
    configProblems(config(most + 1)).map(({ code }) => code),
    ["config-too-large"],
  );
});

test("countTensors() is the length of expectedTensors()", () => {
  const small = { ...V3_CONFIG, num_hidden_layers: 7, n_routed_experts: 16 };
  const configs: Record<string, unknown>[] = [
    V3_CONFIG,
    V2_LITE_CONFIG,
    { ...small, num_nextn_predict_layers: 3, moe_layer_freq: 2, attention_bias: true },
    { ...small, n_routed_experts: 0, tie_word_embeddings: true },
    { ...small, n_shared_experts: 0, quantization_config: null },
  ];
  for (const config of configs) {
    const family = familyNamed(config)!;
    const sizes = readSizes(new ConfigReader(config), family.id);
    const storage: Storage = { quantization: quantizationOf(config, config), plain: "BF16" };
    assert.equal(countTensors(sizes, storage, new Naming(family, sizes)), expected(config).length);
  }
});
