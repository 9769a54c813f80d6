/** What is wrong with a model is told in one error that names it, and never ends in a hang. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { argmax, generate } from "../../src/runtime/generate.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";
import { requireMemory } from "../../src/runtime/require-memory.ts";
import { attachText, type TextModel } from "../../src/runtime/talk.ts";
import { readCheckpointTensors, type TensorContent, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { countedReference, counts } from "./counted-source.ts";

type Json = Record<string, unknown>;
const MODEL = "models/mini-v3";
const FILES = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"];

interface Damage {
  config?: (config: Json) => void;
  tensors?: (tensors: Map<string, TensorContent>) => void;
  tokenizerConfig?: (config: Json) => void;
}

/** A copy of mini-v3 with something wrong. */
function damaged(t: TestContext, { config, tensors, tokenizerConfig }: Damage): string {
  const folder = join(temporaryFolder(t), "model");
  const read = (file: string) => JSON.parse(readFileSync(join(MODEL, file), "utf8")) as Json;
  const settings = read("config.json");
  config?.(settings);
  if (tensors) {
    const all = readCheckpointTensors(MODEL);
    tensors(all);
    const list = [...all].map(([name, content]) => ({ name, ...content }));
    writeCheckpoint(folder, { config: settings, shards: [{ name: "model.safetensors", tensors: list }] });
    for (const file of FILES) cpSync(join(MODEL, file), join(folder, file));
  } else {
    cpSync(MODEL, folder, { recursive: true });
    writeFileSync(join(folder, "config.json"), JSON.stringify(settings));
  }
  if (tokenizerConfig) {
    const value = read("tokenizer_config.json");
    tokenizerConfig(value);
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(value));
  }
  return folder;
}

interface Told {
  name: string;
  code: string;
  message: string;
  note: string | undefined;
}

/** The error of an action, as it is told. */
async function errorOf(action: () => Promise<unknown>): Promise<Told> {
  try {
    await action();
  } catch (error) {
    const { name, code, message, note } = error as Told;
    return { name, code, message, note };
  }
  return assert.fail("nothing was wrong");
}

