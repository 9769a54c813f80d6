import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CheckpointError, Interrupted } from "../../src/base/errors.ts";
import { type CompareReport, compare } from "../../src/survey/compare.ts";
import { readCheckpointTensors, type TestTensor, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type Distances, distances, valuesOf } from "./definition.ts";
import { MINI_R1, MINI_V3, mini, miniConfig, single, without } from "./mini.ts";

const near = (actual: number | null, expected: number, what: string) =>
  assert.ok(Math.abs(actual! - expected) <= 1e-9 * expected, `${what}: ${actual}, wanted ${expected}`);

describe("compare() of mini-v3 and mini-r1", async () => {
  const report = await compare(MINI_V3, MINI_R1, { workers: 2 });
  const [v3, r1] = [readCheckpointTensors(MINI_V3), readCheckpointTensors(MINI_R1)];
  const defined = new Map<string, Distances>();
  for (const { name } of report.rows) defined.set(name, distances(valuesOf(v3, name), valuesOf(r1, name)));
  const sums = (names: readonly string[]) => {
    const parts = names.map((name) => defined.get(name)!);
    const total = (key: "difference" | "base" | "elements") => parts.reduce((sum, part) => sum + part[key], 0);
    const difference = total("difference");
    return { rms: Math.sqrt(difference / total("elements")), relative: Math.sqrt(difference / total("base")) };
  };

  test("has a row for every tensor but the scales, in the order of the base", () => {
    const names = [...v3.keys()].filter((name) => !name.endsWith("_scale_inv"));
    assert.equal(report.rows.length, 269);
    assert.deepEqual(new Set(report.rows.map(({ name }) => name)), new Set(names));
    assert.deepEqual([report.onlyInBase, report.onlyInOther, report.notCompared, report.warnings], [[], [], [], []]);
  });

  test("measures every tensor to a relative error < 1e-9", () => {
    for (const { name, rms, relative } of report.rows) {
      near(rms, defined.get(name)!.rms, `rms of ${name}`);
      near(relative, defined.get(name)!.relative, `relative of ${name}`);
    }
  });

  test("says what each tensor is", () => {
    const { rms, relative, ...row } = report.rows.find(({ name }) => name.includes("layers.2.mlp.experts.7.up_proj"))!;
    assert.deepEqual(row, {
      name: "model.layers.2.mlp.experts.7.up_proj.weight",
      ...{ role: "routed-experts", layer: 2, expert: 7, matrix: "up_proj", mtp: false },
      ...{ dtype: "F8_E4M3", otherDtype: "F8_E4M3", elements: 8192, bytes: 8196, equal: false, identical: false },
    });
    assert.ok(rms > 0 && relative! > 0);
    assert.equal(report.rows.filter(({ mtp }) => mtp).length, 68);
    assert.equal(report.rows.reduce((sum, { bytes }) => sum + bytes, 0), 2_879_456);
  });

  test("takes a group as one tensor: by role, layer, expert and matrix, relative error < 1e-9", () => {
    const check = (group: { rms: { mean: number | null }; relative: { mean: number | null } }, names: string[]) => {
      near(group.rms.mean, sums(names).rms, names[0]!);
      near(group.relative.mean, sums(names).relative, names[0]!);
    };
    const { rows } = report;
    const namesOf = (isIn: (row: (typeof rows)[number]) => boolean) => rows.filter(isIn).map(({ name }) => name);
    for (const group of report.byRole) {
      check(group, namesOf(({ role, mtp }) => role === group.role && mtp === group.mtp));
    }
    for (const group of report.byLayerRole) {
      check(group, namesOf(({ role, layer }) => role === group.role && layer === group.layer));
    }
    for (const group of report.byLayerExpert) {
      check(group, namesOf(({ expert, layer }) => expert === group.expert && layer === group.layer));
    }
    for (const group of report.byExpertMatrix) {
      const isIn = (row: (typeof rows)[number]) => row.role === "routed-experts" && row.matrix === group.matrix;
      check(group, namesOf((row) => isIn(row) && row.mtp === group.mtp));
    }
    check(report.total, namesOf(() => true));
    assert.deepEqual([report.byLayerExpert.length, report.byExpertMatrix.length], [64, 6]);
    assert.deepEqual(
      report.byLayerExpert.slice(0, 17).map(({ layer, expert }) => [layer, expert]).at(-1),
      [2, 0],
    );
  });

  test("gives extremes that its rows have", () => {
    for (const { role, mtp, rms, relative } of report.byRole) {
      const rows = report.rows.filter((row) => row.role === role && row.mtp === mtp);
      assert.deepEqual([rms.min, rms.max], [least(rows, "rms"), most(rows, "rms")]);
      assert.deepEqual([relative.min, relative.max], [least(rows, "relative"), most(rows, "relative")]);
    }
  });

  test("is the same with any number of workers, with either kernels, and as JSON", async () => {
    for (const options of [{ workers: 1 }, { workers: 5 }, { workers: 2, kernels: "scalar" as const }]) {
      assert.deepEqual(await compare(MINI_V3, MINI_R1, options), report);
    }
    assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
  });

  test("goes by the measure that it is asked for in the curve alone", async () => {
    const { measure, curve, ...rest } = await compare(MINI_V3, MINI_R1, { measure: "relative" });
    const { measure: _, curve: byRms, ...same } = report;
    assert.equal(measure, "relative");
    assert.deepEqual(rest, same);
    assert.notDeepEqual(curve, byRms);
  });
});

