import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { combineSplits } from "../../src/runtime/join-splits.ts";
import { type SchedulePart, scheduleSplits } from "../../src/runtime/split-schedule.ts";

/** (beginRequest, beginBlock) -> (endRequest, endBlock) */
type Stretch = [beginRequest: number, beginBlock: number, endRequest: number, endBlock: number];

/** The table of model.md section 16. */
const TABLE: [lengths: number[], numParts: number, payload: number, offsets: number[], parts: Stretch[]][] = [
  [
    [100, 5000, 64],
    4,
    30,
    [0, 1, 5, 6],
    [
      [0, 0, 1, 18],
      [1, 18, 1, 43],
      [1, 43, 1, 68],
      [1, 68, 2, 1],
    ],
  ],
  [
    [4096],
    8,
    14,
    [0, 8],
    Array.from({ length: 8 }, (_, part): Stretch => [0, 9 * part, 0, Math.min(9 * part + 9, 64)]),
  ],
  [
    [640, 640],
    4,
    13,
    [0, 2, 5],
    [
      [0, 0, 0, 8],
      [0, 8, 1, 1],
      [1, 1, 1, 9],
      [1, 9, 1, 10],
    ],
  ],
  [
    [0, 1, 64, 65],
    2,
    18,
    [0, 1, 2, 3, 4],
    [
      [0, 0, 2, 1],
      [3, 0, 3, 2],
    ],
  ],
];

const stretch = (part: SchedulePart | undefined) =>
  part && [part.beginRequest, part.beginBlock, part.endRequest, part.endBlock];

for (const [lengths, numParts, payload, offsets, parts] of TABLE) {
  test(`scheduleSplits([${lengths}], ${numParts}) is the table's`, () => {
    const schedule = scheduleSplits(lengths, numParts);
    assert.equal(schedule.payload, payload);
    assert.deepEqual([...schedule.splitOffsets], offsets);
    assert.deepEqual(schedule.parts.map(stretch), parts);
  });
}

test("the part that goes on with a request knows which split of it that is", () => {
  const begins = scheduleSplits([100, 5000, 64], 4).parts.map((part) => part?.beginSplit);
  assert.deepEqual(begins, [0, 1, 2, 3]);
});

test("parts beyond the last request are idle", () => {
  const { parts, splitOffsets } = scheduleSplits([1], 4);
  assert.deepEqual(parts.map(stretch), [[0, 0, 0, 1], undefined, undefined, undefined]);
  assert.deepEqual([...splitOffsets], [0, 1]);
  assert.deepEqual(scheduleSplits([], 2).parts, [undefined, undefined]);
});

test("scheduleSplits() refuses less than one part", () => {
  assert.throws(() => scheduleSplits([1], 0), RangeError);
});

/** What a worker does with its part: its stretch of every request, with the split it writes to. */
function* stretchesOf(part: SchedulePart, numBlocks: readonly number[]) {
  for (let request = part.beginRequest; request <= part.endRequest; request++) {
    const isFirst = request === part.beginRequest;
    const begin = isFirst ? part.beginBlock : 0;
    const end = request === part.endRequest ? part.endBlock : numBlocks[request]!;
    yield { request, begin, end, split: isFirst ? part.beginSplit : 0 };
  }
}

test("every block is done once, splits are counted right, and there are at most B + P of them", () => {
  const lengths = fc.array(fc.nat(20_000), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 40 }), (values, numParts) => {
      const { parts, splitOffsets } = scheduleSplits(values, numParts);
      const numBlocks = values.map((length) => Math.max(1, Math.ceil(length / 64)));
      const done = values.map(() => 0);
      const splits = values.map((): number[] => []);
      for (const part of parts) {
        if (!part) continue;
        for (const { request, begin, end, split } of stretchesOf(part, numBlocks)) {
          assert.equal(begin, done[request], "blocks in order, none twice");
          assert.ok(end > begin);
          done[request] = end;
          splits[request]!.push(split);
        }
      }
      assert.deepEqual(done, numBlocks);
      for (const [request, numbers] of splits.entries()) {
        assert.deepEqual(numbers, [...numbers.keys()]);
        assert.equal(splitOffsets[request + 1]! - splitOffsets[request]!, numbers.length);
      }
      assert.ok(splitOffsets.at(-1)! <= values.length + numParts);
    }),
    { seed: 6, numRuns: 500 },
  );
});

