import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Interrupted } from "../../src/base/errors.ts";
import { type CompareReport, compare } from "../../src/survey/compare.ts";
import { readCheckpointTensors, type TestTensor, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type Distances, distances, valuesOf } from "./definition.ts";
import { MINI_R1, MINI_V3 } from "./mini.ts";

const near = (actual: number | null, expected: number, what: string) =>
  assert.ok(Math.abs(actual! - expected) <= 1e-9 * expected, `${what}: ${actual}, wanted ${expected}`);

describe("compare() of mini-v3 and mini-r1", async () => {
  const report = await compare(MINI_V3, MINI_R1, { workers: 2 });
  const [v3, r1] = [readCheckpointTensors(MINI_V3), readCheckpointTensors(MINI_R1)];
  const defined = new Map<string, Distances>();
  for (const { name } of report.rows) defined.set(name, distances(valuesOf(v3, name), valuesOf(r1, name)));
  const sums = (names: readonly string[]) => {
    const parts = names.map((name) => defined.get(name)!);
    const total = (key: "difference" | "base" | "elements") =>
      parts.reduce((sum, part) => sum + part[key], 0);
    const difference = total("difference");
    return {
      rms: Math.sqrt(difference / total("elements")),
      relative: Math.sqrt(difference / total("base")),
    };
  };

  test("has a row for every tensor but the scales, in the order of the base", () => {
    const names = [...v3.keys()].filter((name) => !name.endsWith("_scale_inv"));
    assert.equal(report.rows.length, 269);
    assert.deepEqual(new Set(report.rows.map(({ name }) => name)), new Set(names));
    assert.deepEqual(
      [report.onlyInBase, report.onlyInOther, report.notCompared, report.warnings],
      [[], [], [], []],
    );
  });

  test("measures every tensor to a relative error < 1e-9", () => {
    for (const { name, rms, relative } of report.rows) {
      near(rms, defined.get(name)!.rms, `rms of ${name}`);
      near(relative, defined.get(name)!.relative, `relative of ${name}`);
    }
  });

  test("says what each tensor is", () => {
    const { rms, relative, ...row } = report.rows.find(({ name }) =>
      name.includes("layers.2.mlp.experts.7.up_proj"),
    )!;
    assert.deepEqual(row, {
      name: "model.layers.2.mlp.experts.7.up_proj.weight",
      ...{ role: "routed-experts", layer: 2, expert: 7, matrix: "up_proj", mtp: false },
      ...{
        dtype: "F8_E4M3",
        otherDtype: "F8_E4M3",
        elements: 8192,
        bytes: 8196,
        equal: false,
        identical: false,
      },
    });
    assert.ok(rms > 0 && relative! > 0);
    assert.equal(report.rows.filter(({ mtp }) => mtp).length, 68);
    assert.equal(
      report.rows.reduce((sum, { bytes }) => sum + bytes, 0),
      2_879_456,
    );
  });

  test("takes a group as one tensor: by role, layer, expert and matrix, relative error < 1e-9", () => {
    const check = (
      group: { rms: { mean: number | null }; relative: { mean: number | null } },
      names: string[],
    ) => {
      near(group.rms.mean, sums(names).rms, names[0]!);
      near(group.relative.mean, sums(names).relative, names[0]!);
    };
    const { rows } = report;
    const namesOf = (isIn: (row: (typeof rows)[number]) => boolean) =>
      rows.filter(isIn).map(({ name }) => name);
    for (const group of report.byRole) {
      check(
        group,
        namesOf(({ role, mtp }) => role === group.role && mtp === group.mtp),
      );
    }
    for (const group of report.byLayerRole) {
      check(
        group,
        namesOf(({ role, layer }) => role === group.role && layer === group.layer),
      );
    }
    for (const group of report.byLayerExpert) {
      check(
        group,
        namesOf(({ expert, layer }) => expert === group.expert && layer === group.layer),
      );
    }
    for (const group of report.byExpertMatrix) {
      const isIn = (row: (typeof rows)[number]) =>
        row.role === "routed-experts" && row.matrix === group.matrix;
      check(
        group,
        namesOf((row) => isIn(row) && row.mtp === group.mtp),
      );
    }
    check(
      report.total,
      namesOf(() => true),
    );
    assert.deepEqual([report.byLayerExpert.length, report.byExpertMatrix.length], [64, 6]);
    assert.deepEqual(
      report.byLayerExpert
        .slice(0, 17)
        .map(({ layer, expert }) => [layer, expert])
        .at(-1),
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
  assert.ok(
    report.rows.every(({ identical, equal, rms, relative }) => identical && equal && rms + relative! === 0),
  );
  assert.deepEqual([report.total.identical, report.total.equal, report.total.tensors], [269, 269, 269]);
  assert.deepEqual(
    report.curve.map(({ threshold, tensors, bytes }) => [threshold, tensors, bytes]),
    [[0, 0, 0]],
  );
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
  assert.deepEqual(
    [one.sample, one.rows[0]!.rms, one.total.rms.mean, one.rows[0]!.elements],
    [1, 3, 3, length],
  );
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
        assert.ok(
          event.bytesDone >= last && event.bytesDone <= event.bytesTotal && event.bytesTotal === total,
        );
        last = event.bytesDone;
      }
      if (event.kind === "finished") assert.deepEqual([event.bytes, event.tensors], [total, 269]);
    },
  });
  assert.deepEqual([events[0], events.at(-1)], ["started", "finished"]);
  const weights = [...readCheckpointTensors(MINI_V3)].filter(([name]) => !name.endsWith("_scale_inv"));
  assert.equal(total, 2 * weights.reduce((sum, [, { bytes }]) => sum + bytes.length, 0));
});

test("compare() stops when its signal fires, before and while it measures", async () => {
  await assert.rejects(compare(MINI_V3, MINI_R1, { signal: AbortSignal.abort() }), Interrupted);
  const controller = new AbortController();
  const onEvent = () => controller.abort();
  await assert.rejects(
    compare(MINI_V3, MINI_R1, { signal: controller.signal, onEvent, workers: 2 }),
    Interrupted,
  );
});
