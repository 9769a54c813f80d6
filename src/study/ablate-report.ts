/** An ablation as files: ablation.json, a bar chart for each effect and report.html. */
import { barChart } from "../charts/bar-chart.ts";
import { htmlReport, type ReportSection } from "../charts/html-report.ts";
import type { Metric } from "../eval/compare-runs.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { type AblateResult, type Ablation, rankedBy } from "./ablate.ts";
import { FIGURE_COLUMNS, figureCells, HOW_TO_CHECK, linkTo, provenance, writeAll } from "./report-parts.ts";

const EFFECTS: readonly { metric: Metric; file: string; title: string; format: "number" | "percent" }[] = [
  { metric: "accuracy", file: "accuracy.svg", title: "Effect on accuracy", format: "number" },
  { metric: "tokens", file: "tokens.svg", title: "Effect on output tokens, mean", format: "number" },
  {
    metric: "opens thinking",
    file: "thinking.svg",
    title: "Effect on the share of traces",
    format: "percent",
  },
  { metric: "refused", file: "refusals.svg", title: "Effect on the share of refusals", format: "percent" },
];

/** Bars beyond these are in the table. */
const MOST_BARS = 30;

/** Writes all of it; returns the paths, the report first. */
export async function writeAblation(
  folder: string,
  { recipe, result }: { recipe: Recipe; result: AblateResult },
): Promise<string[]> {
  const { child, parents, ablations } = result;
  const charts = EFFECTS.map(({ metric, file, title, format }) => ({
    ...{ file, metric },
    svg: barChart({
      title,
      description: `Differences from ${child.name} when one group is another parent's, the largest first`,
      x: { label: `difference from ${child.name}`, format },
      bars: rankedBy(ablations, metric)
        .slice(0, MOST_BARS)
        .flatMap((ablation) => {
          const effect = ablation.effects.find((one) => one.metric === metric);
          if (!effect) return [];
          const { difference, low, high, adjusted, isReal } = effect;
          const title = `${ablation.name}: ${difference.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)}), p ${adjusted.toFixed(4)}`;
          return [
            {
              name: ablation.name,
              value: difference,
              low,
              high,
              isReal,
              title,
              href: linkTo(ablation.run, folder),
            },
          ];
        }),
    }),
  }));
  const sections: ReportSection[] = [
    {
      heading: "What hangs on which group",
      blocks: [
        ...charts.map(({ svg }) => ({ kind: "chart" as const, svg })),
        {
          kind: "text",
          text: "One group of tensors at a time is given to the other parent. That finds what is needed, not what is enough: what two groups carry each by itself shows at neither. Differences are tested on the same questions and corrected for their number (Holm).",
        },
      ],
    },
    {
      heading: "All figures",
      blocks: [
        {
          kind: "table",
          caption: "The child, its parents and the swaps",
          columns: [{ label: "" }, { label: "tensors", isNumber: true }, ...FIGURE_COLUMNS],
          rows: [
            ...[child, ...parents].map((one) => [one.name, "", ...figureCells(one, folder)]),
            ...ablations.map((one) => [one.name, String(one.group.numTensors), ...figureCells(one, folder)]),
          ],
        },
        HOW_TO_CHECK,
      ],
    },
    {
      heading: "How it was made",
      blocks: [
        await provenance([child, ...parents, ...ablations]),
        { kind: "details", summary: "The recipe", blocks: [{ kind: "code", text: recipe.text }] },
      ],
    },
  ];
  const json = {
    ...{ format: "chimera-ablation", version: 1, recipe: recipe.text },
    child: { ...child, run: linkTo(child.run, folder) },
    parents: parents.map((one) => ({ ...one, run: linkTo(one.run, folder) })),
    ablations: ablations.map((one: Ablation) => ({ ...one, run: linkTo(one.run, folder) })),
  };
  return writeAll(folder, {
    "report.html": htmlReport({
      title: `Ablation of ${child.name}`,
      lead: `${ablations.length} swaps of one group of tensors between ${parents.map(({ name }) => name).join(" and ")}.`,
      sections,
    }),
    "ablation.json": `${JSON.stringify(json, null, 2)}\n`,
    ...Object.fromEntries(charts.map(({ file, svg }) => [file, svg])),
  });
}
