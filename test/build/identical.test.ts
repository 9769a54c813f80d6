/** Byte-identical parents whose weights sum to 1 are one tensor, also where the child has another dtype. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { readCheckpointTensors } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { planOf, smallParent } from "./support.ts";

for (const dtype of ["as-base", "f8_e4m3", "bf16", "f16", "f32"]) {
  test(`build() takes identical parents for one, written as ${dtype}`, async (t) => {
    const folder = temporaryFolder(t);
    const a = smallParent(join(folder, "a"), 1);
    const b = smallParent(join(folder, "b"), 1);
    const rest = `output: { dtype: ${dtype} }`;
    await build(await planOf({ parents: { a }, rest }), join(folder, "converted"));
    const expected = readCheckpointTensors(join(folder, "converted"));

    // Sums of 0.7·x and 0.3·x round, and 0.9999995·x is not x.
    for (const weights of ["{ a: 0.7, b: 0.3 }", "{ a: 0.5, b: 0.5000009 }", "{ a: 0.9999995 }"]) {
      const rules = `  - tensors: all\n    weights: ${weights}`;
      const child = join(folder, weights);
      await build(await planOf({ parents: { a, b }, rules, rest }), child);
      assert.deepEqual(readCheckpointTensors(child), expected, weights);
      assert.ok((await verify(child, { all: true })).ok);
    }
  });
}
