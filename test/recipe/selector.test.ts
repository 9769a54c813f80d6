import assert from "node:assert/strict";
import { test } from "node:test";
import { type Place, ROLES } from "../../src/arch/place.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Selector } from "../../src/recipe/recipe.ts";
import { formatSelector, layersSelected, ruleFor, selects, whyNot } from "../../src/recipe/selector.ts";

const AT = { line: 1, column: 1 };
const EXPERT: Place = { role: "routed-experts", layer: 7, expert: 3, matrix: "up_proj", mtp: false };
const MTP_EXPERT: Place = { ...EXPERT, layer: 61, mtp: true };
const MTP_EXTRA: Place = { role: "mtp", layer: 61, matrix: "eh_proj", mtp: true };
const HEAD: Place = { role: "lm-head", matrix: "lm_head", mtp: false };
const NAME = "model.layers.7.mlp.experts.3.up_proj.weight";

function holds(selector: Omit<Selector, "at">, place: Place, name = NAME): boolean {
  const whole = { ...selector, at: AT };
  const reasons = whyNot(whole, place, name);
  assert.equal(selects(whole, place, name), reasons.length === 0, reasons.join());
  return reasons.length === 0;
}

test("selects() takes a role where the place has it", () => {
  for (const role of ROLES) {
    for (const wanted of ROLES) {
      if (wanted === "other" || wanted === "mtp" || role === "mtp") continue;
      assert.equal(holds({ role: wanted }, { role, matrix: "x", mtp: false }), role === wanted);
    }
    assert.ok(holds({ role: "all" }, { role, matrix: "x", mtp: role === "mtp" }));
  }
});

test("selects() leaves MTP layers out of roles but all and mtp", () => {
  const cases: [selector: Omit<Selector, "at">, main: boolean, mtp: boolean, extra: boolean][] = [
    [{ role: "routed-experts" }, true, false, false],
    [{ role: "routed-experts", includeMtp: false }, true, false, false],
    [{ role: "routed-experts", includeMtp: true }, true, true, false],
    [{ role: "mtp" }, false, true, true],
    [{ role: "mtp", includeMtp: true }, false, true, true],
    [{ role: "all" }, true, true, true],
    [{ role: "all", includeMtp: true }, true, true, true],
    [{ role: "all", includeMtp: false }, true, false, false],
    [{ name: "model.*" }, true, true, true],
    [{ name: "model.*", includeMtp: false }, true, false, false],
    [{ layers: [{ from: 0, to: 61 }] }, true, true, true],
    [{ matrices: ["up_proj"] }, true, true, false],
  ];
  for (const [selector, ...expected] of cases) {
    const actual = [EXPERT, MTP_EXPERT, MTP_EXTRA].map((place) => holds(selector, place));
    assert.deepEqual(actual, expected, JSON.stringify(selector));
  }
});

test("selects() takes a matrix by its own name and by the usual one", () => {
  const w1: Place = { ...EXPERT, matrix: "w1", alias: "gate_proj" };
  const answers = ["w1", "gate_proj", "up_proj"].map((matrix) => holds({ matrices: [matrix] }, w1));
  assert.deepEqual(answers, [true, true, false]);
});

test("selects() wants every condition to hold", () => {
  const layers = [
    { from: 3, to: 7 },
    { from: 20, to: 20 },
  ];
  assert.deepEqual(
    [2, 3, 7, 8, 20, 21].map((layer) => holds({ layers }, { ...EXPERT, layer })),
    [false, true, true, false, true, false],
  );
  assert.equal(holds({ layers }, HEAD), false);
  assert.equal(holds({ experts: [{ from: 3, to: 3 }] }, EXPERT), true);
  assert.equal(holds({ experts: [{ from: 4, to: 9 }] }, EXPERT), false);
  assert.equal(holds({ experts: [{ from: 0, to: 999 }] }, HEAD), false);
  const { expert: _, ...fused } = EXPERT;
  assert.equal(holds({ experts: [{ from: 0, to: 999 }] }, fused), false);
  assert.equal(holds({ matrices: ["gate_proj", "up_proj"] }, EXPERT), true);
  assert.equal(holds({ matrices: ["gate_proj"] }, EXPERT), false);
  assert.equal(holds({ name: "*.experts.3.*" }, EXPERT), true);
  assert.equal(holds({ name: "experts.3" }, EXPERT), false);
  assert.equal(
    holds({ role: "routed-experts", layers, matrices: ["up_proj"], name: "*3.up*" }, EXPERT),
    true,
  );
  assert.equal(holds({ role: "attention", layers, matrices: ["up_proj"], name: "*3.up*" }, EXPERT), false);
});

