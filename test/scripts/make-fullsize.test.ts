import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Content } from "../../bench/parents/content.ts";
import { type LayoutTensor, layOutParent, type ParentLayout, shardName } from "../../bench/parents/layout.ts";
import { parseRanges } from "../../bench/parents/ranges.ts";
import { sparseScale, writeParent } from "../../bench/parents/write.ts";
import { main, V3_CONFIG_TEXT } from "../../scripts/make-fullsize.ts";
import { openWholeCheckpoint, totalsByDtype } from "../../src/checkpoint/checkpoint.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { E4M3_VALUES } from "../../src/tensor/float8.ts";
import { decodeBf16 } from "../../src/tensor/float16.ts";
import { V3_CONFIG } from "../arch/v3-config.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const V3: ParentLayout = layOutParent(JSON.parse(V3_CONFIG_TEXT));

// The shapes of V3 in little: ragged blocks, all roles, an MTP layer; 1.3 MB.
const SMALL = JSON.stringify({
  ...V3_CONFIG,
  vocab_size: 256,
  hidden_size: 192,
  intermediate_size: 256,
  moe_intermediate_size: 128,
  num_hidden_layers: 3,
  first_k_dense_replace: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  q_lora_rank: 128,
  kv_lora_rank: 128,
  n_routed_experts: 8,
  num_experts_per_tok: 4,
  n_group: 4,
  topk_group: 2,
});
const SMALL_SHARD_BYTES = 300_000;

describe("V3_CONFIG_TEXT", () => {
  test("says what checkpoint-format.md section 2 says, in the release's 1.73 kB", () => {
    assert.deepEqual(JSON.parse(V3_CONFIG_TEXT), V3_CONFIG);
    assert.equal(V3_CONFIG_TEXT.length, 1729);
  });
});

describe("layOutParent()", () => {
  test("gives the published totals of DeepSeek-V3", () => {
    const all = V3.shards.flatMap(({ tensors }) => tensors);
    assert.equal(all.length, 91_991);
    assert.equal(V3.tensorBytes, 688_574_839_360);
    const elements = [...totalsByDtype(all)].map(([dtype, total]) => [dtype, total.tensors, total.elements]);
    assert.deepEqual(elements, [
      ["F32", 45_867, 41_555_600],
      ["BF16", 316, 3_918_786_560],
      ["F8_E4M3", 45_808, 680_571_043_840],
    ]);
  });

  test("gives 163 shards, the short ones where the release has them", () => {
    assert.equal(V3.shards.length, 163);
    assert.equal(V3.shards[0]!.name, "model-00001-of-000163.safetensors");
    assert.equal(V3.shards[162]!.name, "model-00163-of-000163.safetensors");
    const short = V3.shards.flatMap((shard, i) => (bytesOf(shard.tensors) < 4 * 2 ** 30 ? [i + 1] : []));
    assert.deepEqual(short, [12, 34, 56, 78, 100, 122, 141]);
  });

  test("places what is known: embedding and dense MLPs, head and norm, extras of the MTP layer", () => {
    const shardOf = (name: string) => Number(V3.weightMap.get(name)!.slice(6, 11));
    const names = [...V3.weightMap.keys()];
    assert.equal(shardOf("model.embed_tokens.weight"), 1);
    for (const name of names.filter((name) => /layers\.[012]\.mlp/.test(name)))
      assert.equal(shardOf(name), 1);
    for (const name of ["lm_head.weight", "model.norm.weight"]) assert.equal(shardOf(name), 160);
    const extras = names.filter((name) =>
      /layers\.61\.(?:eh_|enorm|hnorm|embed|shared_head|\w+_layernorm)/.test(name),
    );
    assert.equal(extras.length, 8);
    for (const name of extras) assert.equal(shardOf(name), 163);
  });

  test("sorts a shard as the reference writer does: larger elements first, then by name", () => {
    const { tensors } = V3.shards[6]!;
    const dtypes = [...new Set(tensors.map(({ dtype }) => dtype))];
    assert.deepEqual(dtypes, ["F32", "BF16", "F8_E4M3"]);
    for (const dtype of dtypes) {
      const names = tensors.filter((tensor) => tensor.dtype === dtype).map(({ name }) => name);
      assert.deepEqual(names, names.toSorted());
    }
  });

  test("puts scales beside their weights when asked to", () => {
    const { shards } = layOutParent(JSON.parse(SMALL), { order: "adjacent" });
    const names = shards.flatMap(({ tensors }) => tensors.map(({ name }) => name));
    for (const [i, name] of names.entries()) {
      if (name.endsWith("_scale_inv")) assert.equal(names[i - 1], name.slice(0, -"_scale_inv".length));
    }
  });

  test("takes the numbers of layers from the config", () => {
    const { shards, weightMap } = layOutParent({ ...V3_CONFIG, num_hidden_layers: 30 });
    assert.equal(weightMap.size, 3 * 20 + 27 * 1558 + 1564 + 3);
    assert.equal(shards.at(-1)!.name, shardName(shards.length, shards.length));
  });

  test("refuses a config that does not name every tensor", () => {
    assert.throws(
      () => layOutParent({ model_type: "llama", num_hidden_layers: 2 }),
      /Cannot lay out a parent: /,
    );
  });
});

