/** The router against the vectors of model.md section 8, and its rules for ties and negative biases. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RouterConfig } from "../../src/arch/model-config.ts";
import { type Routing, route } from "../../src/runtime/router.ts";

const LOGITS = Float32Array.from([1.2, -0.4, 0.3, 0.8, -1.0, 2.0, 0.1, -0.2]);
const V3: RouterConfig = {
  method: "noaux_tc",
  scoring: "sigmoid",
  numGroups: 4,
  numGroupsKept: 2,
  numChosen: 3,
  normalise: true,
  scale: 2.5,
};

/** Weights by expert, within 1e-6. */
function assertRouting({ experts, weights }: Routing, expected: Record<number, number>): void {
  assert.deepEqual([...experts].map(String), Object.keys(expected));
  for (const [i, expert] of experts.entries()) assert.ok(Math.abs(weights[i]! - expected[expert]!) < 1e-6);
}

test("route() chooses by biased scores and weighs by unbiased ones", () => {
  const bias = Float32Array.from([0.05, -0.1, 0.2, -0.3, 0.15, -0.6, 0, 0.25]);
  assertRouting(route(LOGITS, bias, V3), { 2: 0.9267667, 6: 0.84696591, 7: 0.72626738 });
});

test("route() keeps experts of other groups out where all biased scores are negative", () => {
  const bias = new Float32Array(8).fill(-0.9);
  assertRouting(route(LOGITS, bias, V3), { 0: 0.94508951, 2: 0.70641782, 3: 0.84849267 });
});

test("route() as V2 does: groups by their best, softmax, scaled and not normalised", () => {
  const v2: RouterConfig = {
    ...V3,
    method: "group_limited_greedy",
    scoring: "softmax",
    normalise: false,
    scale: 16,
  };
  assertRouting(route(LOGITS, undefined, v2), { 0: 3.08012264, 1: 0.62186604, 5: 6.854939 });
  const greedy = route(LOGITS, undefined, { ...v2, method: "greedy" });
  assert.deepEqual([...greedy.experts], [0, 3, 5]);
});

test("route() sends ties to the lowest index, of experts and of groups", () => {
  const { experts } = route(new Float32Array(8), new Float32Array(8), V3);
  assert.deepEqual([...experts], [0, 1, 2]);
});

test("route() with one group leaves all experts in", () => {
  const { experts } = route(LOGITS, new Float32Array(8), { ...V3, numGroups: 1, numGroupsKept: 1 });
  assert.deepEqual([...experts], [0, 3, 5]);
});
