/**
 * Two runs over the same questions: what differs between them, and whether chance explains it.
 *
 * Questions are compared in pairs. Shares (accuracy, traces, refusals): McNemar's exact test on the questions where
 * the two disagree. Tokens: a bootstrap over pairs. Everything that is said of a set of runs is one family of
 * tests, corrected together (Holm): of twenty differences one is below 0.05 by chance.
 */
import { EvaluationError } from "../base/errors.ts";
import { pairedBootstrap } from "../statistics/bootstrap.ts";
import { holm } from "../statistics/holm.ts";
import { mcnemar } from "../statistics/mcnemar.ts";
import { seedOf } from "../statistics/random.ts";
import type { EvalRecord } from "./record.ts";
import { type FinishedRun, keyOf } from "./run-folder.ts";

export const METRICS = ["accuracy", "tokens", "opens thinking", "refused"] as const;
export type Metric = (typeof METRICS)[number];

export interface MetricComparison {
  metric: Metric;
  /** Pairs of which both sides have a value. */
  pairs: number;
  a: number;
  b: number;
  /** b − a, with its 95 % interval. */
  difference: number;
  low: number;
  high: number;
  pValue: number;
  /** Corrected for all comparisons that are made together. */
  adjusted: number;
  /** adjusted is below 0.05. */
  isReal: boolean;
}

export interface RunComparison {
  a: string;
  b: string;
  metrics: MetricComparison[];
}

const SIGNIFICANCE = 0.05;

/** Every pair of runs. Throws EvaluationError for runs that share no question. */
export function compareRuns(
  runs: readonly Pick<FinishedRun, "config" | "records">[],
  names: readonly string[] = runs.map(({ config }) => config.name),
): RunComparison[] {
  const pairs = runs.flatMap((a, i) => runs.slice(i + 1).map((b, j) => ({ a, b, i, j: i + 1 + j })));
  return corrected(
    pairs.map(({ a, b, i, j }) => {
      return {
        a: names[i]!,
        b: names[j]!,
        metrics: compareRecords(a.records, b.records, [names[i]!, names[j]!]),
      };
    }),
  );
}

/** Several runs, each against one. */
export function compareWith(
  reference: { name: string; records: readonly EvalRecord[] },
  others: readonly { name: string; records: readonly EvalRecord[] }[],
): RunComparison[] {
  return corrected(
    others.map(({ name, records }) => ({
      a: reference.name,
      b: name,
      metrics: compareRecords(reference.records, records, [reference.name, name]),
    })),
  );
}

function corrected(comparisons: RunComparison[]): RunComparison[] {
  const all = comparisons.flatMap(({ metrics }) => metrics);
  const adjusted = holm(all.map(({ pValue }) => pValue));
  for (const [i, metric] of all.entries()) {
    metric.adjusted = adjusted[i]!;
    metric.isReal = metric.adjusted < SIGNIFICANCE;
  }
  return comparisons;
}

function compareRecords(
  a: readonly EvalRecord[],
  b: readonly EvalRecord[],
  [nameA, nameB]: readonly [string, string],
): MetricComparison[] {
  const others = new Map(b.map((record) => [keyOf(record), record]));
  const pairs = a.flatMap((record) => {
    const other = others.get(keyOf(record));
    // A question that was asked in other words is another one, whatever its id.
    const isSame = other !== undefined && JSON.stringify(other.turns) === JSON.stringify(record.turns);
    return isSame ? [{ a: record, b: other }] : [];
  });
  if (pairs.length === 0) {
    const message = `Cannot compare "${nameA}" with "${nameB}": they have no question in common, wanted runs of the same tasks`;
    throw new EvaluationError("nothing-in-common", message);
  }
  const readers: Record<Metric, (record: EvalRecord) => number | null> = {
    accuracy: ({ correct }) => (correct === null ? null : Number(correct)),
    tokens: ({ tokens }) => tokens,
    "opens thinking": ({ opensThinking }) => Number(opensThinking),
    refused: ({ refused }) => Number(refused),
  };
  return METRICS.flatMap((metric) => {
    const values = pairs.flatMap((pair) => {
      const [x, y] = [readers[metric](pair.a), readers[metric](pair.b)];
      return x === null || y === null ? [] : [{ x, y }];
    });
    return values.length > 0 ? [compareValues(metric, values)] : [];
  });
}

function compareValues(metric: Metric, pairs: readonly { x: number; y: number }[]): MetricComparison {
  const [xs, ys] = [pairs.map(({ x }) => x), pairs.map(({ y }) => y)];
  const bootstrap = pairedBootstrap(xs, ys, { seed: seedOf("compare", metric) });
  const pValue =
    metric === "tokens"
      ? bootstrap.pValue
      : mcnemar({
          onlyA: pairs.filter(({ x, y }) => x > y).length,
          onlyB: pairs.filter(({ x, y }) => y > x).length,
        }).pValue;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const { difference, low, high } = bootstrap;
  return {
    ...{ metric, pairs: pairs.length, a: mean(xs), b: mean(ys), difference, low, high },
    ...{ pValue, adjusted: pValue, isReal: false },
  };
}