describe("writeParent()", () => {
  const write = (folder: string, seed: number, filled?: Set<number>) =>
    writeParent(folder, { configText: SMALL, seed, filled, shardBytes: SMALL_SHARD_BYTES });

  test("writes what the reader takes without a problem, and reports it", async (t) => {
    const folder = join(temporaryFolder(t), "parent");
    const report = write(folder, 1);
    const checkpoint = await openWholeCheckpoint(openStore(folder));
    assert.deepEqual(checkpoint.problems, []);
    assert.equal(checkpoint.tensors.size, report.tensors);
    assert.equal(checkpoint.totalSize, report.tensorBytes);
    assert.equal(checkpoint.configText, SMALL);
    assert.ok(report.shards >= 4);
    const shards = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
    assert.equal(sum(shards.map((name) => statSync(join(folder, name)).size)), report.fileBytes);
    assert.ok(readdirSync(folder).includes("tokenizer_config.json"));
  });

  test("gives the same bytes for the same seed, whatever else is filled", (t) => {
    const folder = temporaryFolder(t);
    write(join(folder, "all"), 7);
    write(join(folder, "one"), 7, new Set([2]));
    write(join(folder, "other"), 8, new Set([2]));
    const shard = (name: string, index: number) => {
      const file = readdirSync(join(folder, name)).filter((each) => each.endsWith(".safetensors"))[
        index - 1
      ]!;
      return readFileSync(join(folder, name, file));
    };
    assert.deepEqual(shard("one", 2), shard("all", 2));
    assert.notDeepEqual(shard("one", 1), shard("all", 1));
    assert.notDeepEqual(shard("other", 2), shard("one", 2));
  });

  test("leaves zeros in sparse shards, with a scale that a build accepts and that differs by seed", async (t) => {
    const folder = join(temporaryFolder(t), "parent");
    write(folder, 3, new Set());
    const { tensors } = await openWholeCheckpoint(openStore(folder));
    for (const { name, dtype, shard, offset, byteLength } of tensors.values()) {
      const bytes = readFileSync(join(folder, shard)).subarray(offset, offset + byteLength);
      if (dtype === "F32" && name.endsWith("_scale_inv")) {
        const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + byteLength));
        assert.ok(values.every((value) => value === sparseScale(3)));
      } else
        assert.ok(
          bytes.every((byte) => byte === 0),
          name,
        );
    }
    assert.notEqual(sparseScale(3), sparseScale(4));
    assert.equal(Math.fround(sparseScale(3)), sparseScale(3));
  });

  test("refuses a folder that holds something", (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, "mine.txt"), "");
    assert.throws(() => write(folder, 1), /it holds "mine.txt", wanted an empty folder/);
  });
});

