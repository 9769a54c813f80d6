import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { scaleNameOf, weightNameOf } from "../../src/arch/scale-names.ts";

test("scaleNameOf() gives the usual name first, and a sibling only for a .weight", () => {
  const module = "model.layers.3.mlp.experts.0.up_proj";
  assert.deepEqual(scaleNameOf(`${module}.weight`), [`${module}.weight_scale_inv`, `${module}.scale`]);
  assert.deepEqual(scaleNameOf("mlp.experts.gate_up_proj"), ["mlp.experts.gate_up_proj_scale_inv"]);
  assert.deepEqual(scaleNameOf(".weight"), [".weight_scale_inv"]);
});

test("weightNameOf() is undefined for what is no scale", () => {
  for (const name of ["", "a.weight", "_scale_inv", ".scale", "scale", "a.weight_scale", "a.scales"]) {
    assert.equal(weightNameOf(name), undefined, name);
  }
});

test("weightNameOf() inverts scaleNameOf() for every name", () => {
  const name = fc.oneof(
    fc.string({ minLength: 1 }),
    fc.string().map((stem) => `${stem}.weight`),
  );
  fc.assert(
    fc.property(name, (weight) => {
      for (const scale of scaleNameOf(weight)) assert.equal(weightNameOf(scale), weight);
    }),
    { seed: 7, numRuns: 500 },
  );
});
