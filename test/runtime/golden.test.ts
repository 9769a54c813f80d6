/** The forward pass against the golden reference, and against itself computed in other ways. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import {
  argmax,
  CASES,
  expectedOf,
  loadGolden,
  logitsOf,
  promptsOf,
  range,
  relativeError,
} from "./golden-forward.ts";

const TOLERANCE = 1e-4; // of the largest magnitude; the reference itself is within 3e-6
const models = new Map<string, Promise<Model>>();
after(async () => {
  for (const model of models.values()) await (await model).dispose();
});

/** Tests that want the same model share it. */
function load(...args: Parameters<typeof loadGolden>): Promise<Model> {
  const key = JSON.stringify(args);
  const model = models.get(key) ?? loadGolden(...args);
  models.set(key, model);
  return model;
}

for (const name of CASES) {
  describe(`forward pass of ${name}`, () => {
    const expected = expectedOf(name);
    const prompts = promptsOf(expected);
    const rows = prompts.length * prompts[0]!.length;

    for (const attention of ["absorbed", "expanded"] as const) {
      test(`${attention}: logits and hidden states within ${TOLERANCE} of the reference`, async () => {
        const model = await load(name, { traces: true });
        const parts = prompts.map((tokens) => ({ sequence: model.newSequence(), tokens }));
        const { logits, traces } = await model.append(parts, { logitRows: range(rows), attention });
        assert.ok(relativeError(logits, expected.get("logits")!.values) < TOLERANCE);
        const { hidden, numLayers } = model.config.sizes;
        const names = ["hidden.embed", ...range(numLayers).map((i) => `hidden.layer.${i}`), "hidden.norm"];
        for (const [slot, tensor] of names.entries()) {
          const actual = traces!.subarray(slot * rows * hidden, (slot + 1) * rows * hidden);
          const error = relativeError(actual, expected.get(tensor)!.values);
          assert.ok(error < TOLERANCE, `${tensor}: ${error}`);
        }
      });
    }

    test("greedy tokens are the reference's", async () => {
      const model = await load(name);
      const wanted = expected.get("greedy_ids")!;
      const length = wanted.shape[1]!;
      for (const [b, prompt] of prompts.entries()) {
        const sequence = model.newSequence();
        const tokens: number[] = [];
        let next = prompt;
        let logitRow = prompt.length - 1;
        while (tokens.length < length) {
          const { logits } = await model.append([{ sequence, tokens: next }], { logitRows: [logitRow] });
          tokens.push(argmax(logits));
          next = [tokens.at(-1)!];
          logitRow = 0;
        }
        assert.deepEqual(tokens, Array.from(wanted.values).slice(b * length, (b + 1) * length));
      }
    });

    test("in one go = in chunks = token by token = in a batch, bit for bit", async () => {
      const model = await load(name);
      const [prompt] = prompts as [number[]];
      const whole = await logitsOf(model, prompt, [prompt.length]);
      assert.deepEqual(await logitsOf(model, prompt, [7, 1, 30, prompt.length]), whole);
      assert.deepEqual(
        await logitsOf(
          model,
          prompt,
          prompt.map(() => 1),
        ),
        whole,
      );
      const parts = prompts.map((tokens) => ({ sequence: model.newSequence(), tokens }));
      const { logits } = await model.append(parts, { logitRows: range(rows), attention: "absorbed" });
      assert.deepEqual(logits.slice(0, whole.length), whole);
    });

    test("1 thread = 2 threads = 3 threads, WASM = scalar, bit for bit", async () => {
      const [prompt] = prompts as [number[]];
      const results: Float32Array[] = [];
      for (const options of [{}, { threads: 2 }, { threads: 3 }, { kernels: "scalar" as const }]) {
        const model = await load(name, options);
        results.push(await logitsOf(model, prompt, [20, prompt.length]));
      }
      for (const result of results) assert.deepEqual(result, results[0]);
    });

    test("a model with room for one row, shared among five ranks, gives the same bits", async () => {
      const tokens = prompts[0]!.slice(0, 6);
      const whole = await logitsOf(await load(name), tokens, [tokens.length]);
      const small = await load(name, { threads: 5, chunk: 1, mtp: false });
      assert.deepEqual(await logitsOf(small, tokens, Array(6).fill(1)), whole);
    });
  });
}