const LOG_SUMS = Float32Array.of(3, 1, -Infinity);
const OUTPUTS = Float32Array.of(1, 2, 3, -4, 0, 0);

function near(actual: ArrayLike<number>, expected: readonly number[], bound = 5e-7): void {
  for (const [at, value] of expected.entries()) {
    assert.ok(
      Math.abs(actual[at]! - value) <= bound * Math.max(1, Math.abs(value)),
      `${actual[at]} against ${value}`,
    );
  }
}

test("combineSplits(): the vector of model.md section 16", () => {
  const into = new Float32Array(2);
  const logSum = combineSplits(LOG_SUMS, OUTPUTS, into);
  near(into, [1.4, 0.8]);
  near([logSum], [Math.LN10]);
  assert.equal(combineSplits(LOG_SUMS, OUTPUTS, into, { sink: 0.5 }), logSum);
  near(into, [1.20184866, 0.68677066]);
});

test("splits without keys leave nothing, whatever their rows hold", () => {
  const into = Float32Array.of(7, 7);
  assert.equal(
    combineSplits(Float32Array.of(-Infinity, -Infinity), Float32Array.of(NaN, 1, 2, 3), into),
    Infinity,
  );
  assert.deepEqual([...into], [0, 0]);
});

test("one split comes out as it went in", () => {
  const into = new Float32Array(3);
  near([combineSplits(Float32Array.of(2), Float32Array.of(1, -2, 3), into)], [2 / Math.LOG2E]);
  assert.deepEqual([...into], [1, -2, 3]);
});

test("more than 160 splits are refused", () => {
  const combine = (count: number) =>
    combineSplits(new Float32Array(count), new Float32Array(count), new Float32Array(1));
  near([combine(160)], [Math.log(160)]);
  assert.throws(() => combine(161), /Cannot combine 161 splits, wanted at most 160/);
});

/** Softmax over scores, in double, of a stretch of keys. */
function attend(scores: readonly number[], values: readonly number[]) {
  const largest = Math.max(-Infinity, ...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const output = sum === 0 ? 0 : weights.reduce((total, weight, at) => total + weight * values[at]!, 0) / sum;
  return { output, logSum: sum === 0 ? -Infinity : Math.log(sum) + largest };
}

test("combined splits are unsplit attention, wherever it is cut, also with scores far apart", () => {
  const key = fc.tuple(fc.integer({ min: -200, max: 200 }), fc.integer({ min: -9, max: 9 }));
  fc.assert(
    fc.property(
      fc.array(key, { minLength: 1, maxLength: 30 }),
      fc.array(fc.nat(30), { maxLength: 5 }),
      (keys, cuts) => {
        const borders = [
          0,
          ...cuts.map((cut) => Math.min(cut, keys.length)).sort((a, b) => a - b),
          keys.length,
        ];
        const pieces = borders.slice(1).map((end, at) => keys.slice(borders[at], end));
        const of = (some: typeof keys) =>
          attend(
            some.map(([score]) => score),
            some.map(([, value]) => value),
          );
        const splits = pieces.map(of);
        const into = new Float32Array(1);
        const logSum = combineSplits(
          Float32Array.from(splits, (split) => split.logSum * Math.LOG2E),
          Float32Array.from(splits, (split) => split.output),
          into,
        );
        const whole = of(keys);
        near(into, [whole.output], 1e-4); // a log-sum of 200 in float32 has an error of 1e-5
        near([logSum], [whole.logSum], 1e-6);
      },
    ),
    { seed: 7, numRuns: 500 },
  );
});