describe("Content", () => {
  const content = new Content(5);
  const block = { rows: 128, cols: 128 };
  const bytesFor = (tensor: Omit<LayoutTensor, "byteLength">, size: number): Uint8Array => {
    const byteLength = size * tensor.shape.reduce((product, dim) => product * dim, 1);
    return Buffer.concat([...content.pieces({ ...tensor, byteLength }, block)].map((piece) => piece.slice()));
  };
  const codes = bytesFor({ name: "a.weight", dtype: "F8_E4M3", shape: [576, 320] }, 1);

  test("codes hold ±448 once at least in each block, no NaN and few subnormals", () => {
    assert.equal(codes.length, 576 * 320);
    assert.ok(codes.every((code) => (code & 0x7f) !== 0x7f));
    for (let row = 0; row < 576; row += 128) {
      for (let col = 0; col < 320; col += 128) {
        let largest = 0;
        for (let r = row; r < Math.min(row + 128, 576); r++) {
          for (let c = col; c < Math.min(col + 128, 320); c++)
            largest = Math.max(largest, codes[r * 320 + c]! & 0x7f);
        }
        assert.equal(largest, 0x7e, `block at [${row}, ${col}]`);
      }
    }
    const subnormals = codes.filter((code) => (code & 0x7f) < 8).length;
    assert.ok(subnormals / codes.length < 0.001, `${subnormals} of ${codes.length}`);
  });

  test("codes are Gaussian: mean near 0, a quarter of the largest for a deviation", () => {
    const values = Array.from(codes, (code) => E4M3_VALUES[code]!);
    const mean = sum(values) / values.length;
    const deviation = Math.sqrt(sum(values.map((value) => (value - mean) ** 2)) / values.length);
    assert.ok(Math.abs(mean) < 2, `mean ${mean}`);
    assert.ok(Math.abs(deviation / 112 - 1) < 0.02, `deviation ${deviation}`);
  });

  test("scales are near 1e-4, biases small, BF16 weights near 0.02", () => {
    const scales = floats(bytesFor({ name: "a.weight_scale_inv", dtype: "F32", shape: [5, 3] }, 4));
    assert.ok(scales.every((scale) => scale > 0.7e-4 && scale < 1.3e-4));
    assert.ok(new Set(scales).size === 15);
    const biases = floats(
      bytesFor({ name: "mlp.gate.e_score_correction_bias", dtype: "F32", shape: [256] }, 4),
    );
    assert.ok(biases.every((bias) => Math.abs(bias) <= 0.05) && biases.some((bias) => bias < 0));
    const values = halves(bytesFor({ name: "mlp.gate.weight", dtype: "BF16", shape: [10_000] }, 2));
    assert.ok(Math.abs(Math.sqrt(sum(values.map((value) => value ** 2)) / 10_000) / 0.02 - 1) < 0.05);
  });

  test("norms are near 1, which keeps activations as large as they are", () => {
    const values = halves(bytesFor({ name: "input_layernorm.weight", dtype: "BF16", shape: [1000] }, 2));
    assert.ok(values.every((value) => value >= 0.945 && value <= 1.055));
    assert.ok(new Set(values).size > 10);
  });
});

function halves(bytes: Uint8Array): number[] {
  return Array.from(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), decodeBf16);
}

describe("parseRanges()", () => {
  test("reads numbers, ranges, lists and all", () => {
    assert.deepEqual([...parseRanges("5", 9)], [5]);
    assert.deepEqual([...parseRanges("5-7, 9", 9)], [5, 6, 7, 9]);
    assert.deepEqual([...parseRanges("all", 3)], [1, 2, 3]);
  });

  for (const text of ["0", "10", "7-5", "", "a", "1-", "-1", "1,,2"]) {
    test(`refuses "${text}" of 9`, () => assert.throws(() => parseRanges(text, 9), RangeError));
  }
});

describe("make-fullsize", () => {
  const run = (...args: string[]) => {
    const lines: string[] = [];
    return { status: main(args, (line) => lines.push(line)), text: lines.join("\n") };
  };

  test("makes one parent per name, with seeds of their own and R1's template for r1", (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, "config.json"), SMALL);
    const out = join(folder, "out");
    const size = ["--shard-size", "300kB"];
    const { status, text } = run(
      out,
      "--config",
      join(folder, "config.json"),
      ...size,
      "--shards",
      "1-2",
      "--parents",
      "v3",
      "r1",
    );
    assert.equal(status, 0);
    assert.deepEqual(readdirSync(out), ["r1", "v3"]);
    assert.match(text, /v3: \d+ shards, 2 filled/);
    const template = (name: string) => readFileSync(join(out, name, "tokenizer_config.json"), "utf8");
    assert.ok(template("r1").includes("<｜Assistant｜><think>"));
    assert.ok(!template("v3").includes("<think>"));
    const first = readdirSync(join(out, "v3")).find((name) => name.endsWith(".safetensors"))!;
    assert.notDeepEqual(readFileSync(join(out, "v3", first)), readFileSync(join(out, "r1", first)));
  });

  for (const [what, args] of [
    ["sparse shards that are to be filled", ["out", "--fill", "sparse", "--shards", "1"]],
    ["shards that are not there", ["out", "--shards", "164"]],
    ["a folder that holds something", ["full"]],
    ["an unknown option", ["out", "--size", "1"]],
  ] as const) {
    test(`refuses ${what} with status 2 and writes nothing`, (t) => {
      const folder = temporaryFolder(t);
      mkdirSync(join(folder, "full", "a"), { recursive: true });
      const muted = t.mock.method(console, "error", () => {});
      t.mock.method(process.stderr, "write", () => true);
      assert.equal(run(join(folder, args[0]), ...args.slice(1)).status, 2);
      t.mock.restoreAll();
      assert.ok(muted.mock.callCount() <= 1);
      assert.deepEqual(readdirSync(folder), ["full"]);
    });
  }
});

function bytesOf(tensors: readonly LayoutTensor[]): number {
  return sum(tensors.map(({ byteLength }) => byteLength));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function floats(bytes: Uint8Array): number[] {
  return [...new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))];
}
