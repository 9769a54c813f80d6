/** A search as files: search.json, the front as recipes, plots of the front and of its growth, and report.html. */
import { join } from "node:path";
import { htmlReport, type ReportSection } from "../charts/html-report.ts";
import { lineChart } from "../charts/line-chart.ts";
import { scatterChart } from "../charts/scatter-chart.ts";
import { openOutput } from "../checkpoint/stores.ts";
import { recipeTextFor } from "./child-recipe.ts";
import { COST_LABEL, dominatedShare, GAIN_LABEL } from "./objectives.ts";
import type { Method } from "./optimiser.ts";
import { FIGURE_COLUMNS, figureCells, HOW_TO_CHECK, linkTo, provenance, writeAll } from "./report-parts.ts";
import { recipeOfPoint, type SearchResult, type SearchSettings } from "./search.ts";

export const METHOD_LABEL: Record<Method, string> = {
  turns: "search",
  gaussian: "search",
  tpe: "search",
  random: "random search",
};

/** Writes all of it; returns the paths, the report first. `results`: the search, and the random one where there is one. */
export async function writeSearch(
  folder: string,
  { settings, results }: { settings: SearchSettings; results: readonly SearchResult[] },
): Promise<string[]> {
  const [found, baseline] = results as [SearchResult, SearchResult?];
  const { objectives } = settings;
  const [gainLabel, costLabel] = [GAIN_LABEL[objectives.gain], COST_LABEL[objectives.cost]];
  const worst = worstCost(results);
  const front = scatterChart({
    title: `The front: ${gainLabel} against ${costLabel}`,
    description:
      "Less to the left, better to the top; the step line is what no other child of its search beats",
    x: { label: costLabel, min: 0 },
    y: { label: gainLabel, min: 0, max: 1 },
    series: results.map(({ method, trials, front: best }) => ({
      name: METHOD_LABEL[method],
      points: trials.flatMap(({ index, gain, cost, run }) =>
        gain === null || cost === null
          ? []
          : [
              {
                ...{ x: cost, y: gain, isOnFront: best.includes(index), href: linkTo(run, folder) },
                title: `${METHOD_LABEL[method]} ${index + 1}: ${gain.toFixed(3)} at ${cost.toFixed(1)}`,
              },
            ],
      ),
    })),
  });
  const growth = lineChart({
    title: "What the front dominates, child by child",
    description: `Share of the area between no cost and ${worst.toFixed(1)}`,
    x: { label: "children evaluated", min: 1 },
    y: { label: "dominated share", format: "percent" },
    series: results.map(({ method, trials }) => ({
      name: METHOD_LABEL[method],
      points: trials.map((_, i) => ({ x: i + 1, y: dominatedShare(trials.slice(0, i + 1), worst) })),
    })),
  });
  const recipes = await writeFront(folder, settings, found);
  const share = ({ trials }: SearchResult) => `${(100 * dominatedShare(trials, worst)).toFixed(1)} %`;
  const sections: ReportSection[] = [
    {
      heading: "Children that no other one beats",
      blocks: [
        { kind: "chart", svg: front },
        {
          kind: "table",
          caption: "The front, the cheapest first",
          columns: [
            { label: "child" },
            ...found.dimensions.map(({ name }) => ({ label: name, isNumber: true })),
            ...FIGURE_COLUMNS,
          ],
          rows: found.front.map((index, i) => {
            const trial = found.trials[index]!;
            const values = trial.point.map((value) => String(Number(value.toPrecision(4))));
            const recipe = { text: `front/${frontName(i)}`, href: `front/${frontName(i)}` };
            return [recipe, ...values, ...figureCells({ name: "", ...trial }, folder)];
          }),
        },
      ],
    },
    {
      heading: baseline ? "Against random search at equal budget" : "How the front grew",
      blocks: [
        { kind: "chart", svg: growth },
        {
          kind: "table",
          caption: `Dominated share of the area between no cost and ${worst.toFixed(1)}`,
          columns: [
            { label: "method" },
            { label: "children", isNumber: true },
            { label: "dominated", isNumber: true },
          ],
          rows: results.map((one) => [METHOD_LABEL[one.method], String(one.trials.length), share(one)]),
        },
        ...(baseline
          ? [
              {
                kind: "text" as const,
                text: "One run of each is an anecdote: over many seeds and landscapes the methods are compared in docs/SEARCH.md.",
              },
            ]
          : []),
      ],
    },
    {
      heading: "All figures",
      blocks: [
        ...results.map((result) => ({
          kind: "table" as const,
          caption: `${METHOD_LABEL[result.method]}: all children, in order`,
          columns: [
            { label: "" },
            ...result.dimensions.map(({ name }) => ({ label: name, isNumber: true })),
            ...FIGURE_COLUMNS,
          ],
          rows: result.trials.map((trial) => [
            String(trial.index + 1),
            ...trial.point.map((value) => String(Number(value.toPrecision(4)))),
            ...figureCells({ name: "", ...trial }, folder),
          ]),
        })),
        HOW_TO_CHECK,
      ],
    },
    {
      heading: "How it was made",
      blocks: [
        await provenance(results.flatMap(({ trials }) => trials.map((trial) => ({ name: "", ...trial })))),
        { kind: "details", summary: "The recipe", blocks: [{ kind: "code", text: settings.recipe.text }] },
      ],
    },
  ];
  const json = {
    ...{ format: "chimera-search", version: 1, recipe: settings.recipe.text, objectives },
    ...{ variables: settings.variables, budget: settings.budget, seed: settings.seed, worstCost: worst },
    results: results.map(({ trials, ...rest }) => ({
      ...rest,
      dominated: dominatedShare(trials, worst),
      trials: trials.map(({ run, ...trial }) => ({ ...trial, run: linkTo(run, folder) })),
    })),
  };
  const title = `Search for ${gainLabel} per ${objectives.cost}`;
  const lead = `${found.trials.length} children chosen one after the other, ${found.dimensions.length} numbers each.`;
  const files = await writeAll(folder, {
    "report.html": htmlReport({ title, lead, sections }),
    "search.json": `${JSON.stringify(json, null, 2)}\n`,
    "front.svg": front,
    "growth.svg": growth,
  });
  return [...files, ...recipes];
}