test("selects() follows a glob that was changed in place", () => {
  const selector: Selector = { name: "a*", at: AT };
  assert.equal(selects(selector, EXPERT, "ab"), true);
  selector.name = "b*";
  assert.equal(selects(selector, EXPERT, "ab"), false);
});

test("whyNot() names every condition that fails", () => {
  const selector: Selector = {
    role: "attention",
    layers: [
      { from: 40, to: 60 },
      { from: 2, to: 2 },
    ],
    experts: [{ from: 9, to: 9 }],
    matrices: ["o_proj"],
    name: "*.o_proj.*",
    at: AT,
  };
  assert.deepEqual(whyNot(selector, MTP_EXPERT, NAME), [
    'its role is "routed-experts", wanted "attention"',
    'it belongs to an MTP layer, which the role "attention" leaves out unless include_mtp is true',
    "it stands in layer 61, wanted 40-60, 2",
    "it is expert 3, wanted 9",
    'its matrix is "up_proj", wanted "o_proj"',
    'its name does not match "*.o_proj.*"',
  ]);
  assert.deepEqual(
    whyNot({ role: "mtp", experts: [{ from: 0, to: 1 }], layers: [{ from: 0, to: 1 }], at: AT }, HEAD, ""),
    [
      "it belongs to no MTP layer",
      "it stands outside the layers, wanted 0-1",
      "it belongs to no single expert, wanted 0-1",
    ],
  );
  assert.deepEqual(whyNot({ name: "*", includeMtp: false, at: AT }, MTP_EXTRA, NAME), [
    "it belongs to an MTP layer, which include_mtp: false leaves out",
  ]);
});

test("formatSelector() puts a selector on one line", () => {
  const selector: Selector = {
    role: "mtp",
    layers: [{ from: 1, to: 3 }],
    experts: [{ from: 0, to: 0 }],
    matrices: ["a", "b"],
    name: "*",
    includeMtp: true,
    at: AT,
  };
  assert.equal(
    formatSelector(selector),
    'role mtp, layers 1-3, experts 0, matrices a, b, name "*", include_mtp true',
  );
});

test("ruleFor() gives the last rule that selects", () => {
  const recipe = parseRecipe(`version: 1
parents: { a: ./a, b: ./b }
base: a
rules:
  - { tensors: all, weights: { b: 0.1 } }
  - { tensors: [router, { role: routed-experts, layers: 0-7 }], weights: { b: 0.2 } }
  - { tensors: lm-head, weights: { b: 0.3 } }
`);
  assert.equal(ruleFor(recipe, EXPERT, NAME)?.index, 1);
  assert.equal(ruleFor(recipe, { ...EXPERT, layer: 8 }, NAME)?.index, 0);
  assert.equal(ruleFor(recipe, HEAD, "lm_head.weight")?.index, 2);
  assert.equal(ruleFor({ ...recipe, rules: recipe.rules.slice(1) }, MTP_EXTRA, NAME), undefined);
});

test("layersSelected() gives each layer once, ascending", () => {
  const [rule] = parseRecipe(
    "version: 1\nparents: { a: a, b: b }\nbase: a\nrules: [{ tensors: [routed-experts, lm-head], weights: { b: 1 } }]",
  ).rules;
  const tensors = [{ ...EXPERT, layer: 10 }, { ...EXPERT, layer: 9 }, EXPERT, EXPERT, HEAD, MTP_EXPERT].map(
    (place) => ({
      place,
      name: NAME,
    }),
  );
  assert.deepEqual(layersSelected(rule!, tensors), [7, 9, 10]);
});
