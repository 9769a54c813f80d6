/** chimera search: a budget of children, chosen one after the other, and the front of those that no other beats. */
import { type Command, Option } from "commander";
import { COSTS, type Cost, GAINS, type Gain, type Objectives } from "../study/objectives.ts";
import type { SearchResult } from "../study/search.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { parseCount } from "./model.ts";
import {
  addStudyOptions,
  figuresHead,
  figuresLine,
  openStudy,
  requireComplete,
  type StudyCommandOptions,
  withFile,
} from "./study.ts";
import { clean, paint, paintError, print, printJson, table } from "./terminal.ts";

interface SearchCommandOptions extends StudyCommandOptions {
  objective: Gain;
  per: Cost;
  budget?: number;
  baseline: boolean;
}

const DEFAULT_BUDGET = 40;

export function addSearch(program: Command): void {
  const command = program
    .command("search")
    .description("search λ and δ, role by role or layer by layer, for children that no other child beats")
    .argument("<space>", "the file that says what may vary")
    .addOption(
      new Option("--objective <what>", "what is to be large; openness: answers that are no refusals")
        .choices(GAINS)
        .default("accuracy"),
    )
    .addOption(new Option("--per <cost>", "what is to be small").choices(COSTS).default("token"))
    .option(
      "--budget <n>",
      `children that are evaluated (default: the file's, else ${DEFAULT_BUDGET})`,
      parseCount,
    )
    .option("--no-baseline", "leave out the random search at equal budget that the report compares with");
  addStudyOptions(command)
    .addHelpText(
      "after",
      `
A space:
  recipe: recipes/mini/r1t.yaml
  variables:
    - { tensors: routed-experts, parent: r1, lambda: [0, 1] }
    - { tensors: attention, parent: r1, lambda: [0, 1], per: layer }
    - { tensors: router, parent: r1, lambda: [0, 1], threshold: [0, 0.004] }
  budget: 40
  n: 200

The folder gets a run for each child, search.json, the front as recipes
(front/01.yaml …, to build), plots and report.html. The same seed searches the
same way; a search that was stopped goes on with the same command.

Examples:
  $ chimera search studies/mini/search.yaml --objective accuracy --per token
  $ chimera search studies/mini/search.yaml --budget 80 --seed 2 --no-baseline`,
    )
    .action(run);
}

async function run(path: string, given: SearchCommandOptions, command: Command): Promise<void> {
  const { readSpaceFile } = await import("../study/space-file.ts");
  const { namesRecipe } = await import("../study/study-file.ts");
  if (await namesRecipe(path)) {
    const note = "A search space names a recipe and says what varies: chimera search --help";
    throw new UsageError(`Cannot search "${path}": it is a recipe, wanted a search space`, note);
  }
  const file = await readSpaceFile(path);
  const options = withFile(given, file.questions, (option) => command.getOptionValueSource(option) === "cli");
  const budget = options.budget ?? file.budget ?? DEFAULT_BUDGET;
  if (budget < 3)
    throw new UsageError(`Cannot search with a budget of ${budget}: the two ends take two, wanted 3 or more`);
  await interruptible(async (signal) => {
    const study = await openStudy("search", file.recipe, { options, signal });
    const { dimensionsOf, search, spreadOverLayers } = await import("../study/search.ts");
    const { recipe, pool, folder, numQuestions, seed, locations } = study;
    const variables = await spreadOverLayers(recipe, file.variables, locations);
    const objectives: Objectives = { gain: options.objective, cost: options.per };
    const settings = { recipe, variables, objectives, budget, seed, ...(locations ? { locations } : {}) };
    if (options.dryRun) {
      const dimensions = dimensionsOf(variables);
      if (options.json) printJson({ folder, numQuestions, budget, dimensions });
      else {
        for (const dimension of dimensions)
          if (dimension.kind === "range")
            print(`${clean(dimension.name)}  ${dimension.low} to ${dimension.high}`);
        print(paint("dim", `${budget} children × ${numQuestions} questions, into ${folder}`));
      }
      return;
    }
    study.say(figuresHead());
    const methods = options.baseline ? (["turns", "random"] as const) : (["turns"] as const);
    const { METHOD_LABEL, writeSearch } = await import("../study/search-report.ts");
    const results: SearchResult[] = [];
    for (const method of methods) {
      if (methods.length > 1) study.say(paintError("dim", METHOD_LABEL[method]));
      results.push(
        await search(settings, pool, {
          method,
          onEvent: ({ trial, isFound, isOnFront, method: by }) => {
            const mark = isOnFront ? " ◆" : "";
            study.say(figuresLine(`${METHOD_LABEL[by]} ${trial.index + 1}${mark}`, trial.summary, isFound));
          },
        }).finally(study.endProgress),
      );
    }
    const files = await writeSearch(folder, { settings, results });
    if (options.json) printJson({ folder, results });
    else await show(results, objectives, files);
    requireComplete(results.flatMap(({ trials }) => trials.map(({ summary }) => summary)));
  });
}

async function show(
  results: readonly SearchResult[],
  objectives: Objectives,
  files: readonly string[],
): Promise<void> {
  const { COST_LABEL, dominatedShare, GAIN_LABEL } = await import("../study/objectives.ts");
  const { METHOD_LABEL, worstCost } = await import("../study/search-report.ts");
  const [{ dimensions, trials, front }] = results as [SearchResult];
  print();
  print(paint("bold", "Children that no other one beats"));
  const labels = [GAIN_LABEL[objectives.gain], COST_LABEL[objectives.cost]];
  const header = ["", ...labels, ...dimensions.map(({ name }) => clean(name))].map((text) =>
    paint("dim", text),
  );
  const rows = front.map((index) => {
    const { gain, cost, point } = trials[index]!;
    return [
      `${index + 1}`,
      gain!.toFixed(3),
      cost!.toFixed(1),
      ...point.map((value) => String(Number(value.toPrecision(4)))),
    ];
  });
  print(table([header, ...rows], { right: header.map((_, i) => i) }));
  print();
  const worst = worstCost(results);
  for (const { method, trials: all } of results) {
    const share = (100 * dominatedShare(all, worst)).toFixed(1);
    print(
      `${METHOD_LABEL[method].padEnd(14)} dominates ${share} % of what there is between no cost and ${worst.toFixed(1)}`,
    );
  }
  print();
  for (const file of files) print(paint("dim", file));
}
