import assert from "node:assert/strict";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { architectureOf } from "../../src/arch/architecture.ts";
import { CheckpointError } from "../../src/base/errors.ts";
import { inspect } from "../../src/survey/inspect.ts";
import { layerRuns } from "../../src/survey/totals.ts";
import { V3_CONFIG } from "../arch/v3-config.ts";
import { readCheckpointTensors, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { MINI_R1, MINI_V3, mini, miniConfig } from "./mini.ts";

const SHARD = "model-00001-of-000002.safetensors";
const INDEX = "model.safetensors.index.json";

describe("inspect() of a folder", async () => {
  const report = await inspect(MINI_V3);
  const tensors = readCheckpointTensors(MINI_V3);
  const bytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes.length, 0);

  test("adds up every tensor by dtype, by role and by layer", () => {
    const elements = [...tensors.values()].reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
    const total = { tensors: 501, elements, bytes };
    assert.deepEqual(report.totals, total);
    const sum = (parts: readonly (typeof total)[]) =>
      parts.reduce(
        (all, part) => ({
          tensors: all.tensors + part.tensors,
          elements: all.elements + part.elements,
          bytes: all.bytes + part.bytes,
        }),
        { tensors: 0, elements: 0, bytes: 0 },
      );
    for (const parts of [report.byDtype, report.byRole, [...report.byLayer, report.outsideLayers]]) {
      assert.deepEqual(sum(parts), total);
    }
    assert.deepEqual(
      report.byDtype.map(({ dtype, tensors }) => [dtype, tensors]),
      [
        ["F8_E4M3", 232],
        ["BF16", 33],
        ["F32", 236],
      ],
    );
    const { tensors: count, elements: own, bytes: size, declared, layers } = report.mtp;
    assert.deepEqual(
      { tensors: count, elements: own, bytes: size },
      sum(report.byRole.filter(({ mtp }) => mtp)),
    );
    assert.deepEqual([declared, layers], [1, [4]]);
  });

  test("counts scales to the role of their weight", () => {
    const experts = report.byRole.find(({ role, mtp }) => role === "routed-experts" && !mtp)!;
    assert.deepEqual([experts.tensors, experts.bytes], [3 * 16 * 3 * 2, 3 * 16 * 3 * (8192 + 4)]);
  });

  test("says what was opened and what config.json tells", () => {
    assert.deepEqual([report.label, report.opened, report.file], ["mini-v3", "folder", undefined]);
    assert.deepEqual(report.architecture, { id: "deepseek_v3", label: "DeepSeek-V3", known: true });
    assert.deepEqual(report.quantization, { kind: "fp8-block", block: [128, 128], scaleFormat: "float" });
    assert.deepEqual(report.config, {
      ...{
        layers: 4,
        mtpLayers: 1,
        hiddenSize: 128,
        heads: 4,
        keyValueHeads: 4,
        vocabulary: 640,
        context: 1024,
      },
      ...{ routedExperts: 16, sharedExperts: 1, expertsPerToken: 4 },
    });
    assert.deepEqual(report.shards, { count: 2, missing: [], fileBytes: 1473060 + 1463308 });
    assert.deepEqual(report.basis, { header: 501, config: 0, name: 0 });
  });

  test("says what lies beside the shards", () => {
    assert.deepEqual(report.tokenizer, {
      files: ["tokenizer.json", "tokenizer_config.json"],
      class: "PreTrainedTokenizerFast",
    });
    const { file, others, generationPrompt } = report.chatTemplate!;
    assert.deepEqual([file, others], ["tokenizer_config.json", []]);
    assert.deepEqual(generationPrompt, { text: "<｜Assistant｜>", suffix: "", opensThink: false });
    assert.equal(report.generationConfig!.temperature, 0.6);
    assert.deepEqual([report.licences, report.lineage, report.problems], [[], undefined, []]);
  });

  test("is JSON", () => assert.deepEqual(JSON.parse(JSON.stringify(report)), report));
});

test("layerRuns() puts neighbours together that are alike", async () => {
  const { byLayer } = await inspect(MINI_V3);
  assert.deepEqual(
    layerRuns(byLayer).map(({ first, last, kind, tensors }) => [first, last, kind, tensors]),
    [
      [0, 0, "dense", 20],
      [1, 3, "moe", 118],
      [4, 4, "mtp", 124],
    ],
  );
  const gap = layerRuns(byLayer.filter(({ layer }) => layer !== 2));
  assert.deepEqual(
    gap.map(({ first, last }) => [first, last]),
    [
      [0, 0],
      [1, 1],
      [3, 3],
      [4, 4],
    ],
  );
});

describe("inspect() of one file", () => {
  test("of several asks for nothing that may lie in the others", async () => {
    const report = await inspect(join(MINI_V3, SHARD));
    assert.deepEqual([report.opened, report.file, report.label], ["file", SHARD, "mini-v3"]);
    assert.deepEqual([report.totals.tensors, report.shards.count, report.problems], [278, 1, []]);
  });

  test("that lies alone says what has no partner", async (t) => {
    const folder = temporaryFolder(t);
    copyFileSync(join(MINI_V3, SHARD), join(folder, "alone.safetensors"));
    const report = await inspect(join(folder, "alone.safetensors"));
    assert.equal(report.architecture.known, false);
    const codes = new Set(report.problems.map(({ code }) => code));
    assert.ok(
      [...codes].every((code) => ["missing-block-scale", "orphan-scale"].includes(code)),
      [...codes].join(),
    );
  });
});

