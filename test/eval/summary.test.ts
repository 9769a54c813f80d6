import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EvaluationError } from "../../src/base/errors.ts";
import { compareRuns, compareWith } from "../../src/eval/compare-runs.ts";
import type { EvalRecord, EvalTiming } from "../../src/eval/record.ts";
import { isFunctional, summarise } from "../../src/eval/summary.ts";

function record(id: number, more: Partial<EvalRecord> = {}): EvalRecord {
  return {
    ...{
      task: "t",
      id: String(id),
      topic: "a",
      turns: ["?"],
      wanted: ["!"],
      reasoning: "",
      content: "!",
      finish: "stop",
    },
    ...{ opensThinking: false, closesThinking: false, tokens: 10, thinkingTokens: 0, answerTokens: 10 },
    ...{ correct: true, refused: false },
    ...more,
  };
}

const timing = (id: number, session: number, at: number, model?: string): EvalTiming => ({
  ...{ task: "t", id: String(id), seconds: 1, attempts: 1, session, at },
  ...(model === undefined ? {} : { model }),
});

const ASKED = { name: "x", digest: "d", asked: 4 };

describe("summarise()", () => {
  const records = [
    record(1, { tokens: 10, thinkingTokens: 4, answerTokens: 6, opensThinking: true, closesThinking: true }),
    record(2, {
      tokens: 20,
      thinkingTokens: 20,
      answerTokens: 0,
      opensThinking: true,
      finish: "length",
      content: "",
    }),
    record(3, { tokens: 60, correct: false, refused: true, topic: "b", answerTokens: 60 }),
    record(4, { tokens: 30, correct: null, topic: "b", answerTokens: 30 }),
  ];
  const { overall, topics, tasks, speed, complete, models } = summarise(ASKED, records, [
    ...[timing(1, 0, 2, "m"), timing(2, 0, 5, "m"), timing(3, 1, 1, "m"), timing(4, 1, 3, "m")],
  ]);

  test("counts what is scored, and gives Wilson's interval", () => {
    const { count, of, value, low, high } = overall!.accuracy!;
    assert.deepEqual([count, of, value.toFixed(4)], [2, 3, "0.6667"]);
    // Wilson, z = 1.959964, 2 of 3: by hand.
    assert.deepEqual([low.toFixed(4), high.toFixed(4)], ["0.2077", "0.9385"]);
    assert.deepEqual([topics.a!.accuracy!.of, topics.b!.accuracy!.count, topics.b!.accuracy!.of], [2, 0, 1]);
    assert.deepEqual(Object.keys(tasks), ["t"]);
    assert.deepEqual([complete, models], [true, ["m"]]);
  });

  test("gives mean, median, p90 and sum of tokens, thinking and answer apart", () => {
    const { tokens, thinkingTokens, answerTokens } = overall!;
    assert.deepEqual(
      { ...tokens, p90: tokens!.p90.toFixed(9) },
      { mean: 30, median: 25, p90: "51.000000000", total: 120 },
    );
    assert.deepEqual([thinkingTokens!.mean, answerTokens!.mean], [6, 24]);
  });

  test("gives shares of traces opened and closed, of refusals, of what was cut off, of what works", () => {
    const { opensThinking, closesThinking, refused, cutOff, functional } = overall!;
    const counts = [opensThinking, closesThinking, refused, cutOff, functional].map(({ count }) => count);
    assert.deepEqual(counts, [2, 1, 1, 1, 3]);
    assert.equal(isFunctional(record(1, { content: " \n" })), false);
    assert.equal(isFunctional(record(1, { finish: "not-finite", content: "" })), false);
  });

  test("takes the time of each session up to its last answer", () => {
    assert.deepEqual([speed.seconds, speed.sessions, speed.tokensPerSecond], [8, 2, 15]);
  });

  test("says nothing of tokens where one answer has none, and nothing at all of no answers", () => {
    const { overall: some } = summarise(
      ASKED,
      [record(1), record(2, { tokens: null, thinkingTokens: null })],
      [],
    );
    assert.deepEqual([some!.tokens, some!.thinkingTokens, some!.answerTokens!.mean], [null, null, 10]);
    const none = summarise(ASKED, [], []);
    assert.deepEqual([none.overall, none.complete, none.speed.tokensPerSecond], [null, false, null]);
  });
});

