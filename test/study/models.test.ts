/** The two models of the optimiser: densities that sum to one, processes that find what is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fitProcess } from "../../src/study/gaussian-process.ts";
import { parzen } from "../../src/study/parzen.ts";
import { normal, randomStream } from "../../src/study/random-stream.ts";
import { type Dimension, pointsOf } from "../../src/study/space.ts";

test("parzen() integrates to 1 over a range, within 0.001, also with points at its ends", () => {
  const space: Dimension[] = [{ kind: "range", name: "λ", low: 0, high: 1 }];
  const density = parzen(space, [[0], [0.31], [1], [1]], { weights: [1, 0.1, 2, 1] });
  let sum = 0;
  for (let i = 0; i < 2000; i++) sum += Math.exp(density.logDensity([(i + 0.5) / 2000])) / 2000;
  assert.ok(Math.abs(sum - 1) < 1e-3, `${sum}`);
});

test("parzen() sums to 1 over whole numbers and lists, within 0.001", () => {
  const space: Dimension[] = [
    { kind: "range", name: "layer", low: 1, high: 9, integer: true, log: true },
    { kind: "list", name: "δ", values: [0, 0.5, 1] },
    { kind: "list", name: "method", values: [0, 1, 2, 3], ordered: false },
  ];
  const density = parzen(
    space,
    [
      [1, 0, 3],
      [9, 1, 0],
    ],
    { weights: [1, 3] },
  );
  const sum = [...pointsOf(space)].reduce((total, point) => total + Math.exp(density.logDensity(point)), 0);
  assert.ok(Math.abs(sum - 1) < 1e-3, `${sum}`);
});

test("parzen() draws as its density says: shares of a list within four standard errors", () => {
  const space: Dimension[] = [{ kind: "list", name: "δ", values: [0, 1, 2, 3, 4] }];
  const density = parzen(space, [[1], [4]], { weights: [1, 2] });
  const draw = randomStream(11, 0, 0);
  const counts = new Map<number, number>();
  for (let i = 0; i < 10_000; i++) {
    const value = density.draw(draw)[0]!;
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  for (const value of [0, 1, 2, 3, 4]) {
    const share = Math.exp(density.logDensity([value]));
    const error = 4 * Math.sqrt((share * (1 - share)) / 10_000);
    assert.ok(Math.abs((counts.get(value) ?? 0) / 10_000 - share) < error, `${value}`);
  }
});

test("fitProcess() predicts a smooth function between its points, and is surest at them", () => {
  const places = Array.from({ length: 12 }, (_, i) => [i / 11]);
  const process = fitProcess(
    places,
    places.map(([x]) => Math.sin(5 * x!)),
  );
  for (let i = 0; i < 11; i++) {
    const x = (i + 0.5) / 11;
    assert.ok(Math.abs(process.predict([x]).mean - Math.sin(5 * x)) < 0.02, `${x}`);
  }
  assert.ok(process.predict([5 / 11]).deviation < process.predict([1.5]).deviation);
});

test("fitProcess() finds out which dimensions change nothing, and what is noise", () => {
  const draw = randomStream(2, 0, 0);
  const places = Array.from({ length: 40 }, () => Array.from({ length: 5 }, draw));
  const values = places.map(([x]) => 3 * x! + 0.2 * normal(draw));
  const process = fitProcess(places, values);
  const at = (d: number, value: number): number =>
    process.predict([0.5, 0.5, 0.5, 0.5, 0.5].with(d, value)).mean;
  const spans = [0, 1, 2, 3, 4].map((d) => Math.abs(at(d, 0.9) - at(d, 0.1)));
  assert.ok(Math.abs(spans[0]! - 2.4) < 0.4, `${spans}`);
  for (const span of spans.slice(1)) assert.ok(span < 0.4, `${spans}`);
  // Noise has a deviation of 0.2: predictions at the trials are nearer to the truth than what was measured.
  const error = (found: readonly number[]): number =>
    Math.sqrt(found.reduce((sum, value, i) => sum + (value - 3 * places[i]![0]!) ** 2, 0) / found.length);
  const predicted = error(places.map((place) => process.predict(place).mean));
  assert.ok(predicted < 0.95 * error(values), `${predicted} against ${error(values)}`);
});

test("fitProcess() stands equal values, equal places and more places than it finds lengths with", () => {
  for (const places of [
    Array.from({ length: 6 }, (_, i) => [i / 5]),
    Array.from({ length: 6 }, () => [0.5]),
  ]) {
    const { mean, deviation } = fitProcess(
      places,
      places.map(() => 4),
    ).predict([0.3]);
    assert.equal(mean, 4);
    assert.ok(Number.isFinite(deviation) && deviation >= 0);
  }
  const many = Array.from({ length: 130 }, (_, i) => [i / 129]);
  const { mean } = fitProcess(
    many,
    many.map(([x]) => x! ** 2),
  ).predict([0.503]);
  assert.ok(Math.abs(mean - 0.503 ** 2) < 0.01);
});
