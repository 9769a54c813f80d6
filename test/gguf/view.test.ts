/** A GGUF as a checkpoint: names, shapes and values of its tensors, its config and tokenizer, split files. */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { EMBEDDING, FINAL_NORM, HEAD, layerNames, mtpNames } from "../../src/arch/deepseek-modules.ts";
import { modelConfigOf } from "../../src/arch/model-config.ts";
import { openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { ggufOf } from "../../src/checkpoint/gguf-store.ts";
import { openLocation, openStore } from "../../src/checkpoint/stores.ts";
import { convertToGguf } from "../../src/convert/convert.ts";
import { type DecodedType, decodeBlocks } from "../../src/gguf/blocks.ts";
import { checkpointNameOf, expertsName, expertsOf, ggufNameOf } from "../../src/gguf/names.ts";
import type { GgufType } from "../../src/gguf/types.ts";
import { checkpointReference, openWeights } from "../../src/logical/checkpoint-weights.ts";
import { inspect } from "../../src/survey/inspect.ts";
import { readCheckpointTensors } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeRandomGguf } from "./random-gguf.ts";
import { entry, gguf, pair, text } from "./source-of.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const folder = temporaryFolder({ after });
const TYPES: readonly GgufType[] = ["Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16", "BF16", "F32"];
const mixed = (name: string) => TYPES[[...name].reduce((sum, c) => sum + c.charCodeAt(0), 0) % TYPES.length]!;

/** All values of a tensor of the file, decoded at once. */
async function allValues(
  path: string,
): Promise<Map<string, { shape: readonly number[]; values: Float32Array; type: GgufType }>> {
  const model = await ggufOf(openStore(path))!.model();
  return new Map(
    [...model.tensors.values()].map(({ name, type, shape, file, offset, byteLength }) => {
      const bytes = readFileSync(join(folder, file)).subarray(offset, offset + byteLength);
      return [name, { shape, type, values: decodeBlocks(type as DecodedType, bytes) }];
    }),
  );
}

