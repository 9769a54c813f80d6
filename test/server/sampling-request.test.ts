/** What a request says about sampling, as the engine gets it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ApiError } from "../../src/server/api-error.ts";
import { type SamplingBody, samplingOf, seedOf, stopsOf } from "../../src/server/sampling-request.ts";

const ADVICE = { temperature: 0.6, topP: 0.95 };
const VOCAB = 6;
const of = (fields: Partial<SamplingBody>) => samplingOf({ model: "m", ...fields }, ADVICE, VOCAB);

/** What is left of logits that are all 1. */
function adjusted(fields: Partial<SamplingBody>, tokens: number[], numPrompt: number): number[] {
  const logits = new Float32Array(VOCAB).fill(1);
  of(fields).adjust!(logits, tokens, numPrompt);
  return [...logits];
}

describe("samplingOf()", () => {
  test("takes what the checkpoint advises where the request says nothing, or null", () => {
    assert.deepEqual(of({}), ADVICE);
    assert.deepEqual(of({ temperature: null, top_p: null, top_k: null, min_p: null, seed: null }), ADVICE);
    assert.deepEqual(of({ temperature: 0, top_p: 1 }), { temperature: 0, topP: 1 });
  });

  test("takes the engine's further settings", () => {
    const { topK, minP, repeatPenalty } = of({ top_k: 0, min_p: 0.1, repetition_penalty: 1.1 });
    assert.deepEqual([topK, minP, repeatPenalty], [0, 0.1, 1.1]);
  });

  test("adds biases by id", () => {
    assert.deepEqual(adjusted({ logit_bias: { "2": -100, "5": 1.5 } }, [], 0), [1, 1, -99, 1, 1, 2.5]);
  });

  test("takes a presence once and a frequency each time, of the answer alone", () => {
    const tokens = [0, 0, 1, 3, 3, 3, 4];
    assert.deepEqual(adjusted({ presence_penalty: 0.5 }, tokens, 3), [1, 1, 1, 0.5, 0.5, 1]);
    assert.deepEqual(adjusted({ frequency_penalty: 0.25 }, tokens, 3), [1, 1, 1, 0.25, 0.75, 1]);
    const both = { presence_penalty: -1, frequency_penalty: 0.25, logit_bias: { "3": 10 } };
    assert.deepEqual(adjusted(both, tokens, 3), [1, 1, 1, 11.25, 1.75, 1]);
    assert.deepEqual(adjusted({ presence_penalty: 2 }, tokens, 7), [1, 1, 1, 1, 1, 1]);
  });

  test("leaves logits alone where there is nothing to change", () => {
    assert.equal(of({ presence_penalty: 0, frequency_penalty: 0, logit_bias: {} }).adjust, undefined);
  });

  test("refuses a bias on an id that the model has not, and top_p 0", () => {
    const at = (param: string) => (error: ApiError) =>
      error instanceof ApiError && error.status === 400 && error.details.param === param;
    assert.throws(() => of({ logit_bias: { "6": 1 } }), at("logit_bias"));
    assert.throws(() => of({ top_p: 0 }), at("top_p"));
  });
});

test("seedOf() gives each choice a seed of its own, past the largest safe number too", () => {
  assert.deepEqual(seedOf(null, 3), {});
  assert.deepEqual(seedOf(undefined, 0), {});
  assert.deepEqual(seedOf(0, 0), { seed: 0 });
  assert.deepEqual(seedOf(-5, 3), { seed: -2 });
  assert.deepEqual(seedOf(Number.MAX_SAFE_INTEGER, 2), { seed: 9007199254740993n });
});

test("stopsOf() makes a list, without empty texts", () => {
  assert.deepEqual([null, undefined, "", [], [""], "a", ["a", "", "b"]].map(stopsOf), [
    ...[[], [], [], [], []],
    ...[["a"], ["a", "b"]],
  ]);
});
