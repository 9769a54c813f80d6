import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "../../src/survey/inspect.ts";
import { indexText, type TestCheckpoint, type TestTensor, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { mini, miniConfig, without } from "./mini.ts";

type Mini = ReturnType<typeof mini>;

const UP = "model.layers.1.mlp.experts.0.up_proj.weight";
const BIAS = "model.layers.1.mlp.gate.e_score_correction_bias";
const FIRST = "model-00001-of-000002.safetensors";

/** The tensor of that name, changed. */
function changed({ shards }: Mini, name: string, change: Partial<TestTensor>): TestCheckpoint["shards"] {
  return shards.map((shard) => ({
    ...shard,
    tensors: shard.tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor)),
  }));
}

function added({ shards }: Mini, ...tensors: TestTensor[]): TestCheckpoint["shards"] {
  return [{ ...shards[0]!, tensors: [...shards[0]!.tensors, ...tensors] }, ...shards.slice(1)];
}

/** What a checkpoint is changed in, and the findings: code and a part of the message. */
const CASES: [
  what: string,
  change: (checkpoint: Mini) => Partial<TestCheckpoint>,
  findings: [string, RegExp][],
][] = [
  [
    "a scale that is missing, once",
    ({ shards }) => ({ shards: without(shards, (name) => name === `${UP}_scale_inv`) }),
    [["missing-block-scale", /up_proj.weight".* without a block scale, wanted a scale of shape \[1, 1\]/]],
  ],
  [
    "a weight that is missing, with its scale left alone",
    ({ shards }) => ({ shards: without(shards, (name) => name === UP) }),
    [
      [
        "missing-tensor",
        /^Cannot find "model.layers.1.mlp.experts.0.up_proj.weight" .* F8_E4M3 \[64, 128\]$/,
      ],
      ["orphan-scale", /up_proj.weight_scale_inv/],
    ],
  ],
  [
    "a wrong shape",
    (checkpoint) => ({ shards: changed(checkpoint, "model.norm.weight", { shape: [2, 64] }) }),
    [["shape-mismatch", /"model.norm.weight".*: its shape is \[2, 64\], wanted \[128\]$/]],
  ],
  [
    "a wrong shape of a scale, once",
    (checkpoint) => ({ shards: changed(checkpoint, `${UP}_scale_inv`, { shape: [1] }) }),
    [["scale-shape", /is \[1\], wanted \[1, 1\]/]],
  ],
  [
    "a wrong dtype",
    (checkpoint) => ({ shards: changed(checkpoint, BIAS, { dtype: "BF16", bytes: new Uint8Array(32) }) }),
    [["dtype-mismatch", /"model.layers.1.mlp.gate.e_score_correction_bias".*: it is BF16, wanted F32$/]],
  ],
  [
    "a tensor that config.json does not imply",
    (checkpoint) => ({
      shards: added(checkpoint, { name: "rope", dtype: "F32", shape: [1], bytes: new Uint8Array(4) }),
    }),
    [["unexpected-tensor", /^Found "rope" in /]],
  ],
  [
    "a layer that is not there, as one finding",
    ({ shards }) => ({ shards: without(shards, (name) => name.startsWith("model.layers.4.")) }),
    [["missing-layer", /^Cannot find MTP layer 4 of /]],
  ],
  [
    "a layer that is there twice",
    (checkpoint) => {
      const norm = checkpoint.shards[0]!.tensors.find(
        ({ name }) => name === "model.layers.0.input_layernorm.weight",
      )!;
      return {
        shards: added(checkpoint, { ...norm, name: norm.name.replace("model.", "language_model.model.") }),
      };
    },
    [
      ["unexpected-tensor", /"language_model.model.layers.0.input_layernorm.weight"/],
      ["duplicate-place", /^Found layer 0 twice in .*"language_model.*" and "model.layers.0/],
    ],
  ],
  ["config.json that is missing", () => ({ config: undefined as never }), [["no-config", /config.json/]]],
  [
    "config.json that contradicts itself",
    () => ({ config: { ...miniConfig(), n_group: 5 } }),
    [["config-contradiction", /"n_group"/]],
  ],
  [
    "FP8 without a quantization_config",
    () => ({ config: { ...miniConfig(), quantization_config: undefined, model_type: "glm4_moe" } }),
    [["quantization-missing", /^Found 232 FP8 tensors/]],
  ],
  [
    "a quantization_config without FP8",
    (checkpoint) => ({
      config: { ...miniConfig(), model_type: "glm4_moe", num_hidden_layers: 1, num_nextn_predict_layers: 0 },
      shards: added(
        { ...checkpoint, shards: [{ name: FIRST, tensors: [] }] },
        {
          ...{
            name: "model.layers.0.mlp.up_proj.weight",
            dtype: "F32",
            shape: [1],
            bytes: new Uint8Array(4),
          },
        },
      ),
    }),
    [["quantization-unused", /^Found no FP8 tensor/]],
  ],
  [
    "experts that are too few, in a family that we cannot derive",
    ({ shards }) => ({
      config: { ...miniConfig(), model_type: "glm4_moe" },
      shards: without(shards, (name) => name.startsWith("model.layers.2.mlp.experts.15.")),
    }),
    [
      [
        "expert-count",
        /^Cannot match layer 2 of .*: it has 15 routed experts, wanted 16 as config.json says$/,
      ],
    ],
  ],
  [
    "a total_size that is neither sum",
    ({ shards }) => ({ index: indexText(shards).replace(/"total_size": \d+/, '"total_size": 7') }),
    [["total-size", /^Found total_size 7 in the index of /]],
  ],
  [
    "code that auto_map names",
    () => ({
      config: { ...miniConfig(), auto_map: { AutoModel: "modeling_x.X", AutoConfig: "a/b--elsewhere.Y" } },
    }),
    [["missing-code", /^Cannot find "modeling_x.py" of /]],
  ],
  [
    "no tokenizer and no template",
    () => ({ files: {} }),
    [
      ["no-tokenizer", /^Found no tokenizer in /],
      ["no-chat-template", /^Found no chat template in /],
    ],
  ],
  [
    "side files that are damaged",
    ({ files }) => ({ files: { ...files, "generation_config.json": "{", "chimera.json": "{}" } }),
    [
      ["side-file", /^Cannot read "generation_config.json" of /],
      ["side-file", /^Cannot read "chimera.json" of .*: its format is not "chimera-child"$/],
    ],
  ],
  [
    "metadata without its format",
    ({ shards }) => ({ shards: [{ ...shards[0]!, metadata: {} }, shards[1]!] }),
    [["no-format", /in the metadata of "model-00001-of-000002.safetensors" of /]],
  ],
];

for (const [what, change, findings] of CASES) {
  test(`inspect() finds ${what}`, async (t) => {
    const checkpoint = mini();
    const { config, ...rest } = { ...checkpoint, ...change(checkpoint) };
    const folder = writeCheckpoint(temporaryFolder(t), { ...rest, ...(config ? { config } : {}) });
    const { problems } = await inspect(folder);
    assert.deepEqual(
      problems.map(({ code }) => code),
      findings.map(([code]) => code),
      problems.map(({ message }) => message).join("\n"),
    );
    for (const [index, [, message]] of findings.entries()) assert.match(problems[index]!.message, message);
  });
}

test("inspect() finds a stray shard and a missing one", async (t) => {
  const checkpoint = mini();
  const folder = writeCheckpoint(temporaryFolder(t), {
    ...checkpoint,
    shards: [checkpoint.shards[0]!],
    index: indexText(checkpoint.shards),
  });
  copyFileSync(join(folder, FIRST), join(folder, "stray.safetensors"));
  const report = await inspect(folder);
  assert.deepEqual(report.problems.map(({ code }) => code).sort(), ["missing-shard", "stray-shard"]);
  assert.deepEqual([report.opened, report.shards.missing.length], ["folder", 1]);
  assert.deepEqual(report.basis, { header: 278, config: 223, name: 0 }, "the rest is as config.json says");
  assert.equal(report.totals.bytes, 2_879_456);
});

test("inspect() shows names of strangers without what steers a terminal", async (t) => {
  const checkpoint = mini();
  const evil: TestTensor = { name: "\u001b[31mred", dtype: "F32", shape: [1], bytes: new Uint8Array(4) };
  const folder = writeCheckpoint(temporaryFolder(t), { ...checkpoint, shards: added(checkpoint, evil) });
  const { problems } = await inspect(folder);
  assert.match(problems[0]!.message, /"\\u001b\[31mred"/);
});
