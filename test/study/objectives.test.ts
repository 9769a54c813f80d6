/** What a search looks at, and how much a front dominates. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunSummary } from "../../src/eval/summary.ts";
import { costOf, dominatedShare, gainOf } from "../../src/study/objectives.ts";

const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-12, `${a}, wanted ${b}`);

test("dominatedShare() is the area of the steps between no cost and the worst", () => {
  close(dominatedShare([{ gain: 1, cost: 0 }], 10), 1);
  close(dominatedShare([{ gain: 0.5, cost: 5 }], 10), 0.25);
  const front = [
    { gain: 0.8, cost: 6 },
    { gain: 0.4, cost: 2 },
  ];
  close(dominatedShare(front, 10), (0.4 * 8 + 0.4 * 4) / 10);
});

test("dominatedShare() is not changed by points that others beat, nor by their order", () => {
  const points = [0.1, 0.9, 0.4, 0.7, 0.65].map((gain, i) => ({ gain, cost: [2, 9, 3, 6, 7][i]! }));
  const share = dominatedShare(points, 10);
  close(share, (0.1 * 8 + 0.3 * 7 + 0.3 * 4 + 0.2 * 1) / 10);
  assert.equal(dominatedShare([...points].reverse(), 10), share);
  close(dominatedShare([...points, { gain: 0.5, cost: 6.5 }, { gain: 0.4, cost: 3 }], 10), share);
});

test("dominatedShare() is 0 where nothing is known, nothing is right or everything costs most", () => {
  assert.equal(dominatedShare([], 10), 0);
  assert.equal(dominatedShare([{ gain: null, cost: 1 }], 10), 0);
  assert.equal(dominatedShare([{ gain: 0, cost: 1 }], 10), 0);
  assert.equal(dominatedShare([{ gain: 1, cost: 10 }], 10), 0);
  assert.equal(dominatedShare([{ gain: 1, cost: 0 }], 0), 0);
});

test("gainOf() and costOf() are null for what a run does not say", () => {
  const objectives = { gain: "accuracy", cost: "token" } as const;
  assert.equal(gainOf({ overall: null } as RunSummary, objectives), null);
  const silent = { overall: { accuracy: null, tokens: null, refused: { value: 0.25 } } } as RunSummary;
  assert.equal(gainOf(silent, objectives), null);
  assert.equal(costOf(silent, objectives), null);
  assert.equal(gainOf(silent, { gain: "openness", cost: "refusal" }), 0.75);
  assert.equal(costOf(silent, { gain: "openness", cost: "refusal" }), 0.25);
});
