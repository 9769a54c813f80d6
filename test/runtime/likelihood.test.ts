/** Likelihoods of given texts, against the logits of the whole sequence. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { likelihoodsBehind } from "../../src/runtime/likelihood.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import { scoreLogits } from "../../src/runtime/score.ts";

describe("likelihoodsBehind()", () => {
  let model: Model;
  before(async () => {
    model = await loadModel("models/mini-v3", { mtp: false, threads: 1 });
  });
  after(() => model.dispose());

  /** From the logits of the whole sequence, in float64. */
  async function reference(context: number[], continuation: number[]): Promise<number> {
    const ids = [...context, ...continuation];
    const { vocab } = model.config.sizes;
    const { logits } = await scoreLogits(model, [ids]);
    let sum = 0;
    for (let at = context.length; at < ids.length; at++) {
      const row = logits.subarray((at - 1) * vocab, at * vocab);
      let total = 0;
      for (const value of row) total += Math.exp(value);
      sum += row[ids[at]!]! - Math.log(total);
    }
    return sum;
  }

  test("is the sum over the continuation's tokens, within 1e-4", async () => {
    const context = [0, 300, 41, 87, 12];
    const continuations = [[5], [5, 6, 7], [400, 2, 9, 301], []];
    const got = await likelihoodsBehind(model, context, { continuations });
    for (const [i, continuation] of continuations.entries())
      assert.ok(Math.abs(got[i]! - (await reference(context, continuation))) < 1e-4);
    assert.equal(got[3], 0);
  });

  test("is the same for texts that take several passes", async () => {
    const context = Array.from({ length: 400 }, (_, i) => 3 + ((i * 7) % 600));
    const continuation = Array.from({ length: 300 }, (_, i) => 3 + ((i * 11) % 600));
    const [got] = await likelihoodsBehind(model, context, { continuations: [continuation] });
    assert.ok(Math.abs(got! - (await reference(context, continuation))) < 1e-2);
  });

  test("refuses what is longer than the context, and an empty context", async () => {
    const continuations = [Array.from({ length: 1024 }, () => 5)];
    await assert.rejects(likelihoodsBehind(model, [0], { continuations }), (error) => {
      return error instanceof CheckpointError && error.code === "context";
    });
    await assert.rejects(likelihoodsBehind(model, [], { continuations: [[1]] }), RangeError);
  });
});
