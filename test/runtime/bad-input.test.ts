/** What is wrong with a checkpoint or its texts is told in one error that names it. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { TensorContent } from "../support/safetensors.ts";

import {
  type Damage,
  damaged,
  errorOf,
  type Json,
  loadError,
  loadText,
  setValue,
  type Told,
} from "./damaged-model.ts";

describe("config.json", () => {
  const cases: [string, (config: Json) => void, RegExp][] = [
    ["a missing key", (c) => delete c.kv_lora_rank, /kv_lora_rank/],
    ["a missing norm epsilon", (c) => delete c.rms_norm_eps, /rms_norm_eps/],
    ["a missing context", (c) => delete c.max_position_embeddings, /max_position_embeddings/],
    ["more experts chosen than there are", (c) => (c.num_experts_per_tok = 99), /num_experts_per_tok/],
    ["groups that do not divide the experts", (c) => (c.n_group = 5), /n_group/],
    ["more groups kept than there are", (c) => (c.topk_group = 9), /topk_group/],
    ["groups without how many are kept", (c) => delete c.topk_group, /topk_group.*missing/],
    ["kept groups without how many there are", (c) => delete c.n_group, /n_group.*missing/],
    ["a V3 gate without norm_topk_prob", (c) => delete c.norm_topk_prob, /norm_topk_prob.*missing/],
    ["a V3 gate without its factor", (c) => delete c.routed_scaling_factor, /routed_scaling_factor.*missing/],
    ["a rope base of 1", (c) => (c.rope_theta = 1), /rope_theta.*wanted a number above 1/],
    ["a rope base below 1", (c) => (c.rope_theta = 0.5), /rope_theta.*wanted a number above 1/],
    ["rope parameters that are no object", (c) => (c.rope_parameters = "x"), /rope_parameters.*an object/],
    [
      "a YaRN factor below 1",
      (c) => ((c.rope_scaling as Json).factor = 0.5),
      /rope_scaling.factor.*0.5.*a number of 1 or more/,
    ],
    [
      "YaRN's betas in the wrong order",
      (c) => Object.assign(c.rope_scaling as Json, { beta_fast: 1, beta_slow: 32 }),
      /beta_fast.*is 1, wanted at least beta_slow 32/,
    ],
    ["an odd rope width", (c) => (c.qk_rope_head_dim = 15), /qk_rope_head_dim/],
    ["an unknown activation", (c) => (c.hidden_act = "gelu"), /hidden_act.*"gelu"/],
    [
      "an unknown rope type",
      (c) => (c.rope_scaling = { type: "llama3", factor: 4 }),
      /rope_scaling.*"llama3"/,
    ],
    ["YaRN without a factor", (c) => delete (c.rope_scaling as Json).factor, /factor/],
    ["an unknown scoring", (c) => (c.scoring_func = "tanh"), /scoring_func.*"tanh"/],
    [
      "a language model within another",
      (c) => {
        const inner = { ...c };
        for (const key of Object.keys(c)) delete c[key];
        Object.assign(c, { model_type: "kimi_vl", text_config: inner });
      },
      /its config.json wraps that of the language model/,
    ],
    ["an unknown model", (c) => (c.model_type = "llama"), /model_type.*"llama".*wanted "deepseek_v3"/],
  ];
  for (const [what, damage, wanted] of cases) {
    test(`${what} is named`, async (t) => {
      const { message } = await loadError(t, { config: damage });
      assert.match(message, wanted);
      assert.match(message, /^Cannot .*wanted/m);
    });
  }

  test("everything is told at once", async (t) => {
    const { message } = await loadError(t, {
      config: (c) => {
        delete c.rms_norm_eps;
        c.hidden_act = "gelu";
        c.topk_group = 9;
      },
    });
    for (const key of ["rms_norm_eps", "hidden_act", "topk_group"]) assert.match(message, new RegExp(key));
  });
});

describe("tensors", () => {
  test("all missing ones are listed at once", async (t) => {
    const names = ["lm_head.weight", "model.norm.weight", "model.layers.2.mlp.experts.3.up_proj.weight"];
    const { message, code } = await loadError(t, {
      tensors: (all) => {
        for (const name of names) {
          all.delete(name);
          all.delete(`${name}_scale_inv`);
        }
      },
    });
    assert.equal(code, "missing-tensor");
    assert.deepEqual(message.match(/(?<=": ")[^"]+(?=" is missing)/g)!.sort(), [...names].sort());
  });

  test("missing ones are told whatever config.json says of quantisation", async (t) => {
    const { message, code } = await loadError(t, {
      config: (c) => (c.quantization_config = { quant_method: "gptq" }),
      tensors: (all) => all.delete("model.layers.2.input_layernorm.weight"),
    });
    assert.equal(code, "missing-tensor");
    assert.match(message, /"model.layers.2.input_layernorm.weight" is missing/);
  });

  const strangers: [string, Damage, RegExp][] = [
    ["fewer layers than there are", { config: (c) => (c.num_hidden_layers = 3) }, /"model.layers.3.[^"]+"/],
    ["shared experts that are there", { config: (c) => (c.n_shared_experts = 0) }, /shared_experts/],
    [
      "a router bias that the gate has no use for",
      {
        config: (c) =>
          Object.assign(c, { scoring_func: "softmax", topk_method: "greedy", norm_topk_prob: false }),
      },
      /e_score_correction_bias/,
    ],
    [
      "biases beside attention_bias false",
      {
        tensors: (all) =>
          all.set("model.layers.2.self_attn.o_proj.bias", {
            dtype: "F32",
            shape: [128],
            bytes: new Uint8Array(512),
          }),
      },
      /o_proj.bias/,
    ],
  ];
  for (const [what, damage, name] of strangers) {
    test(`config.json that denies what is in the layers is told: ${what}`, async (t) => {
      const { message, code } = await loadError(t, damage);
      assert.equal(code, "contradiction");
      assert.match(message, name);
      assert.match(
        message,
        /config.json has (no place for it|3 layers and there is no "model.layers.3.eh_proj.weight")/,
      );
    });
  }

  test("wrong shapes are told with both shapes", async (t) => {
    const { message } = await loadError(t, { config: (c) => (c.intermediate_size = 256) });
    assert.match(
      message,
      /^Cannot use "model.layers.0.mlp.gate_proj.weight" of "model": it is \[384, 128\], wanted \[256, 128\]$/m,
    );
    assert.match(message, /down_proj/);
  });

  test("NaN in weights is named with tensor and element", async (t) => {
    const fp8 = "model.layers.1.self_attn.o_proj.weight";
    const vector = "model.layers.3.input_layernorm.weight";
    const first = await loadError(t, {
      tensors: (all) => setValue(all, fp8, { at: 3 * 128 + 7, value: 0x7f }),
    });
    assert.match(
      first.message,
      /^Cannot use "model.layers.1.self_attn.o_proj.weight" of "model": element \[3, 7\] is not finite/,
    );
    const second = await loadError(t, {
      tensors: (all) => setValue(all, vector, { at: 9, value: Number.NaN }),
    });
    assert.match(
      second.message,
      /"model.layers.3.input_layernorm.weight" of "model": element \[9\] is not finite/,
    );
  });
});

describe("texts", () => {
  test("a tokenizer with more tokens than the embedding", async (t) => {
    const { code, message } = await loadError(t, {
      config: (c) => (c.vocab_size = 600),
      tensors: (all) => {
        for (const name of [...all.keys()]) {
          const tensor = all.get(name)!;
          if (tensor.shape[0] !== 640) continue;
          const rowBytes = tensor.bytes.length / 640;
          all.set(name, { ...tensor, shape: [600, 128], bytes: tensor.bytes.slice(0, 600 * rowBytes) });
        }
      },
    });
    assert.equal(code, "vocabulary");
    assert.match(message, /it has 6\d\d tokens, wanted at most the embedding's 600/);
  });

  async function askError(t: TestContext, tokenizerConfig: (config: Json) => void): Promise<Told> {
    const text = await loadText(damaged(t, { tokenizerConfig }));
    try {
      return await errorOf(async () => {
        for await (const _ of text.answer([{ role: "user", content: "?" }], { maxTokens: 1 }));
      });
    } finally {
      await text.dispose();
    }
  }

  test("a broken template: its parse error with line and column", async (t) => {
    const { message, note } = await askError(
      t,
      (config) => (config.chat_template = "{{ bos_token }}\n{% if %}x"),
    );
    assert.match(message, /^Cannot parse chat template "tokenizer_config.json:2:\d+": /);
    assert.match(note!, /--raw/);
  });

  for (const template of ["", "{{ nobody.knows }}"]) {
    test(`a template that makes nothing of the messages: ${JSON.stringify(template)}`, async (t) => {
      const { code, message } = await askError(t, (config) => (config.chat_template = template));
      assert.equal(code, "template");
      assert.match(message, /^Cannot use the chat template of "model": it makes nothing/);
    });
  }

  test("no template: what to do instead", async (t) => {
    const { code, note } = await askError(t, (config) => delete config.chat_template);
    assert.equal(code, "template-missing");
    assert.match(note!, /--raw/);
  });
});

test("a tied head that is there too must be the embedding", async (t) => {
  const config = (settings: Json) => (settings.tie_word_embeddings = true);
  const { code, message } = await loadError(t, { config });
  assert.equal(code, "contradiction");
  assert.match(
    message,
    /"tie_word_embeddings" is true, and "lm_head.weight" differs from "model.embed_tokens/,
  );
  const tensors = (all: Map<string, TensorContent>) =>
    all.set("lm_head.weight", all.get("model.embed_tokens.weight")!);
  const model = await loadModel(damaged(t, { config, tensors }), { threads: 1, mtp: false });
  await model.dispose();
});
