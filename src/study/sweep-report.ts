/** A sweep as files: sweep.json, points.csv, four plots and report.html. */
import { htmlReport, type ReportSection } from "../charts/html-report.ts";
import { type ChartPoint, lineChart } from "../charts/line-chart.ts";
import type { GroupSummary } from "../eval/summary.ts";
import { shortNumber } from "./axis.ts";
import type { CurveFindings } from "./findings.ts";
import { accuracyInWords, functionalInWords, thinkingInWords } from "./findings-in-words.ts";
import {
  CSV_FIGURES,
  csvFigures,
  csvLine,
  FIGURE_COLUMNS,
  figureCells,
  HOW_TO_CHECK,
  linkTo,
  provenance,
  writeAll,
} from "./report-parts.ts";
import type { MeasuredPoint, SweepResult, SweepSettings } from "./sweep.ts";

export interface SweepToReport {
  settings: SweepSettings;
  result: SweepResult;
  findings: readonly CurveFindings[];
}

interface PlotOf {
  file: string;
  title: string;
  label: string;
  format: "number" | "percent";
  most?: number;
  read: (group: GroupSummary) => { y: number; low?: number; high?: number } | undefined;
}

const PLOTS: readonly PlotOf[] = [
  {
    ...{ file: "accuracy.svg", title: "Accuracy", label: "accuracy", format: "number", most: 1 },
    read: ({ accuracy }) => accuracy && { y: accuracy.value, low: accuracy.low, high: accuracy.high },
  } as PlotOf,
  {
    ...{ file: "tokens.svg", title: "Output tokens, mean", label: "tokens", format: "number" },
    read: ({ tokens }) => (tokens ? { y: tokens.mean } : undefined),
  },
  {
    ...{
      file: "thinking.svg",
      title: "Answers that open a thinking trace",
      label: "share of answers",
      format: "percent",
      most: 1,
    },
    read: ({ opensThinking: share }) => ({ y: share.value, low: share.low, high: share.high }),
  },
  {
    ...{
      file: "refusals.svg",
      title: "Answers that are refusals",
      label: "share of answers",
      format: "percent",
    },
    read: ({ refused: share }) => ({ y: share.value, low: share.low, high: share.high }),
  },
];

/** Writes all of it; returns the paths, the report first. */
export async function writeSweep(
  folder: string,
  { settings, result, findings }: SweepToReport,
): Promise<string[]> {
  const { points, parents } = result;
  const axis = settings.lambda[0]!.parent;
  const plots = PLOTS.map((plot) => ({ file: plot.file, svg: drawPlot(plot, { result, axis, folder }) }));
  const { recipe } = settings;
  const json = {
    ...{ format: "chimera-sweep", version: 1, recipe: recipe.text },
    axes: { lambda: settings.lambda, thresholds: settings.thresholds, roles: settings.roles },
    findings,
    parents: parents.map(({ name, run, summary }) => ({ name, run: linkTo(run, folder), summary })),
    points: points.map(({ name, curve, x, point, run, summary }) => ({
      ...{ name, curve, x, ...point, run: linkTo(run, folder), summary },
    })),
  };
  const sections: ReportSection[] = [
    {
      heading: "What was found",
      blocks: [
        ...findings.map((one) => ({
          kind: "table" as const,
          caption: `${one.curve}: the three findings of Assembly of Experts (arXiv 2506.14794) on these children`,
          columns: [{ label: "finding" }, { label: "here" }],
          rows: [
            ["scores change gradually", accuracyInWords(one.accuracy)],
            ["the thinking trace sets in sharply", thinkingInWords(one.thinking)],
            ["nearly every child works", functionalInWords(one.functional)],
          ],
        })),
        {
          kind: "text",
          text: "A change is sharp where its middle 80 % takes at most 40 % of the axis, half of what a straight line takes.",
        },
      ],
    },
    {
      heading: `The curves over λ of ${axis}`,
      blocks: plots.map(({ svg }) => ({ kind: "chart" as const, svg })),
    },
    {
      heading: "All figures",
      blocks: [
        {
          kind: "table",
          caption: "Parents and children",
          columns: [{ label: "" }, ...FIGURE_COLUMNS],
          rows: [...parents, ...points].map((one) => [one.name, ...figureCells(one, folder)]),
        },
        topicTable(result),
        HOW_TO_CHECK,
      ],
    },
    {
      heading: "How it was made",
      blocks: [
        await provenance([...parents, ...points]),
        { kind: "details", summary: "The recipe", blocks: [{ kind: "code", text: recipe.text }] },
      ],
    },
  ];
  const title = `Sweep over λ of ${axis}`;
  const lead = `${points.length} children of ${recipe.parents.map(({ name }) => name).join(" and ")}, none of them written, asked the same questions.`;
  return writeAll(folder, {
    "report.html": htmlReport({ title, lead, sections }),
    "sweep.json": `${JSON.stringify(json, null, 2)}\n`,
    "points.csv": csvOf(points),
    ...Object.fromEntries(plots.map(({ file, svg }) => [file, svg])),
  });
}

function drawPlot(
  { title, label, format, most, read }: PlotOf,
  { result, axis, folder }: { result: SweepResult; axis: string; folder: string },
): string {
  const curves = [...new Set(result.points.map(({ curve }) => curve))];
  const series = curves.map((curve) => ({
    name: curve,
    points: result.points
      .filter((point) => point.curve === curve)
      .flatMap(({ x, summary, run }): ChartPoint[] => {
        const value = summary.overall && read(summary.overall);
        if (!value) return [];
        const shown = format === "percent" ? `${(100 * value.y).toFixed(1)} %` : value.y.toFixed(3);
        return [{ x, ...value, title: `λ ${shortNumber(x)}: ${shown}`, href: linkTo(run, folder) }];
      }),
  }));
  const references = result.parents.flatMap(({ name, summary }) => {
    const value = summary.overall && read(summary.overall);
    return value ? [{ name, y: value.y }] : [];
  });
  const ends = series.map(
    ({ name, points: some }) => `${name}: ${some[0]?.y.toFixed(3)} to ${some.at(-1)?.y.toFixed(3)}`,
  );
  return lineChart({
    title,
    description: `Over λ of ${axis}. ${ends.join("; ")}. Parents as dashed lines.`,
    x: { label: `λ of ${axis}` },
    y: { label, format, min: 0, ...(most === undefined ? {} : { max: most }) },
    series,
    references,
  });
}

function topicTable({ points, parents }: SweepResult): ReportSection["blocks"][number] {
  const all = [...parents, ...points];
  const topics = [...new Set(all.flatMap(({ summary }) => Object.keys(summary.topics)))];
  return {
    kind: "table",
    caption: "Right answers by topic; refusals in brackets where there are any",
    columns: [{ label: "" }, ...topics.map((label) => ({ label, isNumber: true }))],
    rows: all.map(({ name, summary }) => [
      name,
      ...topics.map((topic) => {
        const group = summary.topics[topic];
        if (!group) return "–";
        const right = group.accuracy ? `${group.accuracy.count}/${group.accuracy.of}` : "–";
        return group.refused.count > 0 ? `${right} (${group.refused.count})` : right;
      }),
    ]),
  };
}

function csvOf(points: readonly MeasuredPoint[]): string {
  const lines = points.map(({ curve, x, point, summary }) =>
    csvLine([curve, x, point.threshold, point.roles?.join("+"), ...csvFigures(summary)]),
  );
  return csvLine(["curve", "lambda", "threshold", "roles", ...CSV_FIGURES]) + lines.join("");
}
