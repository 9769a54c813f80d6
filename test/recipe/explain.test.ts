import assert from "node:assert/strict";
import { test } from "node:test";
import type { Place } from "../../src/arch/place.ts";
import { explainTensor, formatExplanation } from "../../src/recipe/explain.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";

const RECIPE = parseRecipe(
  `version: 1
parents: { v3: ./v3, r1: ./r1, r0528: ./r0528 }
base: v3
rules:
  - tensors: [attention, { role: routed-experts, layers: 0-30 }]
    weights: { r1: 0.5 }
  - tensors: routed-experts
    weights: { r1: 1 }
  - tensors: { role: attention, layers: 3-5 }
    weights: { r1: [0.2, 0.6], r0528: 0.1 }
    threshold: 0.0004
  - tensors: norms
    weights: { v3: 1.5, r1: -0.75 }
  - tensors: lm-head
    weights: { r1: [0, 1] }
`,
  { file: "r.yaml" },
);
const EXPERT: Place = { role: "routed-experts", layer: 7, expert: 3, matrix: "up_proj", mtp: false };
const ATTENTION: Place = { role: "attention", layer: 4, matrix: "o_proj", mtp: false };

test("explainTensor() gives every rule's answer as plain data", () => {
  const name = "model.layers.7.mlp.experts.3.up_proj.weight";
  const explanation = explainTensor(RECIPE, EXPERT, name);
  assert.deepEqual(JSON.parse(JSON.stringify(explanation)), explanation);
  assert.equal(explanation.rule, 1);
  assert.deepEqual(
    explanation.verdicts.map(({ rule, verdict, by }) => [rule, verdict, by]),
    [
      [0, "overruled", 1],
      [1, "takes", undefined],
      [2, "does-not-select", undefined],
      [3, "does-not-select", undefined],
      [4, "does-not-select", undefined],
    ],
  );
  assert.deepEqual(explanation.verdicts[0]!.selectors, [
    {
      selector: "role attention",
      at: { line: 5, column: 15 },
      selects: false,
      reasons: ['its role is "routed-experts", wanted "attention"'],
    },
    { selector: "role routed-experts, layers 0-30", at: { line: 5, column: 26 }, selects: true, reasons: [] },
  ]);
  assert.deepEqual(explanation.weights, [
    { parent: "v3", weight: 0 },
    { parent: "r1", weight: 1 },
    { parent: "r0528", weight: 0 },
  ]);
  assert.equal(explanation.formula, "the bytes of r1, copied");
});

test("formatExplanation() says why, one fact a line", () => {
  const name = "model.layers.4.self_attn.o_proj.weight";
  const context = { selectedLayers: () => [3, 4, 5] };
  assert.equal(
    formatExplanation(explainTensor(RECIPE, ATTENTION, name, context)),
    `model.layers.4.self_attn.o_proj.weight
  attention, layer 4, o_proj
  rule 1 (r.yaml:5:5) selects it, but rule 3 comes later and takes it: role attention
  rule 2 (r.yaml:7:5) does not select it
    role routed-experts: its role is "attention", wanted "routed-experts"
  rule 3 (r.yaml:9:5) takes it: role attention, layers 3-5
  rule 4 (r.yaml:12:5) does not select it
    role norms: its role is "attention", wanted "norms"
  rule 5 (r.yaml:14:5) does not select it
    role lm-head: its role is "attention", wanted "lm-head"
  weights: v3 0.5, r1 0.4, r0528 0.1
  result: 0.5 · v3 + 0.4 · r1 + 0.1 · r0528 where one of r1, r0528 differs from v3 by more than 0.0004 (rms), elsewhere the bytes of v3; where these parents are byte-identical, their bytes`,
  );
});

test("explainTensor() speaks of bases, other sums, gradients and faults", () => {
  const formula = (place: Place, layers?: number[]): string =>
    explainTensor(RECIPE, place, "x", layers ? { selectedLayers: () => layers } : {}).formula;
  assert.equal(
    formula({ role: "embeddings", matrix: "embed_tokens", mtp: false }),
    "the bytes of v3, the base, untouched: no rule selects it",
  );
  assert.equal(
    formula({ role: "norms", matrix: "norm", mtp: false }),
    "1.5 · v3 − 0.75 · r1; the weights sum to 0.75",
  );
  assert.equal(
    formula(ATTENTION),
    "a weighted sum whose weights follow a gradient over the layers that the rule selects",
  );
  assert.equal(explainTensor(RECIPE, ATTENTION, "x").weights, undefined);
  assert.equal(explainTensor(RECIPE, ATTENTION, "x").threshold, 0.0004);
  assert.match(
    formula({ role: "lm-head", matrix: "lm_head", mtp: false }, []),
    /^none: Cannot weigh a tensor outside the layers by rule 5/,
  );
  assert.match(formula({ ...ATTENTION, layer: 61, mtp: true }), /^the bytes of v3, the base, untouched/);
});