async function loadText(folder: string): Promise<TextModel> {
  const model = await loadModel(checkpointReference(folder), { threads: 1 });
  try {
    return await attachText(model);
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

async function loadError(t: TestContext, damage: Damage): Promise<Told> {
  const told = await errorOf(async () => {
    await (await loadText(damaged(t, damage))).dispose();
  });
  assert.equal(told.name, "CheckpointError", told.message);
  return told;
}

/** Loads a damaged model and generates some tokens with it. */
async function runError(t: TestContext, damage: Damage, options: ModelOptions = {}): Promise<Told> {
  const model = await loadModel(checkpointReference(damaged(t, damage)), { threads: 1, ...options });
  try {
    return await errorOf(async () => {
      const all = { prompt: [0, 5, 6, 7], choose: argmax, maxTokens: 3 };
      for await (const _ of generate(model, model.newSequence(), all));
    });
  } finally {
    await model.dispose();
  }
}

function setValue(
  tensors: Map<string, TensorContent>,
  name: string,
  { at, value }: { at: number; value: number },
) {
  const { dtype, bytes } = tensors.get(name)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === "BF16") {
    const word = new DataView(new ArrayBuffer(4));
    word.setFloat32(0, value);
    view.setUint16(2 * at, word.getUint16(0), true);
  } else if (dtype === "F32") view.setFloat32(4 * at, value, true);
  else bytes[at] = value; // a code
}

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

describe("activations that are not finite", () => {
  const large = (name: string) => (all: Map<string, TensorContent>) => {
    for (let at = 0; at < 128; at++) setValue(all, name, { at, value: 3e38 });
  };
  for (const threads of [1, 2]) {
    test(`name the layer, with ${threads} threads, and the model goes on`, async (t) => {
      const name = "model.layers.2.post_attention_layernorm.weight";
      const { code, message } = await runError(t, { tensors: large(name) }, { threads });
      assert.equal(code, "not-finite");
      assert.match(message, /^Cannot go on: the output of layer 2 holds a number that is not finite/);
    });
  }

  test("name the final norm, and the MTP layer", async (t) => {
    const { message } = await runError(t, { tensors: large("model.norm.weight") });
    assert.match(message, /^Cannot go on: the output of the final norm holds .* not finite/);
    const mtp = await runError(t, { tensors: large("model.layers.4.input_layernorm.weight") });
    assert.match(mtp.message, /^Cannot go on: the output of layer 4 holds/);
  });

  for (const threads of [1, 2]) {
    test(`name the id whose logit overflows, with ${threads} threads`, async (t) => {
      const { name, code, message } = await runError(t, { tensors: large("lm_head.weight") }, { threads });
      assert.deepEqual([name, code], ["CheckpointError", "not-finite"]);
      assert.match(
        message,
        /^Cannot go on: the logit of id 0 is not finite \(token 3 of the pass\), wanted finite logits$/,
      );
    });
  }
});

describe("a model that is not loaded leaves nothing open", () => {
  const cases: [string, Damage, string][] = [
    ["config.json", { config: (c) => delete c.rms_norm_eps }, "config-missing-key"],
    ["a missing tensor", { tensors: (all) => all.delete("lm_head.weight") }, "missing-tensor"],
    [
      "a bad value",
      { tensors: (all) => setValue(all, "model.norm.weight", { at: 0, value: Number.NaN }) },
      "not-finite",
    ],
    ["no memory", {}, "not-enough-memory"],
  ];
  for (const [what, damage, wanted] of cases) {
    test(what, async (t) => {
      const folder = damaged(t, damage);
      const system = process as { availableMemory?: () => number };
      const own = system.availableMemory;
      if (wanted === "not-enough-memory") system.availableMemory = () => 1_000_000;
      t.after(() => Object.assign(system, { availableMemory: own }));
      const before = { ...counts };
      const { code } = await errorOf(() => loadModel(countedReference(folder), { threads: 1 }));
      const [opened, closed] = [counts.opened - before.opened, counts.closed - before.closed];
      assert.deepEqual([code, opened, closed], [wanted, 1, 1]);
    });
  }
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

describe("options", () => {
  const wrong: [options: object, message: RegExp][] = [
    [{ cache: "f16" }, /cache "f16", wanted one of f32, bf16, fp8/],
    [{ weights: "int4" }, /weights "int4", wanted one of stored, int8/],
    [{ kernels: "gpu" }, /kernels "gpu", wanted one of auto, wasm, scalar/],
    [{ threads: 0 }, /with 0 threads, wanted 1 to 256/],
    [{ context: -5 }, /context -5, wanted a whole number above 0/],
    [{ chunk: Number.NaN }, /chunk NaN, wanted a whole number above 0/],
    [{ expertMemory: -1 }, /expertMemory -1, wanted a number of bytes/],
  ];
  for (const [options, message] of wrong) {
    test(`${JSON.stringify(options)} is refused before anything is read`, async () => {
      await assert.rejects(loadModel("models/none", options as ModelOptions), {
        name: "RangeError",
        message,
      });
    });
  }
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

describe("memory", () => {
  const need = { numRanks: 2, weightBytes: 1000e6, bufferBytes: 100e6, expertBytes: 0 };
  const refusal = (cacheBytes: number, available: number) =>
    errorOf(async () => requireMemory(need, { cacheBytes, available, context: 10_000 }));

  test("is asked for before loading, and what would fit is told", async () => {
    requireMemory(need, { cacheBytes: 400e6, available: 1500e6, context: 10_000 });
    const { code, message, note } = await refusal(400e6, 1300e6);
    assert.equal(code, "not-enough-memory");
    assert.match(
      message,
      /takes 1.50 GB \(weights .*, cache .* for 10000 tokens\), wanted at most the 1.30 GB/,
    );
    assert.match(note!, /--context 5000$/);
    assert.match((await refusal(400e6, 900e6)).note!, /^The weights alone do not fit/);
  });

  test("counts what a thread takes for itself", async () => {
    const buffers: number[] = [];
    for (const threads of [1, 4]) {
      const model = await loadModel(checkpointReference(MODEL), { threads, chunk: 1, mtp: false });
      buffers.push(model.need.bufferBytes);
      await model.dispose();
    }
    const each = (buffers[1]! - buffers[0]!) / 3;
    assert.ok(each > 20e6 && each < 40e6, `${each} bytes`); // 20 MB were measured
  });

  test("loadModel() asks the system", async (t) => {
    t.mock.method(process, "availableMemory", () => 1e9);
    const told = await errorOf(() => loadModel(checkpointReference(MODEL), { threads: 1, context: 2 ** 24 }));
    assert.equal(told.code, "not-enough-memory");
    assert.match(told.note!, /--context 6\d\d\d\d\d$/); // of 1600 bytes each
  });
});

describe("a thread that dies is an error, not a hang", () => {
  test("in a pass, and in every one after it", async (t) => {
    const workers: Worker[] = [];
    const original = Worker.prototype.postMessage;
    t.mock.method(Worker.prototype, "postMessage", function (this: Worker, value: unknown) {
      workers.push(this); // they are told of the cache's memory before the first pass
      original.call(this, value);
    });
    const model = await loadModel(checkpointReference(MODEL), { threads: 2 });
    const sequence = model.newSequence();
    const pass = model.append([{ sequence, tokens: Array(250).fill(5) }]);
    const death = assert.rejects(pass, /^Error: Cannot go on: thread 1 of the model has ended/);
    while (workers.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    await Promise.all([workers[1]!.terminate(), death]);
    await assert.rejects(model.append([{ sequence, tokens: [5] }]), /thread 1 of the model has ended/);
    await model.dispose();
  });

  test("while it loads", async () => {
    const code = `import { isMainThread } from "node:worker_threads";
      export async function openWeights({ module, data }) {
        if (!isMainThread) process.exit(3);
        return (await import(module)).openWeights(data);
      }`;
    const module = `data:text/javascript,${encodeURIComponent(code)}`;
    const reference = { module, data: checkpointReference(MODEL) };
    await assert.rejects(
      loadModel(reference, { threads: 2 }),
      /thread [01] of the model has ended \(status 3\)/,
    );
  });
});
