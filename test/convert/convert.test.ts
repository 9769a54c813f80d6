/** A checkpoint as GGUF: what is written is read back, and rounded as its definition says. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type ModelConfig, modelConfigOf } from "../../src/arch/model-config.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { convertToGguf, type OutputType } from "../../src/convert/convert.ts";
import { tensorsOf } from "../../src/convert/deepseek2.ts";
import { tokenizerMetadata } from "../../src/convert/tokenizer-metadata.ts";
import { encodeBlocks } from "../../src/gguf/blocks.ts";
import { encodeGgufHeader, u32 } from "../../src/gguf/write.ts";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import type { WeightReference } from "../../src/logical/weight-source.ts";
import { E4M3_VALUES } from "../../src/tensor/float8.ts";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import { readCheckpointTensors, type TensorContent } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { BLOCKS, floatsOf, readGguf } from "./gguf-file.ts";

const MINI = fileURLToPath(new URL("../../../models/mini-v3", import.meta.url));

/** About Gaussian, with zeros and values of very different size. */
function someValues(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) =>
    i % 37 === 0 ? 0 : Math.sin(i * 12.9898) * Math.cos(i * 78.233) * 2 ** ((i >> 6) % 40) * 1e-6,
  );
}

describe("encodeBlocks()", () => {
  test("Q8_0: scale 1 as F16, codes rounded with halves away from zero", () => {
    const values = new Float32Array(32);
    values.set([127, -127, 0.5, -0.5, 1.5, -1.5, 2.25, -2.25, 126.5, -126.5, 0.49, -0.49]);
    const expected = [
      0x00,
      0x3c,
      127,
      0x81,
      1,
      0xff,
      2,
      0xfe,
      2,
      0xfe,
      127,
      0x81,
      0,
      0,
      ...Array(20).fill(0),
    ];
    assert.deepEqual([...encodeBlocks("Q8_0", values)], expected);
  });

  test("Q8_0: equals the definition, block by block", () => {
    const values = someValues(32 * 200);
    const bytes = encodeBlocks("Q8_0", values);
    assert.equal(bytes.length, 34 * 200);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let block = 0; block < 200; block++) {
      const some = [...values.subarray(32 * block, 32 * block + 32)];
      const scale = Math.fround(Math.max(...some.map(Math.abs)) / 127);
      assert.equal(view.getUint16(34 * block, true), encodeF16(scale));
      const codes = some.map((value) => {
        const steps = Math.fround(value * Math.fround(1 / scale));
        return Math.sign(steps) * Math.round(Math.abs(steps)) + 0;
      });
      const found = some.map((_, i) => view.getInt8(34 * block + 2 + i));
      assert.deepEqual(found, codes, `block ${block}`);
      // Within half a step, and what rounding the scale to F16 adds.
      const stored = decodeF16(encodeF16(scale));
      const slack = 127 * Math.abs(stored - scale) + 1e-6 * scale;
      for (const [i, value] of some.entries())
        assert.ok(Math.abs(found[i]! * stored - value) <= scale / 2 + slack, `block ${block}, ${i}`);
    }
  });

  test("Q8_0: a block of zeros has scale 0", () => {
    assert.deepEqual(encodeBlocks("Q8_0", new Float32Array(32)), new Uint8Array(34));
    // Scales that have no inverse in float32, of either sign.
    const tiny = Float32Array.from({ length: 32 }, (_, i) => ((i % 3) - 1) * 1e-37);
    assert.deepEqual(encodeBlocks("Q8_0", tiny), new Uint8Array(34));
    assert.throws(() => encodeBlocks("Q8_0", new Float32Array(33)), /Cannot encode 33 elements as Q8_0/);
  });

  test("BF16 equals the reference codec, also half-way and at a carry", () => {
    const odd = [1.00390625, 1.01171875, 0.99999994, -3.4e38, 1e-40, 0, -0];
    const values = Float32Array.from([...someValues(1000), ...odd]);
    const bytes = encodeBlocks("BF16", values);
    assert.deepEqual([...new Uint16Array(bytes.buffer)], [...values].map(encodeBf16));
  });
});

