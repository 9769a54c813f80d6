import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { architectureOf } from "../../src/arch/architecture.ts";
import { FAMILIES } from "../../src/arch/families.ts";
import { V3_CONFIG, v3Without } from "./v3-config.ts";

test("architectureOf() reads DeepSeek-V3", () => {
  const { id, known, label, numLayers, numMtpLayers, numExperts, block, scaleFormat, quantization } =
    architectureOf(V3_CONFIG);
  assert.deepEqual(
    { id, known, label, numLayers, numMtpLayers, numExperts, block, scaleFormat, quantization },
    {
      id: "deepseek_v3",
      known: true,
      label: "DeepSeek-V3",
      numLayers: 61,
      numMtpLayers: 1,
      numExperts: 256,
      block: { rows: 128, cols: 128 },
      scaleFormat: "float",
      quantization: "fp8-block",
    },
  );
});

describe("architectureOf() recognises", () => {
  for (const { id, modelTypes, classes } of FAMILIES) {
    for (const model_type of modelTypes) {
      test(`model_type ${model_type}`, () => assert.equal(architectureOf({ model_type }).id, id));
    }
    for (const name of classes) {
      test(`class ${name}`, () => {
        assert.equal(architectureOf({ architectures: [name] }).id, id);
        assert.equal(architectureOf({ model_type: "mine", architectures: ["Mine", name] }).id, id);
      });
    }
  }
});

test("architectureOf() counts experts by the family's own key", () => {
  const counts = { num_experts: 1, n_routed_experts: 2, num_local_experts: 3 };
  const read = (model_type: string): number | undefined =>
    architectureOf({ model_type, ...counts }).numExperts;
  assert.deepEqual(
    ["qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2", "kimi_k2", "glm4_moe", "mixtral", "llama"].map(read),
    [1, 1, 1, 2, 2, 2, 3, undefined],
  );
});

test("architectureOf() reads the language model of a multimodal config", () => {
  const text = v3Without("model_type", "architectures", "quantization_config");
  const { quantization_config } = V3_CONFIG;
  const configs = [
    {
      model_type: "kimi_vl",
      text_config: text,
      vision_config: { num_hidden_layers: 27 },
      quantization_config,
    },
    { model_type: "other_vl", text_config: { ...text, model_type: "deepseek_v3", quantization_config } },
    { model_type: "other_vl", language_config: { ...V3_CONFIG } },
  ];
  for (const config of configs) {
    const { id, numLayers, numExperts, quantization } = architectureOf(config);
    assert.deepEqual([id, numLayers, numExperts, quantization], ["deepseek_v3", 61, 256, "fp8-block"]);
  }
  assert.equal(architectureOf({ ...V3_CONFIG, text_config: { num_hidden_layers: 3 } }).numLayers, 61);
});

test("architectureOf() makes everything other in an unknown family", () => {
  const unknown = architectureOf({
    model_type: "deepseek_v4",
    num_hidden_layers: 2,
    quantization_config: {},
  });
  assert.deepEqual(
    [unknown.id, unknown.known, unknown.label, unknown.numLayers, unknown.quantization],
    ["unknown", false, "unknown (deepseek_v4)", 2, "other"],
  );
  const name = "model.layers.5.mlp.experts.0.up_proj.weight";
  assert.deepEqual(unknown.locate(name), { role: "other", matrix: "up_proj", mtp: false });
  assert.equal(unknown.quantizable(name), false);
  assert.equal(unknown.keepsF32("model.layers.5.mlp.gate.e_score_correction_bias"), false);
  assert.equal(unknown.expectedTensors, undefined);
  assert.equal(architectureOf({ model_type: "\u001b[2J" }).label, "unknown");
  assert.equal(architectureOf(undefined).label, "unknown");
});

test("architectureOf() is not led astray by names of built-in properties", () => {
  for (const model_type of ["constructor", "__proto__", "toString"]) {
    assert.equal(architectureOf({ model_type }).known, false);
  }
  assert.equal(architectureOf(JSON.parse('{"__proto__": {"model_type": "llama"}}')).known, false);
});

const VALUES = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>("61", 1e300, -1, 0.5, 2 ** 53, null, [], {}, "deepseek_v3", [
    "DeepseekV3ForCausalLM",
  ]),
);

test("architectureOf() never throws on any JSON value, nor do the functions it gives", () => {
  const keys = [...Object.keys(V3_CONFIG), "text_config", "dtype", "num_experts"];
  const changes = fc.dictionary(fc.constantFrom(...keys), VALUES, { maxKeys: 6 });
  // Small, so that the lists stay short; what the changes make of it is up to them.
  const small = { ...V3_CONFIG, num_hidden_layers: 4, n_routed_experts: 16 };
  fc.assert(
    fc.property(
      fc.oneof(
        VALUES,
        changes.map((change) => ({ ...small, ...change })),
      ),
      fc.string(),
      (config, name) => {
        const architecture = architectureOf(config);
        for (const text of [name, `model.layers.${name}`, `model.layers.1.${name}`]) {
          assert.equal(typeof architecture.locate(text).role, "string");
          architecture.quantizable(text);
          architecture.keepsF32(text);
        }
        const tensors = architecture.expectedTensors?.() ?? [];
        assert.ok(tensors.length <= 2_000_000);
        for (const { shape } of tensors)
          assert.ok(shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0));
      },
    ),
    { seed: 17, numRuns: 500 },
  );
});

test("architectureOf() takes an own key __proto__ or a value with a toString for what they are", () => {
  const config = JSON.parse(
    '{"model_type": {"toString": 1}, "quantization_config": {"__proto__": 1, "fmt": {}}}',
  );
  assert.equal(architectureOf(config).quantization, "other");
});