type Rows = CompareReport["rows"];

function least(rows: Rows, measure: "rms" | "relative"): number {
  return Math.min(...rows.map((row) => row[measure]!));
}

function most(rows: Rows, measure: "rms" | "relative"): number {
  return Math.max(...rows.map((row) => row[measure]!));
}

test("compare() of a checkpoint with itself finds everything identical", async () => {
  const report = await compare(MINI_V3, MINI_V3);
  assert.ok(report.rows.every(({ identical, equal, rms, relative }) => identical && equal && rms + relative! === 0));
  assert.deepEqual([report.total.identical, report.total.equal, report.total.tensors], [269, 269, 269]);
  assert.deepEqual(report.curve.map(({ threshold, tensors, bytes }) => [threshold, tensors, bytes]), [[0, 0, 0]]);
});

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
  const shards = without(checkpoint.shards, (name) => [head, `${expert}_scale_inv`].includes(name)).map((shard) => ({
    ...shard,
    tensors: shard.tensors.map((tensor) => (tensor.name === norm ? { ...tensor, shape: [2, 64] } : tensor)),
  }));
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
  const partial = writeCheckpoint(temporaryFolder(t), { ...rest, shards: [shards[0]!], index: indexOf(shards) });
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
  assert.deepEqual([rows[0]!.rms, rows[0]!.relative, total.relative], [1, null, { mean: null, min: null, max: null }]);
  assert.deepEqual(curve.map(({ threshold, tensors }) => [threshold, tensors]), [[0, 1]]);
});

test("compare() with a sample looks at evenly spaced pieces only", async (t) => {
  const folder = temporaryFolder(t);
  const length = 2 ** 22;
  const values = new Float32Array(length);
  const shardOf = (at: string) => {
    const bytes = new Uint8Array(values.slice().buffer);
    const tensors: TestTensor[] = [{ name: "x", dtype: "F32", shape: [length], bytes }];
    return writeCheckpoint(join(folder, at), { shards: [{ name: "model.safetensors", tensors }] });
  };
  const base = shardOf("base");
  values.fill(3, length / 4, (3 * length) / 4);
  values[length - 1] = 1;
  const other = shardOf("other");
  const whole = await compare(base, other);
  const one = await compare(base, other, { sample: 1 });
  near(whole.rows[0]!.rms, Math.sqrt((9 * length) / 2 / length + 1 / length), "whole");
  assert.deepEqual([one.sample, one.rows[0]!.rms, one.total.rms.mean, one.rows[0]!.elements], [1, 3, 3, length]);
  assert.deepEqual(await compare(base, other, { sample: 10_000 }), { ...whole, sample: 10_000 });

  values.fill(0);
  values[length - 1] = 1;
  const edge = shardOf("edge");
  const [seen, unseen] = [await compare(base, edge), await compare(base, edge, { sample: 1 })];
  assert.deepEqual([seen.rows[0]!.identical, unseen.rows[0]!.identical], [false, true]);
});

test("compare() tells of its progress, in bytes read of both sides", async () => {
  const events: string[] = [];
  let [last, total] = [0, 0];
  await compare(MINI_V3, MINI_R1, {
    workers: 2,
    onEvent: (event) => {
      events.push(event.kind);
      if (event.kind === "started") total = event.bytes;
      if (event.kind === "progress") {
        assert.ok(event.bytesDone >= last && event.bytesDone <= event.bytesTotal && event.bytesTotal === total);
        last = event.bytesDone;
      }
      if (event.kind === "finished") assert.deepEqual([event.bytes, event.tensors], [total, 269]);
    },
  });
  assert.deepEqual([events[0], events.at(-1)], ["started", "finished"]);
  const weights = [...readCheckpointTensors(MINI_V3)].filter(([name]) => !name.endsWith("_scale_inv"));
  assert.equal(total, 2 * weights.reduce((sum, [, { bytes }]) => sum + bytes.length, 0));
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
    await fails(a, b, "nothing-in-common", /^Cannot compare "a" with "b": they share no tensor \("x", "y"\), wanted/);
    const c = single(join(folder, "c"), "x", [1, 2]);
    await fails(a, c, "nothing-in-common", /none of the 1 tensors they share can be measured \("x": \[1\] and \[2\]\)/);
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
    await assert.rejects(compare(MINI_V3, MINI_R1, { workers: 0 }), /RangeError: Cannot compare with workers 0, wanted/);
    await assert.rejects(compare(MINI_V3, MINI_R1, { sample: 1.5 }), /RangeError: Cannot compare with sample 1.5/);
  });
});

test("compare() stops when its signal fires, before and while it measures", async () => {
  await assert.rejects(compare(MINI_V3, MINI_R1, { signal: AbortSignal.abort() }), Interrupted);
  const controller = new AbortController();
  const onEvent = () => controller.abort();
  await assert.rejects(compare(MINI_V3, MINI_R1, { signal: controller.signal, onEvent, workers: 2 }), Interrupted);
});