describe("inspect() of an index without its shards", () => {
  test("takes sizes from config.json and says so", async (t) => {
    const folder = temporaryFolder(t);
    for (const name of [INDEX, "config.json"]) copyFileSync(join(MINI_V3, name), join(folder, name));
    const whole = await inspect(MINI_V3);
    for (const location of [folder, join(folder, INDEX)]) {
      const report = await inspect(location);
      assert.deepEqual([report.opened, report.basis], ["index", { header: 0, config: 501, name: 0 }]);
      for (const key of ["totals", "byDtype", "byRole", "byLayer", "outsideLayers", "mtp"] as const) {
        assert.deepEqual(report[key], whole[key], key);
      }
      assert.deepEqual([report.shards.missing.length, report.shards.fileBytes], [2, 0]);
      assert.deepEqual(
        report.problems.map(({ code }) => code),
        ["no-shards", "no-tokenizer"],
      );
    }
  });

  test("of a family that we cannot derive counts names", async (t) => {
    const folder = temporaryFolder(t);
    copyFileSync(join(MINI_V3, INDEX), join(folder, INDEX));
    writeFileSync(
      join(folder, "config.json"),
      JSON.stringify({ model_type: "glm4_moe", num_hidden_layers: 5 }),
    );
    const report = await inspect(folder);
    assert.deepEqual(report.basis, { header: 0, config: 0, name: 501 });
    assert.deepEqual(report.totals, { tensors: 501, elements: 0, bytes: 0 });
    assert.deepEqual([report.byDtype, report.byLayer.length], [[], 5]);
  });

  test("of DeepSeek-V3 has the published totals", async (t) => {
    const folder = temporaryFolder(t);
    const expected = architectureOf(V3_CONFIG).expectedTensors!();
    const shardOf = (index: number) =>
      `model-${String(1 + (index % 163)).padStart(5, "0")}-of-000163.safetensors`;
    const map = Object.fromEntries(expected.map(({ name }, index) => [name, shardOf(index)]));
    writeFileSync(join(folder, INDEX), JSON.stringify({ weight_map: map }));
    writeFileSync(join(folder, "config.json"), JSON.stringify(V3_CONFIG));
    const { totals, byDtype, byLayer, shards, mtp } = await inspect(folder);
    assert.deepEqual(totals, { tensors: 91_991, elements: 684_531_386_000, bytes: 688_574_839_360 });
    assert.deepEqual(Object.fromEntries(byDtype.map(({ dtype, elements }) => [dtype, elements])), {
      F8_E4M3: 680_571_043_840,
      BF16: 3_918_786_560,
      F32: 41_555_600,
    });
    assert.deepEqual(
      layerRuns(byLayer).map(({ first, last, kind, tensors, bytes }) => [first, last, kind, tensors, bytes]),
      [
        [0, 2, "dense", 20, 583_642_336],
        [3, 60, "moe", 1558, 11_511_947_488],
        [61, 61, "mtp", 1564, 15_424_227_552],
      ],
    );
    assert.deepEqual([shards.count, mtp.bytes], [163, 15_424_227_552]);
  });
});

test("inspect() reads the lineage of a child", async (t) => {
  const record = {
    ...{ format: "chimera-child", version: 1, tool: "0.1.0", planDigest: "abc", recipe: "version: 1\n" },
    ...{ recipeFile: "r1t.yaml", base: "v3", shards: [], files: {} },
    parents: [
      { name: "v3", location: "/a", digest: "d" },
      { name: "r1", location: "/b", digest: "e", revision: 7 },
    ],
  };
  const files = { "chimera.json": JSON.stringify(record), "LICENSE-MODEL": "free" };
  const { lineage, licences } = await inspect(
    writeCheckpoint(temporaryFolder(t), { ...mini(MINI_R1), files }),
  );
  assert.deepEqual(lineage, {
    parents: [
      { name: "v3", location: "/a", digest: "d" },
      { name: "r1", location: "/b", digest: "e" },
    ],
    ...{ tool: "0.1.0", base: "v3", recipeFile: "r1t.yaml", recipe: "version: 1\n", planDigest: "abc" },
  });
  assert.deepEqual(licences, ["LICENSE-MODEL"]);
});

test("inspect() refuses what is malformed: header, index, config.json; and what is not there", async (t) => {
  const cases: [code: string, name: string, text: string][] = [
    ["truncated", SHARD, "short"],
    ["index-json", INDEX, '{"weight_map": {"a": 1}}'],
    ["index-path", INDEX, '{"weight_map": {"a": "../b"}}'],
    ["config-json", "config.json", "{"],
  ];
  for (const [code, name, text] of cases) {
    const folder = writeCheckpoint(temporaryFolder(t), { ...mini(), config: miniConfig() });
    writeFileSync(join(folder, name), text);
    await assert.rejects(inspect(folder), (error) => error instanceof CheckpointError && error.code === code);
  }
  await assert.rejects(inspect(join(temporaryFolder(t), "none")), CheckpointError);
});