describe("the view of a file of many types", async () => {
  const path = await writeRandomGguf(folder, "mixed", { typeOf: mixed, seed: 1 });
  const stored = await allValues(path);
  const source = await openWeights({ location: path });
  after(() => source.close());

  const read = async (name: string) => {
    const { dtype, shape } = source.weights.get(name)!;
    const count = shape.reduce((product, dim) => product * dim, 1);
    const bytes = new Uint8Array(count * (dtype === "F32" ? 4 : 2));
    await source.read(name, { from: 0, to: shape[0]! }, bytes);
    return { shape, dtype, values: decodeBlocks(dtype as DecodedType, bytes) };
  };

  test("experts are slices of the merged tensor, by blocks of every type", async () => {
    for (const [part, matrix] of [
      ["gate", "gate_proj"],
      ["up", "up_proj"],
      ["down", "down_proj"],
    ] as const) {
      const { values, shape } = stored.get(`blk.1.ffn_${part}_exps.weight`)!;
      const size = values.length / shape[0]!;
      for (let expert = 0; expert < 4; expert++) {
        const found = await read(`model.layers.1.mlp.experts.${expert}.${matrix}.weight`);
        assert.deepEqual(found.shape, shape.slice(1));
        assert.deepEqual(found.values, values.slice(expert * size, (expert + 1) * size));
      }
    }
  });

  test("kv_b_proj has the rows of keys and values of each head", async () => {
    const keys = stored.get("blk.0.attn_k_b.weight")!.values; // (2 heads, 256, 32)
    const own = stored.get("blk.0.attn_v_b.weight")!.values; // (2 heads, 32, 256)
    const { values, shape } = await read("model.layers.0.self_attn.kv_b_proj.weight");
    assert.deepEqual(shape, [2 * (32 + 32), 256]);
    for (let head = 0; head < 2; head++) {
      for (let i = 0; i < 32; i++) {
        for (let l = 0; l < 256; l++) {
          assert.equal(values[(head * 64 + i) * 256 + l], keys[(head * 256 + l) * 32 + i]);
          assert.equal(values[(head * 64 + 32 + i) * 256 + l], own[(head * 32 + i) * 256 + l]);
        }
      }
    }
  });

  test("whole tensors have other names, F16 and BF16 stay what they are", async () => {
    const dtypes = new Set<string>();
    for (const [name, wanted] of [
      ["blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"],
      ["blk.1.attn_q_a.weight", "model.layers.1.self_attn.q_a_proj.weight"],
      ["blk.1.exp_probs_b.bias", "model.layers.1.mlp.gate.e_score_correction_bias"],
      ["token_embd.weight", "model.embed_tokens.weight"],
      ["output.weight", "lm_head.weight"],
      ["output_norm.weight", "model.norm.weight"],
    ] as const) {
      const { values, dtype } = await read(wanted);
      const { type } = stored.get(name)!;
      assert.deepEqual(values, stored.get(name)!.values, name);
      assert.equal(dtype, type === "F16" || type === "BF16" ? type : "F32", name);
      dtypes.add(dtype);
    }
  });

  test("bytes of a shard from anywhere to anywhere are those of all of it", async () => {
    const shard = await openStore(path).open("model.safetensors");
    const all = new Uint8Array(shard.byteLength);
    await shard.read(all, 0);
    let state = 7;
    for (let i = 0; i < 300; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const offset = state % all.length;
      const length = Math.min(all.length - offset, 1 + ((state >>> 8) % (i % 10 === 0 ? 500_000 : 3000)));
      const some = new Uint8Array(length);
      await shard.read(some, offset);
      assert.ok(
        Buffer.compare(some, all.subarray(offset, offset + length)) === 0,
        `${length} bytes at ${offset}`,
      );
    }
    await assert.rejects(shard.read(new Uint8Array(2), all.length - 1), { code: "changed" });
    await shard.close();
  });

  test("a file that is another one than its header was read from is not read by it", async () => {
    const other = join(folder, "other.gguf");
    copyFileSync(path, other);
    const store = openStore(other);
    const shard = await store.open("model.safetensors");
    copyFileSync(path, other);
    utimesSync(other, new Date(), new Date(Date.now() + 5000));
    await assert.rejects(shard.read(new Uint8Array(8), shard.byteLength - 8), {
      code: "changed",
      message: /Cannot read "other\.gguf": .+ were .+ and are .+, wanted the file as it was/,
    });
    await shard.close();
  });

  test("inspect() finds nothing odd but types, and tells how it is stored", async () => {
    const { problems, gguf, byRole } = await inspect(path);
    assert.deepEqual(
      problems.filter(({ code }) => !["dtype-mismatch", "no-licence"].includes(code)),
      [],
    );
    assert.equal(
      gguf!.byType.reduce((sum, { tensors }) => sum + tensors, 0),
      stored.size,
    );
    const experts = gguf!.byRole.find(({ role }) => role === "routed-experts")!;
    assert.equal(
      Object.values(experts.types).reduce((sum, count) => sum + count, 0),
      3,
    );
    assert.equal(byRole.find(({ role }) => role === "routed-experts")!.tensors, 12);
    assert.equal(gguf!.metadata["tokenizer.ggml.tokens"], "640 strings");
  });
});

describe("split files", async () => {
  const whole = await writeRandomGguf(folder, "one", { typeOf: mixed, seed: 3 });
  const first = await writeRandomGguf(folder, "three", { typeOf: mixed, seed: 3, parts: 3 });
  const second = first.replace("00001-of", "00002-of");

  test("hold what the whole one holds, whichever part is named", async () => {
    const bytesOf = async (path: string) => {
      const source = await openStore(path).open("model.safetensors");
      const bytes = Buffer.alloc(source.byteLength);
      await source.read(bytes, 0);
      await source.close();
      return bytes;
    };
    const wanted = await bytesOf(whole);
    for (const path of [first, second]) assert.ok(wanted.equals(await bytesOf(path)), path);
    assert.deepEqual((await inspect(second)).gguf!.files.length, 3);
  });

  test("are refused when a part is missing, or another's", async () => {
    const away = join(folder, "away");
    renameSync(second, away);
    await assert.rejects(openStore(first).list(), {
      code: "missing-shard",
      message: /its part "three-00002-of-00003.gguf" is not there/,
    });
    copyFileSync(first, second);
    await assert.rejects(openStore(first).list(), { code: "duplicate-tensor" });
    copyFileSync(first.replace("00001-of", "00003-of"), second);
    await assert.rejects(openStore(first).list(), (error: { code: string }) =>
      /duplicate-tensor|bad-split/.test(error.code),
    );
    renameSync(away, second);
    await openStore(first).list();
    copyFileSync(second, join(folder, "alone.gguf"));
    await assert.rejects(openStore(join(folder, "alone.gguf")).list(), {
      code: "bad-split",
      message: /split.no is 1, wanted 0/,
    });
  });
});