describe("encodeGgufHeader()", () => {
  test("as bytes", () => {
    const header = encodeGgufHeader(new Map([["k", u32(7)]]), [{ name: "t", type: "BF16", shape: [3, 2] }]);
    const expected = [
      ...[0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0],
      ...[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
      ...[1, 0, 0, 0, 0, 0, 0, 0, 0x6b, 4, 0, 0, 0, 7, 0, 0, 0],
      ...[1, 0, 0, 0, 0, 0, 0, 0, 0x74, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
      ...[30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert.deepEqual([...header.subarray(0, expected.length)], expected);
    assert.equal(header.length % 32, 0);
  });
});

describe("convertToGguf() of a trained model", () => {
  const folder = temporaryFolder({ after });
  const written = (type: OutputType) => {
    const path = join(folder, `${type}.gguf`);
    return existsSync(path)
      ? path
      : convertToGguf(checkpointReference(MINI), path, { type }).then(() => path);
  };

  for (const type of ["f32", "f16", "bf16", "q8_0"] as const) {
    test(`${type}: tensors follow one another on multiples of 32 and fill the file`, async () => {
      const file = readGguf(await written(type));
      assert.equal(file.version, 3);
      let end = 0;
      for (const [name, { dims, type: number, offset }] of file.tensors) {
        assert.equal(offset, Math.ceil(end / 32) * 32, name);
        const [elements, bytes] = BLOCKS[number]!;
        end = offset + (dims.reduce((product, dim) => product * dim, 1) / elements!) * bytes!;
      }
      assert.equal(file.data.length, Math.ceil(end / 32) * 32);
    });
  }

  test("keys say what config.json says", async () => {
    const { metadata } = readGguf(await written("f32"));
    const get = (key: string) => metadata.get(`deepseek2.${key}`);
    assert.equal(metadata.get("general.architecture"), "deepseek2");
    assert.equal((metadata.get("tokenizer.ggml.tokens") as string[]).length, 640);
    const expected = {
      block_count: 4,
      leading_dense_block_count: 1,
      expert_count: 16,
      expert_used_count: 4,
      expert_group_count: 4,
      expert_group_used_count: 2,
      expert_gating_func: 2,
      expert_weights_norm: true,
      expert_weights_scale: 2.5,
      "attention.key_length": 80,
      "attention.value_length": 64,
      "attention.key_length_mla": 48,
      "attention.value_length_mla": 32,
      "attention.head_count_kv": 1,
      "rope.scaling.type": "yarn",
      "rope.scaling.factor": 4,
      "rope.scaling.yarn_log_multiplier": Math.fround(0.1),
    };
    for (const [key, value] of Object.entries(expected)) assert.equal(get(key), value, key);
  });

  test("experts are stacked, kv_b is cut by heads and its keys transposed, norms are whole", async () => {
    const file = readGguf(await written("f32"));
    const tensors = readCheckpointTensors(MINI);
    const whole = (name: string) => floatsOfCheckpoint(tensors, name);
    const up = floatsOf(file, "blk.2.ffn_up_exps.weight");
    assert.deepEqual(file.tensors.get("blk.2.ffn_up_exps.weight")!.dims, [128, 64, 16]);
    for (const expert of [0, 7, 15]) {
      const found = up.subarray(expert * 64 * 128, (expert + 1) * 64 * 128);
      assert.deepEqual(found, whole(`model.layers.2.mlp.experts.${expert}.up_proj.weight`));
    }
    const both = whole("model.layers.1.self_attn.kv_b_proj.weight"); // (4 heads × (32 + 32), 64)
    const keys = floatsOf(file, "blk.1.attn_k_b.weight"); // (4, 64, 32)
    const values = floatsOf(file, "blk.1.attn_v_b.weight"); // (4, 32, 64)
    for (let head = 0; head < 4; head++) {
      for (let i = 0; i < 32; i++) {
        for (let l = 0; l < 64; l++) {
          assert.equal(keys[(head * 64 + l) * 32 + i], both[(head * 64 + i) * 64 + l]);
          assert.equal(values[(head * 32 + i) * 64 + l], both[(head * 64 + 32 + i) * 64 + l]);
        }
      }
    }
    assert.deepEqual(
      floatsOf(file, "blk.3.ffn_norm.weight"),
      whole("model.layers.3.post_attention_layernorm.weight"),
    );
    assert.deepEqual(
      floatsOf(file, "blk.3.exp_probs_b.bias"),
      whole("model.layers.3.mlp.gate.e_score_correction_bias"),
    );
    assert.equal(
      [...file.tensors.keys()].some((name) => name.startsWith("blk.4.")),
      false,
      "an MTP layer",
    );
  });
});

describe("tokenizerMetadata()", () => {
  const preOf = async (change: (json: string) => string) => {
    const store = openStore(MINI);
    const readSmall = async (name: string, limit?: number) => {
      const bytes = await store.readSmall(name, limit);
      if (name !== "tokenizer.json" || !bytes) return bytes;
      return Buffer.from(change(Buffer.from(bytes).toString()));
    };
    const metadata = await tokenizerMetadata({ readSmall }, { numTokens: 640 });
    return Buffer.from(metadata.get("tokenizer.ggml.pre")!).toString("latin1").slice(12);
  };

  test("knows DeepSeek-V3's way of splitting, its line ends spelt or as they are, as in DeepSeek's own file", async () => {
    assert.equal(await preOf((json) => json), "deepseek-v3");
    const asTheyAre = (json: string) => json.replaceAll("\\\\r", "\\r").replaceAll("\\\\n", "\\n");
    assert.notEqual(asTheyAre("\\\\r"), "\\\\r");
    assert.equal(await preOf(asTheyAre), "deepseek-v3");
  });

  test("refuses a way that it knows no name for", async () => {
    await assert.rejects(
      preOf((json) => json.replace("{1,3}", "{1,2}")),
      { code: "tokenizer", message: /splits text in a way that has no known name/ },
    );
  });
});

describe("convertToGguf() refuses", () => {
  const folder = temporaryFolder({ after });
  const path = join(folder, "never.gguf");

  /** mini-v3, one tensor changed. */
  function changed(name: string, change: object): WeightReference {
    const data = { location: MINI, name, ...change };
    return { module: new URL("./changed-weights.js", import.meta.url).href, data };
  }

  const cases: [what: string, reference: WeightReference, type: OutputType, code: string, message: RegExp][] =
    [
      [
        "NaN",
        changed("model.norm.weight", { value: Number.NaN }),
        "f32",
        "not-finite",
        /"output_norm.weight" as F32: "model.norm.weight" holds NaN/,
      ],
      [
        "what F16 cannot hold",
        changed("lm_head.weight", { value: 70000 }),
        "f16",
        "not-finite",
        /"output.weight" as F16: "lm_head.weight" holds 70000/,
      ],
      [
        "a weight that is not there",
        changed("lm_head.weight", { isMissing: true }),
        "bf16",
        "missing-tensor",
        /"lm_head.weight" of "mini-v3" is not there/,
      ],
      [
        "another shape than the config's",
        changed("lm_head.weight", { shape: [639, 128] }),
        "bf16",
        "shape-mismatch",
        /"lm_head.weight" is \[639, 128\]/,
      ],
    ];
  for (const [what, reference, type, code, message] of cases) {
    test(`${what}, and leaves nothing`, async () => {
      await assert.rejects(convertToGguf(reference, path, { type }), { code, message });
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  test("to go on when it is told to stop, and leaves nothing", async () => {
    const controller = new AbortController();
    const options = {
      type: "bf16",
      signal: controller.signal,
      onProgress: () => controller.abort(),
    } as const;
    await assert.rejects(convertToGguf(checkpointReference(MINI), path, options), { name: "Interrupted" });
    assert.deepEqual(readdirSync(folder), []);
  });
});

describe("tensorsOf()", () => {
  const config = modelConfigOf(JSON.parse(readFileSync(join(MINI, "config.json"), "utf8"))) as ModelConfig;

  test("Q8_0: rows that are no multiple of 32 stay BF16, norms and routers F32", () => {
    const narrow = { ...config, sizes: { ...config.sizes, nopeDim: 24 } };
    const typeOf = (name: string) => tensorsOf(narrow, "Q8_0").find((tensor) => tensor.name === name)!.type;
    assert.equal(typeOf("blk.0.attn_k_b.weight"), "BF16");
    assert.equal(typeOf("blk.0.attn_v_b.weight"), "Q8_0");
    assert.equal(typeOf("blk.1.ffn_gate_inp.weight"), "F32");
    assert.equal(typeOf("output_norm.weight"), "F32");
  });

  test("refuses what the format has no words for", () => {
    const yarn = { ...config.rope.yarn!, mscaleAllDim: 0.5 };
    const refusals: [ModelConfig, RegExp][] = [
      [
        { ...config, rope: { ...config.rope, yarn } },
        /mscale is 1 and mscale_all_dim 0.5, wanted equal ones/,
      ],
      [{ ...config, rope: { ...config.rope, interleaved: false } }, /halves apart, wanted neighbours/],
      [{ ...config, sizes: { ...config.sizes, hasAttentionBias: true } }, /biases, wanted none/],
      [{ ...config, sizes: { ...config.sizes, moeEvery: 2 } }, /every 2th layer is MoE, wanted each/],
    ];
    for (const [model, message] of refusals) assert.throws(() => tensorsOf(model, "BF16"), message);
  });
});

/** By the definition of block scales, in float32. */
function floatsOfCheckpoint(tensors: Map<string, TensorContent>, name: string): Float32Array {
  const { dtype, shape, bytes } = tensors.get(name)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const count = shape.reduce((product, dim) => product * dim, 1);
  if (dtype === "F32") return Float32Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
  if (dtype === "BF16")
    return Float32Array.from({ length: count }, (_, i) => decodeBf16(view.getUint16(2 * i, true)));
  assert.equal(dtype, "F8_E4M3");
  const cols = shape[1]!;
  const scales = floatsOfCheckpoint(tensors, `${name}_scale_inv`);
  const perRow = Math.ceil(cols / 128);
  return Float32Array.from({ length: count }, (_, i) => {
    const [row, col] = [Math.floor(i / cols), i % cols];
    return E4M3_VALUES[bytes[i]!]! * scales[Math.floor(row / 128) * perRow + Math.floor(col / 128)]!;
  });
}
