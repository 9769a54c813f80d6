/** Options and memory that will not do, and what goes wrong while a model runs: one error, never a hang. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";
import { requireMemory } from "../../src/runtime/require-memory.ts";
import type { TensorContent } from "../support/safetensors.ts";
import { countedReference, counts } from "./counted-source.ts";

import { type Damage, damaged, errorOf, MODEL, runError, setValue } from "./damaged-model.ts";

describe("activations that are not finite", () => {
  const large = (name: string) => (all: Map<string, TensorContent>) => {
    for (let at = 0; at < 128; at++) setValue(all, name, { at, value: 3e38 });
  };
  for (const threads of [1, 2]) {
    test(`name the layer, with ${threads} threads, and the model goes on`, async (t) => {
      const name = "model.layers.2.post_attention_layernorm.weight";
      const { code, message } = await runError(t, { tensors: large(name) }, { threads });
      assert.equal(code, "not-finite");
      assert.match(message, /^Cannot go on: the output of layer 2 holds a number that is not finite/);
    });
  }

  test("name the final norm, and the MTP layer", async (t) => {
    const { message } = await runError(t, { tensors: large("model.norm.weight") });
    assert.match(message, /^Cannot go on: the output of the final norm holds .* not finite/);
    const mtp = await runError(t, { tensors: large("model.layers.4.input_layernorm.weight") });
    assert.match(mtp.message, /^Cannot go on: the output of layer 4 holds/);
  });

  for (const threads of [1, 2]) {
    test(`name the id whose logit overflows, with ${threads} threads`, async (t) => {
      const { name, code, message } = await runError(t, { tensors: large("lm_head.weight") }, { threads });
      assert.deepEqual([name, code], ["CheckpointError", "not-finite"]);
      assert.match(
        message,
        /^Cannot go on: the logit of id 0 is not finite \(token 3 of the pass\), wanted finite logits$/,
      );
    });
  }
});

describe("a model that is not loaded leaves nothing open", () => {
  const cases: [string, Damage, string][] = [
    ["config.json", { config: (c) => delete c.rms_norm_eps }, "config-missing-key"],
    ["a missing tensor", { tensors: (all) => all.delete("lm_head.weight") }, "missing-tensor"],
    [
      "a bad value",
      { tensors: (all) => setValue(all, "model.norm.weight", { at: 0, value: Number.NaN }) },
      "not-finite",
    ],
    ["no memory", {}, "not-enough-memory"],
  ];
  for (const [what, damage, wanted] of cases) {
    test(what, async (t) => {
      const folder = damaged(t, damage);
      const system = process as { availableMemory?: () => number };
      const own = system.availableMemory;
      if (wanted === "not-enough-memory") system.availableMemory = () => 1_000_000;
      t.after(() => Object.assign(system, { availableMemory: own }));
      const before = { ...counts };
      const { code } = await errorOf(() => loadModel(countedReference(folder), { threads: 1 }));
      const [opened, closed] = [counts.opened - before.opened, counts.closed - before.closed];
      assert.deepEqual([code, opened, closed], [wanted, 1, 1]);
    });
  }
});

describe("options", () => {
  const wrong: [options: object, message: RegExp][] = [
    [{ cache: "f16" }, /cache "f16", wanted one of f32, bf16, fp8/],
    [{ weights: "int4" }, /weights "int4", wanted one of stored, int8/],
    [{ kernels: "gpu" }, /kernels "gpu", wanted one of auto, wasm, scalar/],
    [{ threads: 0 }, /with 0 threads, wanted 1 to 256/],
    [{ context: -5 }, /context -5, wanted a whole number above 0/],
    [{ chunk: Number.NaN }, /chunk NaN, wanted a whole number above 0/],
    [{ expertMemory: -1 }, /expertMemory -1, wanted a number of bytes/],
  ];
  for (const [options, message] of wrong) {
    test(`${JSON.stringify(options)} is refused before anything is read`, async () => {
      await assert.rejects(loadModel("models/none", options as ModelOptions), {
        name: "RangeError",
        message,
      });
    });
  }
});

describe("memory", () => {
  const need = { numRanks: 2, weightBytes: 1000e6, bufferBytes: 100e6, expertBytes: 0 };
  const refusal = (cacheBytes: number, available: number) =>
    errorOf(async () => requireMemory(need, { cacheBytes, available, context: 10_000 }));

  test("is asked for before loading, and what would fit is told", async () => {
    requireMemory(need, { cacheBytes: 400e6, available: 1500e6, context: 10_000 });
    const { code, message, note } = await refusal(400e6, 1300e6);
    assert.equal(code, "not-enough-memory");
    assert.match(
      message,
      /takes 1.50 GB \(weights .*, cache .* for 10000 tokens\), wanted at most the 1.30 GB/,
    );
    assert.match(note!, /--context 5000$/);
    assert.match((await refusal(400e6, 900e6)).note!, /^The weights alone do not fit/);
  });

  test("counts what a thread takes for itself", async () => {
    const buffers: number[] = [];
    for (const threads of [1, 4]) {
      const model = await loadModel(checkpointReference(MODEL), { threads, chunk: 1, mtp: false });
      buffers.push(model.need.bufferBytes);
      await model.dispose();
    }
    const each = (buffers[1]! - buffers[0]!) / 3;
    assert.ok(each > 20e6 && each < 40e6, `${each} bytes`); // 20 MB were measured
  });

  test("loadModel() asks the system", async (t) => {
    t.mock.method(process, "availableMemory", () => 1e9);
    const told = await errorOf(() => loadModel(checkpointReference(MODEL), { threads: 1, context: 2 ** 24 }));
    assert.equal(told.code, "not-enough-memory");
    assert.match(told.note!, /--context 6\d\d\d\d\d$/); // of 1600 bytes each
  });
});

describe("a thread that dies is an error, not a hang", () => {
  test("in a pass, and in every one after it", async (t) => {
    const workers: Worker[] = [];
    const original = Worker.prototype.postMessage;
    t.mock.method(Worker.prototype, "postMessage", function (this: Worker, value: unknown) {
      workers.push(this); // they are told of the cache's memory before the first pass
      original.call(this, value);
    });
    const model = await loadModel(checkpointReference(MODEL), { threads: 2 });
    const sequence = model.newSequence();
    const pass = model.append([{ sequence, tokens: Array(250).fill(5) }]);
    const death = assert.rejects(pass, /^Error: Cannot go on: thread 1 of the model has ended/);
    while (workers.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    await Promise.all([workers[1]!.terminate(), death]);
    await assert.rejects(model.append([{ sequence, tokens: [5] }]), /thread 1 of the model has ended/);
    await model.dispose();
  });

  test("while it loads", async () => {
    const code = `import { isMainThread } from "node:worker_threads";
      export async function openWeights({ module, data }) {
        if (!isMainThread) process.exit(3);
        return (await import(module)).openWeights(data);
      }`;
    const module = `data:text/javascript,${encodeURIComponent(code)}`;
    const reference = { module, data: checkpointReference(MODEL) };
    await assert.rejects(
      loadModel(reference, { threads: 2 }),
      /thread [01] of the model has ended \(status 3\)/,
    );
  });
});
