/** Passes that meet: over one sequence, while it is released, and while the model is disposed of. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";

const MODEL = "models/mini-v3";
const FIRST = [0, 5, 8, 100, 33];
const SECOND = [12, 55, 23];

async function load(t: TestContext, options: ModelOptions = {}): Promise<Model> {
  const model = await loadModel(checkpointReference(MODEL), { threads: 2, ...options });
  t.after(() => model.dispose());
  return model;
}

const lastRow = (tokens: readonly number[]) => ({ logitRows: [tokens.length - 1] });

describe("passes over one sequence", () => {
  test("that are not waited for go one behind the other", async (t) => {
    const model = await load(t);
    const whole = model.newSequence();
    await model.append([{ sequence: whole, tokens: FIRST }]);
    const expected = await model.append([{ sequence: whole, tokens: SECOND }], lastRow(SECOND));

    const sequence = model.newSequence();
    const passes = [FIRST, SECOND].map((tokens) => model.append([{ sequence, tokens }], lastRow(tokens)));
    const [, second] = await Promise.all(passes);
    assert.deepEqual(sequence.tokens, [...FIRST, ...SECOND]);
    assert.deepEqual(second!.logits, expected.logits);
  });

  test("keep their pages to the end: it cannot be cut before", async (t) => {
    const model = await load(t);
    const sequence = model.newSequence();
    const passes = [FIRST, SECOND].map((tokens) => model.append([{ sequence, tokens }]));
    const refusal = { message: /^Cannot cut a sequence: a pass over it is under way/ };
    assert.throws(() => model.release(sequence), refusal);
    await passes[0];
    assert.throws(() => model.truncate(sequence, 2), refusal);
    await passes[1];
    model.truncate(sequence, 2);
    assert.deepEqual(sequence.tokens, FIRST.slice(0, 2));
    model.release(sequence);
    assert.deepEqual(sequence.pages, []);
  });

  test("leave it as it was, and free, when they fail", async (t) => {
    const model = await load(t);
    const sequence = model.newSequence();
    await model.append([{ sequence, tokens: FIRST }]);
    const tokens = Array<number>(model.maxRows + 1).fill(5);
    await assert.rejects(
      model.append([{ sequence, tokens }]),
      /^RangeError: Cannot run a pass of \d+ tokens/,
    );
    const twice = FIRST.map((token) => ({ sequence, tokens: [token] }));
    await assert.rejects(model.append(twice), /^RangeError: Cannot append to a sequence twice/);
    assert.deepEqual(sequence.tokens, FIRST);
    model.release(sequence);
  });
});

test("append() attends in the form that a part names, to the same bits however it is cut", async (t) => {
  const model = await load(t, { mtp: false });
  const tokens = Array.from({ length: 200 }, (_, i) => 3 + ((i * 37) % 500));
  const lastBits = async (form: "absorbed" | "expanded", cuts: readonly number[]) => {
    const sequence = model.newSequence();
    let last = new Float32Array() as Float32Array;
    for (const count of cuts) {
      const part = tokens.slice(sequence.tokens.length, sequence.tokens.length + count);
      last = (await model.append([{ sequence, tokens: part, form }], lastRow(part))).logits;
    }
    model.release(sequence);
    return last;
  };
  const absorbed = await lastBits("absorbed", [200]);
  const expanded = await lastBits("expanded", [200]);
  assert.notDeepEqual(absorbed, expanded);
  for (const cuts of [
    [100, 99, 1],
    [3, 60, 130, 7],
  ]) {
    assert.deepEqual(await lastBits("absorbed", cuts), absorbed, `${cuts}`);
    assert.deepEqual(await lastBits("expanded", cuts), expanded, `${cuts}`);
  }
});

describe("a model that is disposed of", () => {
  const disposed = /^Error: Cannot go on: the model has been disposed of/;

  for (const expertMemory of [undefined, 1]) {
    const where = expertMemory === undefined ? "in memory" : "on disk";
    test(`ends passes that run or wait: nobody waits for ever, with experts ${where}`, async (t) => {
      const model = await load(t, expertMemory === undefined ? {} : { expertMemory });
      const sequence = model.newSequence();
      const passes = [250, 250, 1].map((count) => model.append([{ sequence, tokens: Array(count).fill(5) }]));
      const ends = passes.map((pass) => assert.rejects(pass, disposed));
      await new Promise((resolve) => setTimeout(resolve, 2));
      await Promise.all([model.dispose(), ...ends]);
    });
  }

  test("runs no pass any more", async (t) => {
    const model = await load(t);
    await model.dispose();
    await assert.rejects(model.append([{ sequence: model.newSequence(), tokens: FIRST }]), disposed);
  });
});
