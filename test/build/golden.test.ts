/** The golden children of test/golden/assembly, bit for bit. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { readChildRecord } from "../../src/build/child.ts";
import { verify } from "../../src/build/verify.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { readCheckpointTensors, readShardTensors, type TensorContent } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { GOLDEN, goldenCase, goldenCases, goldenRecipe, hashesOf } from "./support.ts";

/** Every tensor, whatever the shard it lies in. */
function assertEqualTensors(actual: Map<string, TensorContent>, expected: Map<string, TensorContent>): void {
  assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
  for (const [name, { dtype, shape, bytes }] of expected) {
    const found = actual.get(name)!;
    assert.deepEqual([found.dtype, found.shape], [dtype, shape], name);
    assert.equal(Buffer.compare(found.bytes, bytes), 0, `bytes of ${name}`);
  }
}

for (const name of goldenCases()) {
  describe(`build() makes the golden child ${name}, exact`, () => {
    const expected = readShardTensors(readFileSync(join(GOLDEN, "cases", name, "expected.safetensors")));

    test("with one worker, four, and the scalar kernels; equal files", async (t) => {
      const folder = temporaryFolder(t);
      const plan = await planRecipe(goldenRecipe(name));
      const settings = { one: { workers: 1 }, four: { workers: 4 }, scalar: { kernels: "scalar" as const } };
      for (const [setting, options] of Object.entries(settings)) {
        const report = await build(plan, join(folder, setting), options);
        assert.equal(report.finished, true);
        assertEqualTensors(readCheckpointTensors(join(folder, setting)), expected);
      }
      const [one, ...others] = Object.keys(settings).map((setting) => hashesOf(join(folder, setting)));
      for (const other of others) assert.deepEqual(other, one);
      assert.ok((await verify(join(folder, "one"), { all: true })).ok);
    });

    test("re-sharded to 100 kB", async (t) => {
      const folder = temporaryFolder(t);
      const plan = await planRecipe(goldenRecipe(name, { maxShardSize: 100_000 }));
      assert.ok(plan.shards.length > 10);
      await build(plan, join(folder, "child"), { workers: 2 });
      assertEqualTensors(readCheckpointTensors(join(folder, "child")), expected);
    });

    test("outcomes are those of case.json", async (t) => {
      const folder = join(temporaryFolder(t), "child");
      const plan = await planRecipe(goldenRecipe(name));
      await build(plan, folder, { workers: 2 });
      const { decided, tensors } = (await readChildRecord(openStore(folder)))!;
      const { outcome, base } = goldenCase(name);
      assert.equal(tensors.all, outcome.tensors);
      assert.deepEqual((decided["below-threshold"] ?? []).sort(), outcome.below_threshold);
      assert.equal((decided.identical ?? []).length, outcome.by_origin["base (identical)"] ?? 0);
      const notMerged = new Set(Object.values(decided).flat());
      assert.deepEqual(
        plan.merges
          .map((merge) => merge.name)
          .filter((each) => !notMerged.has(each))
          .sort(),
        outcome.merged,
      );
      const copies = plan.shards
        .flatMap((shard) => shard.tensors)
        .flatMap(({ action, part }) =>
          action.kind === "copy" && part !== "scale" ? [plan.parents[action.parent]!.name] : [],
        );
      const copiedFrom = (parent: string) => copies.filter((each) => each === parent).length;
      assert.equal(copiedFrom(base), outcome.by_origin.base ?? 0);
      assert.equal(copiedFrom("b"), outcome.by_origin.b ?? 0);
    });
  });
}
