/** Every number of a summary and of a comparison, computed again from the files of the runs. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { compareRuns } from "../../src/eval/compare-runs.ts";
import { openEndpoint } from "../../src/eval/endpoint.ts";
import { evaluate } from "../../src/eval/evaluate.ts";
import type { EvalRecord, EvalTiming } from "../../src/eval/record.ts";
import { type FinishedRun, readRun } from "../../src/eval/run-folder.ts";
import type { GroupSummary, RunSummary } from "../../src/eval/summary.ts";
import { type LanguageModel, loadModel } from "../../src/library/language-model.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { startServer } from "../support/openai-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const base = temporaryFolder({ after });
const TASKS = ["capitals", "count", "guarded-topics"].map((name) => `tasks/mini/${name}.yaml`);

async function runWith(model: LanguageModel, name: string, maxTokens: number): Promise<FinishedRun> {
  const server = await startServer({ model });
  const target = await openEndpoint({ url: server.url, name });
  const options = { n: 24, folder: join(base, name), generation: { maxTokens } };
  try {
    return await evaluate(target, await loadTasks(TASKS), options);
  } finally {
    await target.close();
    await server.close();
  }
}

before(async () => {
  for (const [location, names] of [
    ["models/mini-r1", { r1: 250, cut: 60 }],
    ["models/mini-v3", { v3: 250 }],
  ] as const) {
    const model = await loadModel(location, { threads: 1 });
    for (const [name, maxTokens] of Object.entries(names)) await runWith(model, name, maxTokens);
    await model.dispose();
  }
});

function linesOf<T>(name: string, file: string): T[] {
  const text = readFileSync(join(base, name, file), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

const close = (a: number, b: number, what: string) =>
  assert.ok(Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b)), `${what}: ${a}, wanted ${b}`);

function assertShare(share: GroupSummary["refused"], values: boolean[], what: string): void {
  const count = values.filter(Boolean).length;
  const n = values.length;
  assert.deepEqual([share.count, share.of], [count, n], what);
  close(share.value, count / n, what);
  // The bounds are where the score test just rejects: (p − p̂)² = z² p (1 − p) / n.
  const z = 1.959963984540054;
  for (const bound of [share.low, share.high]) {
    assert.ok(bound >= 0 && bound <= 1);
    if ((bound === 0 && count === 0) || (bound === 1 && count === n)) continue;
    close((bound - count / n) ** 2, (z * z * bound * (1 - bound)) / n, what);
  }
  assert.ok(share.low <= share.value && share.value <= share.high && share.low < share.high);
}

function assertFigures(figures: GroupSummary["tokens"], values: (number | null)[], what: string): void {
  const known = values.map((value) => value!).sort((a, b) => a - b);
  const at = (q: number) => {
    const place = q * (known.length - 1);
    const [low, high] = [known[Math.floor(place)]!, known[Math.ceil(place)]!];
    return low + (high - low) * (place - Math.floor(place));
  };
  const total = known.reduce((a, b) => a + b, 0);
  assert.equal(figures!.total, total, what);
  close(figures!.mean, total / known.length, what);
  close(figures!.median, at(0.5), what);
  close(figures!.p90, at(0.9), what);
}

function assertGroup(group: GroupSummary, records: EvalRecord[], what: string): void {
  assert.equal(group.answers, records.length);
  assertShare(
    group.accuracy!,
    records.map(({ correct }) => correct === true),
    what,
  );
  for (const key of ["tokens", "thinkingTokens", "answerTokens"] as const)
    assertFigures(
      group[key],
      records.map((record) => record[key]),
      what,
    );
  for (const key of ["opensThinking", "closesThinking", "refused"] as const)
    assertShare(
      group[key],
      records.map((record) => record[key]),
      what,
    );
  assertShare(
    group.cutOff,
    records.map(({ finish }) => finish === "length"),
    what,
  );
  const works = records.map(
    (one) => one.finish === "stop" && one.content !== "" && one.opensThinking === one.closesThinking,
  );
  assertShare(group.functional, works, what);
}

test("summarise() gives numbers that follow from the run's records and timings", () => {
  for (const name of ["r1", "cut", "v3"]) {
    const summary = JSON.parse(readFileSync(join(base, name, "summary.json"), "utf8")) as RunSummary;
    const records = linesOf<EvalRecord>(name, "records.ndjson");
    const timings = linesOf<EvalTiming>(name, "timings.ndjson");
    const config = JSON.parse(readFileSync(join(base, name, "config.json"), "utf8"));
    const { complete, asked, answered, models, speed } = summary;
    assert.deepEqual([complete, asked, answered, models], [true, 24, 24, ["mini"]]);
    assert.deepEqual([summary.name, summary.digest, config.numQuestions], [name, config.digest, 24]);
    assertGroup(summary.overall!, records, name);
    for (const [key, groups] of [
      ["task", summary.tasks],
      ["topic", summary.topics],
    ] as const) {
      assert.deepEqual(Object.keys(groups), [...new Set(records.map((record) => record[key]))]);
      for (const [value, group] of Object.entries(groups))
        assertGroup(
          group,
          records.filter((record) => record[key] === value),
          `${name} ${value}`,
        );
    }
    const last = timings.reduce((most, { at }) => Math.max(most, at), 0);
    assert.deepEqual([timings.length, speed.sessions], [24, 1]);
    close(speed.seconds, last, "seconds");
    close(speed.tokensPerSecond!, records.reduce((sum, { tokens }) => sum + tokens!, 0) / last, "speed");
    for (const { tokens, thinkingTokens, answerTokens } of records)
      assert.equal(thinkingTokens! + answerTokens!, tokens);
  }
});

function choose(n: number, k: number): number {
  return k === 0 ? 1 : (choose(n, k - 1) * (n - k + 1)) / k;
}

test("compareRuns() compares pairs by McNemar's test and a bootstrap, and corrects over all pairs of runs", async () => {
  const names = ["r1", "cut", "v3"];
  const runs = await Promise.all(names.map((name) => readRun(join(base, name))));
  const comparisons = compareRuns(runs, names);
  assert.deepEqual(
    comparisons.map(({ a, b }) => [a, b]),
    [
      ["r1", "cut"],
      ["r1", "v3"],
      ["cut", "v3"],
    ],
  );
  const all = comparisons.flatMap(({ metrics }) => metrics);
  assert.equal(all.length, 12);
  for (const { a, b, metrics } of comparisons) {
    const [xs, ys] = [a, b].map((name) => linesOf<EvalRecord>(name, "records.ndjson"));
    const read = {
      accuracy: (record: EvalRecord) => Number(record.correct),
      tokens: (record: EvalRecord) => record.tokens!,
      "opens thinking": (record: EvalRecord) => Number(record.opensThinking),
      refused: (record: EvalRecord) => Number(record.refused),
    };
    for (const metric of metrics) {
      const values = xs!.map((x, i) => [read[metric.metric](x), read[metric.metric](ys![i]!)] as const);
      const what = `${a} ${b} ${metric.metric}`;
      assert.equal(metric.pairs, 24);
      close(metric.a, values.reduce((sum, [x]) => sum + x, 0) / 24, what);
      close(metric.b, values.reduce((sum, [, y]) => sum + y, 0) / 24, what);
      close(metric.difference, metric.b - metric.a, what);
      assert.ok(metric.low <= metric.difference && metric.difference <= metric.high, what);
      if (metric.metric === "tokens") continue;
      const more = values.filter(([x, y]) => x > y).length;
      const less = values.filter(([x, y]) => y > x).length;
      let tail = 0;
      for (let k = 0; k <= Math.min(more, less); k++) tail += choose(more + less, k) / 2 ** (more + less);
      close(metric.pValue, Math.min(1, 2 * tail), what);
    }
  }
  const sorted = all.toSorted((a, b) => a.pValue - b.pValue);
  let least = 0;
  for (const [rank, { pValue, adjusted, isReal }] of sorted.entries()) {
    least = Math.max(least, Math.min(1, pValue * (12 - rank)));
    close(adjusted, least, `rank ${rank}`);
    assert.equal(isReal, adjusted < 0.05);
  }
  // r1 thinks and v3 does not.
  const thinks = comparisons[1]!.metrics.find(({ metric }) => metric === "opens thinking")!;
  assert.ok(thinks.isReal && thinks.difference < 0);
  assert.ok(all.some(({ isReal }) => !isReal));
});

test("compareRuns() pairs only questions that were asked in the same words, and refuses runs that share none", async () => {
  const run = await readRun(join(base, "r1"));
  const changed = run.records.map((record, i) => (i < 4 ? { ...record, turns: ["Another?"] } : record));
  const [comparison] = compareRuns([run, { ...run, records: changed }], ["a", "b"]);
  for (const { pairs, difference, pValue } of comparison!.metrics)
    assert.deepEqual([pairs, difference, pValue], [20, 0, 1]);
  assert.throws(() => compareRuns([run, { ...run, records: changed.slice(0, 4) }], ["a", "b"]), {
    code: "nothing-in-common",
    message: /^Cannot compare "a" with "b": they have no question in common/,
  });
});