describe("compareRuns()", () => {
  const run = (name: string, records: EvalRecord[]) => ({ config: { name } as never, records });
  const right = Array.from({ length: 40 }, (_, i) => record(i, { tokens: 20 + (i % 3) }));
  const worse = right.map((one, i) => ({ ...one, correct: i >= 12, tokens: 10 + (i % 4) }));

  test("pairs questions: McNemar for shares, a bootstrap for tokens, Holm over all", () => {
    const [{ a, b, metrics }] = compareRuns([run("right", right), run("worse", worse)]) as [
      ReturnType<typeof compareRuns>[0],
    ];
    assert.deepEqual([a, b], ["right", "worse"]);
    const accuracy = metrics.find(({ metric }) => metric === "accuracy")!;
    // 12 questions on one side only: 2 · 0.5^12.
    assert.equal(accuracy.pValue.toFixed(6), (2 * 0.5 ** 12).toFixed(6));
    assert.deepEqual([accuracy.pairs, accuracy.a, accuracy.b, accuracy.isReal], [40, 1, 0.7, true]);
    assert.ok(Math.abs(accuracy.difference + 0.3) < 1e-12 && accuracy.low < -0.3 && accuracy.high > -0.3);
    const tokens = metrics.find(({ metric }) => metric === "tokens")!;
    assert.ok(
      tokens.isReal &&
        tokens.difference < -8 &&
        tokens.low <= tokens.difference &&
        tokens.difference <= tokens.high,
    );
    const refused = metrics.find(({ metric }) => metric === "refused")!;
    assert.deepEqual([refused.difference, refused.pValue, refused.isReal], [0, 1, false]);
    // Four tests together: the least p is multiplied by four.
    const least = Math.min(...metrics.map(({ pValue }) => pValue));
    const first = metrics.find(({ pValue }) => pValue === least)!;
    assert.equal(first.adjusted, 4 * least);
  });

  test("takes only questions that both have, and refuses runs without any", () => {
    const [{ metrics }] = compareRuns([run("a", right), run("b", worse.slice(10, 20))]) as [
      ReturnType<typeof compareRuns>[0],
    ];
    assert.equal(metrics[0]!.pairs, 10);
    const others = right.map((one) => ({ ...one, task: "other" }));
    assert.throws(
      () => compareRuns([run("a", right), run("b", others)]),
      (error) => error instanceof EvaluationError && error.code === "nothing-in-common",
    );
  });

  test("leaves a metric out that one side does not know", () => {
    const silent = right.map((one) => ({ ...one, tokens: null, correct: null }));
    const [{ metrics }] = compareRuns([run("a", right), run("b", silent)]) as [
      ReturnType<typeof compareRuns>[0],
    ];
    assert.deepEqual(
      metrics.map(({ metric }) => metric),
      ["opens thinking", "refused"],
    );
  });

  test("compareWith() holds all against one, corrected together", () => {
    const comparisons = compareWith({ name: "right", records: right }, [
      { name: "same", records: right },
      { name: "worse", records: worse },
    ]);
    assert.deepEqual(
      comparisons.map(({ a, b }) => [a, b]),
      [
        ["right", "same"],
        ["right", "worse"],
      ],
    );
    const [same, other] = comparisons.map(({ metrics }) => metrics[0]!) as [never, never];
    assert.deepEqual(
      [(same as { isReal: boolean }).isReal, (other as { isReal: boolean }).isReal],
      [false, true],
    );
  });
});
