/** Runs as tables for a terminal: what each has done, topic by topic, and what differs between them. */
import { formatInteger } from "../base/format.ts";
import type { MetricComparison, RunComparison } from "../eval/compare-runs.ts";
import type { GroupSummary, RunSummary, Share, TokenFigures } from "../eval/summary.ts";
import { clean, columnsOfData, paint, table, widthOf } from "./terminal.ts";

export interface ShownRun {
  name: string;
  summary: RunSummary;
}

const DASH = "–";

/** Columns of the overview, the first ones that fit: what goes first on a narrow terminal is in the summary still. */
const COLUMNS: readonly (readonly number[])[] = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  [0, 1, 2, 3, 6, 7, 8, 9, 10],
  [0, 1, 3, 8, 10],
];

/** One row per run: accuracy, tokens, thinking, refusals, speed; as wide as the terminal takes. */
export function overviewTable(runs: readonly ShownRun[], columns: number = columnsOfData()): string {
  const header = [
    ...["", "accuracy", "95 %", "tokens", "median", "p90", "thinking", "answer"],
    ...["opens", "closes", "refused", "tokens/s"],
  ].map((text) => paint("dim", text));
  const rows = runs.map(({ name, summary }) => {
    const { overall, speed } = summary;
    if (!overall) return [clean(name), "no answers"];
    return [
      clean(name),
      ...accuracyCells(overall.accuracy),
      ...tokenCells(overall),
      percent(overall.opensThinking),
      percent(overall.closesThinking),
      percent(overall.refused),
      speed.tokensPerSecond === null ? DASH : formatInteger(Math.round(speed.tokensPerSecond)),
    ];
  });
  const drawn = COLUMNS.map((some) => {
    const cells = [header, ...rows].map((row) => (row.length < 3 ? row : some.map((column) => row[column]!)));
    return table(cells, { right: some.flatMap((column, i) => (column === 0 || column === 2 ? [] : [i])) });
  });
  return drawn.find((text) => widthOf(text) <= columns) ?? drawn.at(-1)!;
}

function accuracyCells(accuracy: Share | null): string[] {
  return accuracy
    ? [accuracy.value.toFixed(3), `${accuracy.low.toFixed(2)}–${accuracy.high.toFixed(2)}`]
    : [DASH, ""];
}

function tokenCells({ tokens, thinkingTokens, answerTokens, isEstimated }: GroupSummary): string[] {
  const mean = (figures: TokenFigures | null, isRough = false) =>
    figures ? `${isRough ? "≈" : ""}${figures.mean.toFixed(1)}` : DASH;
  return [
    mean(tokens),
    tokens ? String(Math.round(tokens.median)) : DASH,
    tokens ? String(Math.round(tokens.p90)) : DASH,
    mean(thinkingTokens, isEstimated),
    mean(answerTokens, isEstimated),
  ];
}

export function percent({ value, of }: Share): string {
  return of === 0 ? DASH : `${Math.round(100 * value)} %`;
}

/** A row per topic, for each run what was right and what was declined. */
export function topicTable(runs: readonly ShownRun[]): string {
  const topics = [...new Set(runs.flatMap(({ summary }) => Object.keys(summary.topics)))];
  const names = runs.flatMap(({ name }) => [clean(name), ""]);
  const header = [
    ["", ...names],
    ["", ...runs.flatMap(() => ["right", "refused"])],
  ];
  const rows = topics.map((topic) => [
    clean(topic),
    ...runs.flatMap(({ summary }) => {
      const group = summary.topics[topic];
      if (!group) return [DASH, DASH];
      const { accuracy, refused } = group;
      return [accuracy ? `${accuracy.count}/${accuracy.of}` : DASH, `${refused.count}/${refused.of}`];
    }),
  ]);
  const painted = header.map((cells) => cells.map((cell) => paint("dim", cell)));
  return table([...painted, ...rows], { right: names.map((_, i) => i + 1) });
}

/** What differs between pairs of runs, and which differences are real. */
export function comparisonTable(comparisons: readonly RunComparison[]): string {
  const header = ["", "", "", "difference", "95 %", "p", ""].map((text) => paint("dim", text));
  const rows = comparisons.flatMap(({ a, b, metrics }) =>
    metrics.map((metric, i) => [
      i === 0 ? `${clean(a)} → ${clean(b)}` : "",
      metric.metric,
      `${value(metric, metric.a)} → ${value(metric, metric.b)}`,
      signed(metric, metric.difference),
      `${signed(metric, metric.low)} to ${signed(metric, metric.high)}`,
      metric.adjusted < 0.0001 ? "<0.0001" : metric.adjusted.toFixed(4),
      metric.isReal ? paint("green", "real") : paint("dim", "may be chance"),
    ]),
  );
  return table([header, ...rows], { right: [3, 5] });
}

function value({ metric }: MetricComparison, number: number): string {
  if (metric === "tokens") return number.toFixed(1);
  return metric === "accuracy" ? number.toFixed(3) : `${Math.round(100 * number)} %`;
}

function signed(metric: MetricComparison, number: number): string {
  const text = value(metric, Math.abs(number));
  return `${number < 0 ? "−" : "+"}${text}`;
}