/** Costs above it are none that a front is measured against. */
export function worstCost(results: readonly SearchResult[]): number {
  return Math.max(0, ...results.flatMap(({ trials }) => trials.map(({ cost }) => cost ?? 0)));
}

function frontName(index: number): string {
  return `${String(index + 1).padStart(2, "0")}.yaml`;
}

/** Recipes to build, in a folder that holds those of this search alone. */
async function writeFront(
  folder: string,
  settings: SearchSettings,
  { trials, front }: SearchResult,
): Promise<string[]> {
  const store = openOutput(join(folder, "front"));
  for (const { name } of await store.list()) if (/^\d+\.yaml$/.test(name)) await store.remove(name);
  await store.prepare();
  const files: Record<string, string> = {};
  for (const [i, index] of front.entries()) {
    const { gain, cost, point } = trials[index]!;
    const { objectives } = settings;
    const comment = `Child ${index + 1} of a search (seed ${settings.seed}): ${GAIN_LABEL[objectives.gain]} ${gain!.toFixed(3)}, ${COST_LABEL[objectives.cost]} ${cost!.toFixed(1)}`;
    const path = join(folder, "front", frontName(i));
    files[frontName(i)] = recipeTextFor(recipeOfPoint(settings, point), path, {
      comment,
      locations: settings.locations,
    });
  }
  const paths = await writeAll(join(folder, "front"), files);
  await store.removeState(); // takes a folder away that is empty: files come first
  return paths;
}
