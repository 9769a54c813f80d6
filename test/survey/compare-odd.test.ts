import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { compare } from "../../src/survey/compare.ts";
import { type TestTensor, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { MINI_R1, MINI_V3, mini, miniConfig, single, without } from "./mini.ts";

test("compare() tells equal values from identical bytes", async (t) => {
  const folder = temporaryFolder(t);
  const name = "model.layers.1.mlp.experts.0.up_proj.weight";
  const codes = Uint8Array.from({ length: 6 }, (_, i) => 0x38 + 8 * i); // 1, 2, 4 … 32
  const scale = (value: number) => new Uint8Array(Float32Array.of(value).buffer);
  const write = (at: string, tensors: TestTensor[]) =>
    writeCheckpoint(join(folder, at), {
      config: miniConfig(),
      shards: [{ name: "model.safetensors", tensors }],
    });
  const fp8 = (at: string, shift: number) =>
    write(at, [
      { name, dtype: "F8_E4M3", shape: [2, 3], bytes: codes.map((code) => code + 8 * shift) },
      { name: `${name}_scale_inv`, dtype: "F32", shape: [1, 1], bytes: scale(2 ** -shift) },
    ]);
  const bytes = new Uint8Array(Float32Array.of(1, 2, 4, 8, 16, 32).buffer);
  const plain = write("plain", [{ name, dtype: "F32", shape: [2, 3], bytes }]);
  const once = fp8("once", 0);
  const row = async (base: string, other: string) => (await compare(base, other)).rows[0]!;
  for (const [base, other, expected] of [
    [once, fp8("again", 0), true],
    [once, fp8("twice", 1), false],
    [once, plain, false],
    [plain, once, false],
  ] as const) {
    const { equal, identical, rms } = await row(base, other);
    assert.deepEqual({ equal, identical, rms }, { equal: true, identical: expected, rms: 0 }, other);
  }
  assert.deepEqual(
    [(await row(once, plain)).bytes, (await row(plain, once)).bytes],
    [10, 24],
    "bytes are the base's, scales included",
  );
});

test("compare() lists what it cannot measure, and measures the rest", async (t) => {
  const folder = temporaryFolder(t);
  const checkpoint = mini();
  const [head, norm] = ["lm_head.weight", "model.norm.weight"];
  const expert = "model.layers.1.mlp.experts.0.up_proj.weight";
  const shards = without(checkpoint.shards, (name) => [head, `${expert}_scale_inv`].includes(name)).map(
    (shard) => ({
      ...shard,
      tensors: shard.tensors.map((tensor) => (tensor.name === norm ? { ...tensor, shape: [2, 64] } : tensor)),
    }),
  );
  const extra: TestTensor = { name: "extra", dtype: "I64", shape: [1], bytes: new Uint8Array(8) };
  shards[0]!.tensors.push(extra);
  const other = writeCheckpoint(join(folder, "other"), {
    ...checkpoint,
    config: { ...miniConfig(), rms_norm_eps: 1e-5 },
    shards,
  });
  const report = await compare(MINI_V3, other);
  assert.deepEqual(report.onlyInBase, [head]);
  assert.deepEqual(report.onlyInOther, ["extra"]);
  const unpaired = "F8_E4M3 that does not pair up with a weight or a block scale";
  assert.deepEqual(
    report.notCompared.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    [
      { name: expert, reason: "unusable", base: "F8_E4M3", other: unpaired },
      { name: norm, reason: "shape", base: "[128]", other: "[2, 64]" },
    ],
  );
  assert.deepEqual([report.rows.length, report.total.identical], [266, 266]);
  assert.deepEqual(
    report.configDifferences.map(({ key, base, other: b }) => [key, base, b]),
    [["rms_norm_eps", 1e-6, 1e-5]],
  );
});

test("compare() reads what is there of a partial download, and warns", async (t) => {
  const { shards, ...rest } = mini();
  const partial = writeCheckpoint(temporaryFolder(t), {
    ...rest,
    shards: [shards[0]!],
    index: indexOf(shards),
  });
  const report = await compare(MINI_V3, partial);
  assert.ok(report.rows.length > 100 && report.rows.length < 200);
  const unread = report.notCompared.filter(({ other }) => other === "not read: its shard is not there");
  assert.ok(unread.length > 100);
  assert.equal(report.rows.length + report.notCompared.length, 269);
  assert.deepEqual([report.onlyInBase, report.onlyInOther], [[], []]);
  assert.match(report.warnings.join(), /model-00002-of-000002.safetensors.*chimera inspect/);
});

function indexOf(shards: readonly { name: string; tensors: readonly TestTensor[] }[]): string {
  const entries = shards.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor.name, name]));
  return JSON.stringify({ weight_map: Object.fromEntries(entries) });
}

test("compare() warns when architectures differ and compares by name", async (t) => {
  const other = writeCheckpoint(temporaryFolder(t), { ...mini(), config: { model_type: "new" } });
  const report = await compare(other, MINI_V3);
  assert.match(report.warnings[0]!, /is unknown \(new\) and "mini-v3" is DeepSeek-V3/);
  assert.equal(report.total.identical, 269);
  assert.equal(report.byRole[0]!.role, "embeddings", "roles are told by the side that knows them");
});

test("compare() has null for a relative distance from zeros, and puts it last in the curve", async (t) => {
  const folder = temporaryFolder(t);
  const zeros = single(join(folder, "zeros"), "x", [0, 0, 0, 0]);
  const ones = single(join(folder, "ones"), "x", [1, 1, 1, 1]);
  const { rows, total, curve } = await compare(zeros, ones, { measure: "relative" });
  assert.deepEqual(
    [rows[0]!.rms, rows[0]!.relative, total.relative],
    [1, null, { mean: null, min: null, max: null }],
  );
  assert.deepEqual(
    curve.map(({ threshold, tensors }) => [threshold, tensors]),
    [[0, 1]],
  );
});

describe("compare() refuses", () => {
  const fails = async (base: string, other: string, code: string, message: RegExp) => {
    await assert.rejects(compare(base, other), (error) => {
      assert.ok(error instanceof CheckpointError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  };

  test("checkpoints that share no tensor", async (t) => {
    const folder = temporaryFolder(t);
    const [a, b] = [single(join(folder, "a"), "x", [1]), single(join(folder, "b"), "y", [1])];
    await fails(
      a,
      b,
      "nothing-in-common",
      /^Cannot compare "a" with "b": they share no tensor \("x", "y"\), wanted/,
    );
    const c = single(join(folder, "c"), "x", [1, 2]);
    await fails(
      a,
      c,
      "nothing-in-common",
      /none of the 1 tensors they share can be measured \("x": \[1\] and \[2\]\)/,
    );
  });

  test("a value that is not finite, and names it", async (t) => {
    const folder = temporaryFolder(t);
    const [a, b] = [single(join(folder, "a"), "x", [1, 2]), single(join(folder, "b"), "x", [1, Number.NaN])];
    await fails(a, b, "not-finite", /Cannot use "x": element \[1\] of parent "b"/);
  });

  test("what is not there", async () => {
    await fails(MINI_V3, "models/none", "missing", /models\/none/);
  });

  test("a number of workers or pieces below 1", async () => {
    await assert.rejects(
      compare(MINI_V3, MINI_R1, { workers: 0 }),
      /RangeError: Cannot compare with workers 0, wanted/,
    );
    await assert.rejects(
      compare(MINI_V3, MINI_R1, { sample: 1.5 }),
      /RangeError: Cannot compare with sample 1.5/,
    );
  });
});