describe("a checkpoint that was converted and is read again", () => {
  const model = join(ROOT, "models/mini-r1");

  test("has the config, the tokenizer and the template of before", async () => {
    const path = join(folder, "mini.gguf");
    await convertToGguf(checkpointReference(model), path, { type: "f32" });
    const [before, now] = [openStore(model), openStore(path)];
    const config = async (store: typeof before) => {
      const value = JSON.parse(new TextDecoder().decode(await store.readSmall("config.json")));
      return modelConfigOf({ ...value, num_nextn_predict_layers: 0, quantization_config: undefined });
    };
    assert.deepEqual(await config(now), await config(before));
    const tokenizer = async (store: typeof before) =>
      JSON.parse(new TextDecoder().decode(await store.readSmall("tokenizer.json")));
    const [own, wanted] = [await tokenizer(now), await tokenizer(before)];
    assert.deepEqual(own.added_tokens, wanted.added_tokens);
    assert.deepEqual(own.pre_tokenizer, wanted.pre_tokenizer);
    assert.deepEqual(
      own.model.merges,
      wanted.model.merges.map((pair: string[]) => pair.join(" ")),
    );
    const added = new Set(wanted.added_tokens.map(({ content }: { content: string }) => content));
    const vocab = Object.entries(wanted.model.vocab).filter(([token]) => !added.has(token));
    assert.deepEqual(own.model.vocab, Object.fromEntries(vocab));
    const template = async (store: typeof before) =>
      JSON.parse(new TextDecoder().decode(await store.readSmall("tokenizer_config.json"))).chat_template;
    assert.equal(await template(now), await template(before));
  });

  test("has every tensor but those of MTP layers, under its name and in its shape", async () => {
    const { tensors } = await openWholeCheckpoint(openStore(join(folder, "mini.gguf")));
    const wanted = [...readCheckpointTensors(model)].filter(
      ([name]) => !name.endsWith("_scale_inv") && !name.includes("layers.4."),
    );
    const shapes = (all: Iterable<[string, { shape: readonly number[] }]>) =>
      Object.fromEntries([...all].map(([name, { shape }]) => [name, shape]));
    assert.deepEqual(shapes(tensors), shapes(wanted));
  });
});

test("a file from before kv_b_proj was cut: the same checkpoint, one group of experts", async () => {
  const path = await writeRandomGguf(folder, "old", { typeOf: () => "Q8_0", seed: 6, isOld: true });
  const stored = await allValues(path);
  const source = await openWeights({ location: path });
  const bytes = new Uint8Array(4 * 128 * 256);
  await source.read("model.layers.1.self_attn.kv_b_proj.weight", { from: 0, to: 128 }, bytes);
  assert.deepEqual(decodeBlocks("F32", bytes), stored.get("blk.1.attn_kv_b.weight")!.values);
  const config = modelConfigOf(source.config);
  assert.ok(!("problems" in config));
  const { sizes, router } = config;
  assert.deepEqual([sizes.nopeDim, sizes.ropeDim, sizes.valueDim, sizes.latent], [32, 16, 32, 256]);
  assert.equal(router!.numGroups, 1);
  await source.close();
});

describe("names of deepseek2", () => {
  test("lead back from every name that is written, MTP layers included", () => {
    const names = layerNames(7, { hasQueryRank: true });
    const { query, expert, ...rest } = names;
    const whole = layerNames(7, { hasQueryRank: false }).query;
    const grouped: (string | object)[] = [
      query,
      whole,
      ...Object.values(rest),
      ...Object.values(mtpNames(7)),
    ];
    const all = grouped.flatMap((each) =>
      typeof each === "string" ? [each] : (Object.values(each) as string[]),
    );
    all.push(EMBEDDING, FINAL_NORM, HEAD);
    assert.ok(all.length > 25);
    for (const name of all) assert.equal(checkpointNameOf(ggufNameOf(name)!), name);
    assert.deepEqual(all.length, new Set(all.map(ggufNameOf)).size);
    for (const part of ["gate", "up", "down"] as const)
      assert.equal(expertsOf(expertsName(7, part))!.nameOf(9), expert(9)[part]);
  });

  test("are nobody else's", () => {
    for (const name of [
      "blk.0.ssm_a",
      "constructor.weight",
      "blk.0.toString.weight",
      "rope_freqs.weight",
      "blk.0.attn_q",
    ])
      assert.equal(checkpointNameOf(name), undefined, name);
    for (const name of ["model.layers.0.mlp.experts.0.up_proj.weight", "constructor.weight", "lm_head"])
      assert.equal(ggufNameOf(name), undefined, name);
  });
});

