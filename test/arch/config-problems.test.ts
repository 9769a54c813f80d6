import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { configProblems } from "../../src/arch/config-problems.ts";
import { V2_LITE_CONFIG, V3_CONFIG, v3Without } from "./v3-config.ts";

const lines = (config: unknown): string[] => configProblems(config).map(({ message }) => message);

test("configProblems() finds none in sound configs, in an unknown family or without a config", () => {
  const mini = JSON.parse(readFileSync("models/mini-v3/config.json", "utf8"));
  const qwen = { model_type: "qwen3_moe", num_hidden_layers: 48, num_experts: 128, num_experts_per_tok: 8 };
  const wrapped = { model_type: "kimi_vl", text_config: { n_routed_experts: 64, num_hidden_layers: 27 } };
  for (const config of [
    V3_CONFIG,
    V2_LITE_CONFIG,
    mini,
    qwen,
    wrapped,
    undefined,
    {},
    { hidden_size: "?" },
  ]) {
    assert.deepEqual(configProblems(config), []);
  }
});

describe("configProblems() says what is wrong:", () => {
  const cases: [config: unknown, message: string][] = [
    [null, "Cannot read config.json: it is null, wanted an object"],
    [[1, "a"], 'Cannot read config.json: it is [1, "a"], wanted an object'],
    [
      v3Without("kv_lora_rank"),
      'Cannot read "kv_lora_rank" of config.json: it is missing, wanted a whole number of 1 or more',
    ],
    [
      { ...V3_CONFIG, hidden_size: "7168" },
      'Cannot read "hidden_size" of config.json: it is "7168", wanted a whole number of 1 or more',
    ],
    [
      { ...V3_CONFIG, vocab_size: -1 },
      'Cannot read "vocab_size" of config.json: it is -1, wanted a whole number of 1 or more',
    ],
    [
      { ...V3_CONFIG, v_head_dim: 1.5 },
      'Cannot read "v_head_dim" of config.json: it is 1.5, wanted a whole number of 1 or more',
    ],
    [
      { ...V3_CONFIG, q_lora_rank: [1536] },
      'Cannot read "q_lora_rank" of config.json: it is [1536], wanted a whole number of 0 or more, or null',
    ],
    [
      { ...V3_CONFIG, num_hidden_layers: 1e300 },
      'Cannot read "num_hidden_layers" of config.json: it is 1e+300, wanted a whole number of 1 or more',
    ],
    [
      { ...V3_CONFIG, attention_bias: "no" },
      'Cannot read "attention_bias" of config.json: it is "no", wanted true or false',
    ],
    [
      { ...V3_CONFIG, scoring_func: "sqrtsoftplus" },
      'Cannot read "scoring_func" of config.json: it is "sqrtsoftplus", wanted "sigmoid" or "softmax"',
    ],
    [
      { ...V3_CONFIG, n_routed_experts: 250 },
      'Cannot use "n_group" of config.json: it is 8, wanted a divisor of the 250 routed experts',
    ],
    [
      { ...V3_CONFIG, topk_group: 9 },
      'Cannot use "topk_group" of config.json: it is 9, wanted at most n_group 8',
    ],
    [
      { ...V3_CONFIG, num_experts_per_tok: 129 },
      'Cannot use "num_experts_per_tok" of config.json: it is 129, wanted at most the 128 routed experts of 4 of 8 groups',
    ],
    [
      { ...V3_CONFIG, qk_rope_head_dim: 63 },
      'Cannot use "qk_rope_head_dim" of config.json: it is 63, wanted an even number',
    ],
    [
      { ...V3_CONFIG, quantization_config: "fp8" },
      'Cannot read "quantization_config" of config.json: it is "fp8", wanted an object',
    ],
    [
      { ...V3_CONFIG, quantization_config: { quant_method: "fp8", weight_block_size: [128, 0] } },
      'Cannot read "quantization_config.weight_block_size" of config.json: it is [128, 0], wanted two sizes, as [128, 128]',
    ],
    [
      { ...V3_CONFIG, num_hidden_layers: 1e9 },
      "Cannot use config.json: it describes 1,000,000,001 tensors, wanted at most 2,000,000",
    ],
    [
      { ...V3_CONFIG, hidden_size: 2 ** 50 },
      'Cannot use config.json: it gives "model.embed_tokens.weight" the shape [129280, 1125899906842624], wanted less than 2^53 bytes',
    ],
    [
      { model_type: "qwen3_moe", num_hidden_layers: 2, num_local_experts: 4 },
      'Cannot read "num_experts" of config.json: it is missing, wanted a whole number of 1 or more',
    ],
    [
      { model_type: "llama", num_hidden_layers: 2, num_attention_heads: 32, num_key_value_heads: 5 },
      'Cannot use "num_attention_heads" of config.json: it is 32, wanted a multiple of num_key_value_heads 5',
    ],
    [
      { model_type: "glm4_moe", num_hidden_layers: 2, n_routed_experts: 9, n_group: 2 },
      'Cannot use "n_group" of config.json: it is 2, wanted a divisor of the 9 routed experts',
    ],
  ];
  for (const [config, message] of cases) {
    test(message, () => assert.deepEqual(lines(config), [message]));
  }
});

test("configProblems() reports everything at once", () => {
  const config = {
    ...v3Without("vocab_size", "v_head_dim"),
    hidden_size: 0,
    n_group: 7,
    tie_word_embeddings: 1,
  };
  assert.deepEqual(
    configProblems(config).map(({ code }) => code),
    [
      "config-missing-key", // vocab_size
      "config-bad-value", // hidden_size
      "config-missing-key", // v_head_dim
      "config-bad-value", // tie_word_embeddings
      "config-contradiction", // n_group
    ],
  );
});

test("configProblems() offers the misspelt key", () => {
  const [problem] = configProblems({ ...v3Without("hidden_size"), hiden_size: 7168 });
  assert.equal(problem!.note, 'There is a key "hiden_size"; if it is a misspelling, correct it');
});

test("configProblems() shows control characters and long values tamely", () => {
  const [control] = lines({ ...V3_CONFIG, hidden_size: "\u001b[31m\u009b" });
  assert.ok(control!.includes('it is "\\u001b[31m?",'), control);
  const [long] = lines({ ...V3_CONFIG, hidden_size: "x".repeat(10_000) });
  assert.ok(long!.length < 200, long);
});

test("configProblems() never throws on any JSON value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      configProblems(value);
      configProblems({ ...V3_CONFIG, ...(typeof value === "object" ? value : { hidden_size: value }) });
    }),
    { seed: 11, numRuns: 500 },
  );
});
