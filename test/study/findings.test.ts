/** What is said of curves: sharp, gradual or nothing, by rule. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunSummary } from "../../src/eval/summary.ts";
import { curveFindings, transitionOf } from "../../src/study/findings.ts";
import { accuracyInWords, functionalInWords, thinkingInWords } from "../../src/study/findings-in-words.ts";

const over = (...ys: number[]) => ys.map((y, i) => ({ x: i / Math.max(1, ys.length - 1), y }));

test("transitionOf() calls a straight line gradual and a step sharp", () => {
  const line = transitionOf(over(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1), 0.05);
  assert.equal(line.kind, "gradual");
  assert.deepEqual([line.from, line.to], [0.1, 0.9]);
  assert.ok(Math.abs(line.share! - 0.8) < 1e-9, "a straight line takes 80 % of the axis");
  const step = transitionOf(over(0, 0, 0, 0, 0, 0, 0.05, 0.97, 1, 1, 1), 0.05);
  assert.deepEqual([step.kind, step.from, step.to], ["sharp", 0.6, 0.7]);
  assert.deepEqual([step.first, step.last, step.least, step.most], [0, 1, 0, 1]);
});

test("transitionOf() calls up to 40 % of the axis sharp, more gradual", () => {
  const four = over(0, 0, 0, 0, 0.3, 0.5, 0.7, 1, 1, 1, 1);
  assert.deepEqual([transitionOf(four, 0.05).from, transitionOf(four, 0.05).to], [0.3, 0.7]);
  assert.equal(transitionOf(four, 0.05).kind, "sharp");
  assert.equal(transitionOf(over(0, 0, 0, 0.2, 0.3, 0.5, 0.7, 1, 1, 1, 1), 0.05).kind, "gradual");
});

test("transitionOf() sees what falls as what rises, and axes that do not begin at 0", () => {
  const falling = over(1, 1, 1, 0.97, 0.05, 0, 0, 0, 0, 0, 0);
  const found = transitionOf(falling, 0.05);
  assert.deepEqual([found.kind, found.from, found.to, found.first, found.last], ["sharp", 0.3, 0.4, 1, 0]);
  const shifted = [2, 4, 6, 8, 10].map((x, i) => ({ x, y: [0, 0, 1, 1, 1][i]! }));
  assert.deepEqual(transitionOf(shifted, 0.05).share, 0.25);
});

test("transitionOf() finds none in flat curves, in noise below the least change, in one point", () => {
  for (const ys of [[0.5, 0.5, 0.5], [0.5, 0.52, 0.49, 0.51], [0.7], [0, 0]])
    assert.deepEqual(
      [transitionOf(over(...ys), 0.05).kind, transitionOf(over(...ys), 0.05).share],
      ["none", null],
      String(ys),
    );
  const peak = transitionOf(over(1, 0.5, 0.2, 0.5, 1), 0.05);
  assert.equal(peak.kind, "none", "it begins at its height");
});

test("transitionOf() tells nothing from fewer than five points", () => {
  assert.equal(transitionOf(over(0, 1), 0.05).kind, "unknown");
  assert.equal(transitionOf(over(0, 0, 1, 1), 0.05).kind, "unknown");
  assert.equal(transitionOf(over(0, 0, 1, 1, 1), 0.05).kind, "sharp");
});

test("transitionOf() is not led astray by noise at both ends", () => {
  const found = transitionOf(over(0.02, 0, 0.05, 0.03, 0.5, 0.98, 0.95, 1, 0.97), 0.05);
  assert.deepEqual([found.kind, found.from, found.to], ["sharp", 0.375, 0.625]);
});

const share = (value: number) => ({ count: value * 100, of: 100, value, low: value, high: value });

function summaryOf(overall: { accuracy: number | null; traces: number; works: number } | null): RunSummary {
  const group = overall && {
    accuracy: overall.accuracy === null ? null : share(overall.accuracy),
    opensThinking: share(overall.traces),
    functional: share(overall.works),
  };
  return { overall: group } as RunSummary;
}

function point(curve: string, x: number, overall: Parameters<typeof summaryOf>[0]) {
  return { name: `${x}`, curve, x, point: { lambda: { r1: x } }, run: "", summary: summaryOf(overall) };
}

test("curveFindings() orders the points of each curve and leaves out those without answers", () => {
  const points = [1, 0, 0.5, 0.75, 0.25].map((x) =>
    point("a", x, { accuracy: x, traces: x > 0.5 ? 1 : 0, works: 1 - x / 5 }),
  );
  const found = curveFindings([...points, point("a", 0.7, null), point("b", 0, null)]);
  assert.deepEqual(
    found.map(({ curve }) => curve),
    ["a"],
  );
  const [{ accuracy, thinking, functional }] = found as [(typeof found)[0]];
  assert.deepEqual([accuracy!.first, accuracy!.last, thinking.from, thinking.to], [0, 1, 0.5, 0.75]);
  assert.deepEqual([functional.count, functional.of, functional.least], [3, 5, 0.8]);
});

test("curveFindings() says nothing of scores where nothing is scored", () => {
  const [found] = curveFindings([point("a", 0, { accuracy: null, traces: 0, works: 1 })]);
  assert.equal(found!.accuracy, null);
  assert.equal(accuracyInWords(found!.accuracy), "not scored");
});

test("accuracyInWords(), thinkingInWords() and functionalInWords() name the numbers", () => {
  const step = transitionOf(over(0, 0, 0, 1, 1), 0.05);
  assert.match(thinkingInWords(step), /^0 % → 100 % .*: sharp, between λ 0\.5 and 0\.75 \(25 % of the axis/);
  assert.equal(accuracyInWords(transitionOf(over(0.5, 0.5), 0.05)), "0.500 → 0.500, no transition");
  assert.match(functionalInWords({ count: 9, of: 11, least: 0.25 }), /^9 of 11 children; .* 25 % /);
});