describe("claims of a head that would cost memory are refused", () => {
  const claim = (name: string, entries: Buffer[], dataBytes = 0) => {
    const path = join(folder, name);
    const pairs = [pair("general.architecture", 8, text("deepseek2"))];
    writeFileSync(path, gguf({ pairs, entries, dataBytes }));
    return openStore(path).list();
  };
  const code = "gguf-tensors";

  test("2^40 experts of nothing", async () => {
    const entries = [entry("blk.0.ffn_up_exps.weight", { dims: [0, 0, 2 ** 40], type: 12, offset: 0 })];
    await assert.rejects(claim("experts.gguf", entries), {
      code,
      message: /\[1099511627776, 0, 0\], wanted experts/,
    });
  });

  test("many layers of many heads of one element", async () => {
    const [heads, layers] = [1 << 14, 33];
    const entries = Array.from({ length: 2 * layers }, (_, i) => {
      const name = `blk.${i >> 1}.attn_${i % 2 ? "v" : "k"}_b.weight`;
      return entry(name, { dims: [1, 1, heads], type: 1, offset: i * 2 * heads });
    });
    await assert.rejects(claim("parts.gguf", entries, entries.length * 2 * heads), {
      code,
      message: /"blk.32.attn_v_b.weight".* more than 1048576 parts, wanted fewer/,
    });
  });

  test("2^40 heads of nothing", async () => {
    const dims = [0, 0, 2 ** 40];
    const entries = ["k", "v"].map((part) =>
      entry(`blk.0.attn_${part}_b.weight`, { dims, type: 0, offset: 0 }),
    );
    await assert.rejects(claim("heads.gguf", entries), { code, message: /at most 16384 heads/ });
  });

  test("keys without values, other shapes of both", async () => {
    const at = (part: string, dims: number[], offset = 0) =>
      entry(`blk.0.attn_${part}_b.weight`, { dims, type: 0, offset });
    await assert.rejects(claim("k.gguf", [at("k", [8, 2, 1])], 64), {
      code,
      message: /"blk.0.attn_v_b.weight" is not there/,
    });
    await assert.rejects(claim("v.gguf", [at("v", [8, 2, 1])], 64), {
      code,
      message: /"blk.0.attn_k_b.weight" is not there/,
    });
    await assert.rejects(claim("kv.gguf", [at("k", [8, 2, 1]), at("v", [3, 8, 1], 64)], 160), {
      code,
      message: /heads × latent/,
    });
  });
});

test("a type that is not read is listed, and refused when its values are wanted", async () => {
  const path = await writeRandomGguf(folder, "small", {
    typeOf: (name) => (name.includes("exps") ? "IQ2_XXS" : "Q8_0"),
    seed: 5,
  });
  const source = await openWeights({ location: path });
  const name = "model.layers.1.mlp.experts.2.up_proj.weight";
  const into = new Uint8Array(4 * 256 * 256);
  await assert.rejects(source.read(name, { from: 0, to: 256 }, into), {
    code: "unread-type",
    message:
      'Cannot decode "blk.1.ffn_up_exps.weight" of "small.gguf": it is IQ2_XXS, wanted F32, F16, BF16, Q8_0, Q4_K, Q5_K or Q6_K',
  });
  await source.close();
});

test("a folder that is called so is a folder, a file that is none is refused", async () => {
  assert.equal(ggufOf(openLocation(join(folder, "nothing.gguf")).store)!.label, "nothing.gguf");
  await assert.rejects(openStore(join(folder, "nothing.gguf")).list(), { code: "missing" });
  writeFileSync(join(folder, "text.gguf"), "hello, hello, hello");
  await assert.rejects(openStore(join(folder, "text.gguf")).list(), { code: "not-gguf" });
  assert.equal(ggufOf(openStore(folder)), undefined);
});
