/** A virtual child gives the bytes of a built one, in whatever rows it is asked for. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { openWeights, virtualChild } from "../../src/build/virtual-child.ts";
import { openWeights as openCheckpoint } from "../../src/logical/checkpoint-weights.ts";
import { rowLength, type WeightSource } from "../../src/logical/weight-source.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { floatSize } from "../../src/tensor/dtype.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { goldenRecipe } from "./support.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });

/** All rows, in runs of at most `step`, and the scales of each run. */
async function readAll(source: WeightSource, name: string, step: number): Promise<unknown[]> {
  const weight = source.weights.get(name)!;
  const rows = weight.shape[0]!;
  const rowBytes = rowLength(weight) * floatSize(weight.dtype);
  const parts: unknown[] = [];
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(from + step, rows);
    const bytes = new Uint8Array((to - from) * rowBytes);
    const scales = await source.read(name, { from, to }, bytes);
    parts.push([Buffer.from(bytes).toString("hex"), scales && [...scales]]);
  }
  return parts;
}

const CASES = [
  "1-routed-copy",
  "2-routed-half",
  "3-three-parents",
  "4-threshold",
  "5-outside-hull",
  "6-two-rules",
];

describe("openWeights() of a plan", () => {
  for (const name of CASES) {
    test(`${name}: every row as in the built child`, async () => {
      const plan = await planRecipe(goldenRecipe(name));
      const child = join(folder, name);
      await build(plan, child);
      const built = await openCheckpoint({ location: child });
      const virtual = await openWeights(virtualChild(plan).data);
      assert.deepEqual([...virtual.weights.values()], [...built.weights.values()]);
      assert.deepEqual(virtual.config, built.config);
      for (const tensor of virtual.weights.keys()) {
        for (const step of [1000, 100, 37]) {
          assert.deepEqual(await readAll(virtual, tensor, step), await readAll(built, tensor, step), tensor);
        }
      }
      await virtual.close();
      await built.close();
    });
  }

  test("a child in another dtype, and its tokenizer and template", async () => {
    const text = [
      "version: 1",
      "parents: { v3: ./models/mini-v3, r1: ./models/mini-r1 }",
      "base: v3",
      "rules: [{ tensors: routed-experts, weights: { r1: 0.25 } }]",
      "chat_template: r1",
      "output: { dtype: bf16 }",
    ].join("\n");
    const plan = await planRecipe(parseRecipe(text, { file: "mini.yaml" }));
    const child = join(folder, "bf16");
    await build(plan, child);
    const built = await openCheckpoint({ location: child });
    const virtual = await openWeights(virtualChild(plan).data);
    assert.deepEqual(virtual.config, built.config);
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
      assert.deepEqual(await virtual.readSmall(file), await built.readSmall(file));
    }
    for (const tensor of virtual.weights.keys()) {
      assert.deepEqual(await readAll(virtual, tensor, 50), await readAll(built, tensor, 50), tensor);
    }
    await virtual.close();
    await built.close();
  });
});