async function checkMtp(name: string): Promise<void> {
  const model = await load(name, { traces: true });
  const expected = expectedOf(name);
  const ids = expected.get("mtp.input_ids")!;
  const [batch, count] = ids.shape as [number, number];
  const { hidden, vocab } = model.config.sizes;
  for (let b = 0; b < batch; b++) {
    const sequence = model.newSequence();
    const of = (name: string, width: number) =>
      Array.from(expected.get(name)!.values).slice(b * count * width, (b + 1) * count * width);
    const tokens = of("mtp.input_ids", 1);
    const states = Float32Array.from(of("mtp.main_hidden", hidden));
    const { logits, normed, traces } = await model.appendMtp(
      sequence,
      { tokens, hidden: states },
      range(count),
    );
    assert.ok(relativeError(traces!.subarray(0, count * hidden), of("mtp.hidden", hidden)) < TOLERANCE);
    assert.ok(relativeError(normed, of("mtp.norm", hidden)) < TOLERANCE);
    assert.ok(relativeError(logits, of("mtp.logits", vocab)) < TOLERANCE);
    const drafts = range(count).map((i) => argmax(logits.subarray(i * vocab, (i + 1) * vocab)));
    assert.deepEqual(drafts, of("mtp.draft_ids", 1));
  }
}

const withMtp = CASES.filter((name) => expectedOf(name).has("mtp.logits"));
for (const name of withMtp) {
  test(`the MTP layer of ${name}: hidden states, logits and drafts are the reference's`, () =>
    checkMtp(name));
}
test("a case with an MTP layer is among them", () => assert.ok(withMtp.includes("v3-fp8")));

test("behind more than 4,096 tokens, which are attended in parts: both forms agree, however it is cut", async () => {
  const folder = join(temporaryFolder({ after }), "long");
  cpSync("test/golden/forward/v3-wide-heads", folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, max_position_embeddings: 6000 }));
  const loaded = loadModel(checkpointReference(folder), { threads: 1, chunk: 512 });
  models.set(folder, loaded);
  const model = await loaded;
  const tokens = range(5000).map((i) => (i * i + (i >> 3)) % 11);
  const last = async (step: number, attention: "absorbed" | "expanded") => {
    const sequence = model.newSequence();
    let logits: Float32Array = new Float32Array();
    for (let from = 0; from < tokens.length; from += step) {
      const some = tokens.slice(from, from + step);
      ({ logits } = await model.append([{ sequence, tokens: some }], {
        logitRows: [some.length - 1],
        attention,
      }));
    }
    model.release(sequence);
    return logits;
  };
  const whole = await last(512, "absorbed");
  assert.deepEqual(await last(387, "absorbed"), whole);
  const error = relativeError(await last(512, "expanded"), whole);
  assert.ok(error < TOLERANCE, `relative error ${error}`);
});

for (const cache of ["bf16", "fp8"] as const) {
  test(`a ${cache} cache changes logits by little`, async () => {
    const expected = expectedOf("v3-fp8");
    const [prompt] = promptsOf(expected) as [number[]];
    const model = await load("v3-fp8", { cache });
    const logits = await logitsOf(model, prompt, [10, prompt.length]);
    const wanted = Array.from(expected.get("logits")!.values).slice(0, logits.length);
    const error = relativeError(logits, wanted);
    assert.ok(error < (cache === "bf16" ? 0.02 : 0.15), `relative error ${error}`);
    assert.ok(error > 1e-5, "it is not the float32 cache");
  });
}
