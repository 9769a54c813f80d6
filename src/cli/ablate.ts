/** chimera ablate: which parts of a child carry what it does. */
import { type Command, Option } from "commander";
import type { Metric, MetricComparison } from "../eval/compare-runs.ts";
import type { AblateResult, Ablation } from "../study/ablate.ts";
import type { Grouping } from "../study/groups.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import {
  addStudyOptions,
  figuresHead,
  figuresLine,
  openStudy,
  requireComplete,
  type StudyCommandOptions,
} from "./study.ts";
import { clean, paint, print, printJson, table } from "./terminal.ts";

type By = Grouping | "all";
type RankBy = "accuracy" | "tokens" | "thinking" | "refusals";

interface AblateCommandOptions extends StudyCommandOptions {
  by: By;
  between?: string;
  rank: RankBy;
}

const METRIC_OF: Record<RankBy, Metric> = {
  accuracy: "accuracy",
  tokens: "tokens",
  thinking: "opens thinking",
  refusals: "refused",
};

export function addAblate(program: Command): void {
  const command = program
    .command("ablate")
    .description("swap one group of tensors at a time between parents, and rank groups by what that changes")
    .argument("<recipe>", "the child that is taken apart")
    .addOption(
      new Option("--by <groups>", "roles, layers, cells (a role within a layer), or all of them")
        .choices(["role", "layer", "cell", "all"])
        .default("role"),
    )
    .option("--between <a,b>", "the two parents (default: the base and the first other one)")
    .addOption(
      new Option("--rank <by>", "what the table is ranked by")
        .choices(Object.keys(METRIC_OF))
        .default("accuracy"),
    );
  addStudyOptions(command)
    .addHelpText(
      "after",
      `
What is one parent's in the child is taken from the other, and what is a sum
from each in turn. Differences are tested on the same questions (McNemar,
bootstrap over pairs) and corrected for their number (Holm).

Examples:
  $ chimera ablate recipes/mini/r1t.yaml --n 200
  $ chimera ablate recipes/mini/r1t.yaml --by all --rank refusals
  $ chimera ablate recipes/mini/three-parents.yaml --between v3,r1-1776`,
    )
    .action(run);
}

async function run(path: string, options: AblateCommandOptions): Promise<void> {
  await interruptible(async (signal) => {
    const study = await openStudy("ablate", path, { options, signal });
    const { GROUPINGS } = await import("../study/groups.ts");
    const { ablate, swapsOf } = await import("../study/ablate.ts");
    const { nameOf } = await import("../library/eval-target.ts");
    const { recipe, pool, folder, numQuestions, locations } = study;
    const between = betweenOf(options.between);
    const settings = {
      recipe,
      groupings: options.by === "all" ? GROUPINGS : [options.by],
      ...(between ? { between } : {}),
      ...(locations ? { locations } : {}),
    };
    if (options.dryRun) {
      const names = (await swapsOf(settings)).swaps.map(({ name }) => name);
      if (options.json) printJson({ folder, numQuestions, swaps: names });
      else {
        for (const name of names) print(clean(name));
        print(
          paint(
            "dim",
            `the child, its parents and ${names.length} swaps × ${numQuestions} questions, into ${folder}`,
          ),
        );
      }
      return;
    }
    study.say(figuresHead());
    const result = await ablate(settings, pool, {
      childName: nameOf(path),
      onEvent: (event) => {
        const name = event.kind === "swap" ? event.swap.name : event.name;
        study.say(figuresLine(name, event.summary, event.isFound));
      },
    }).finally(study.endProgress);
    const { writeAblation } = await import("../study/ablate-report.ts");
    const files = await writeAblation(folder, { recipe, result });
    if (options.json) printJson({ folder, ...result });
    else await show(result, METRIC_OF[options.rank], files);
    requireComplete([result.child, ...result.parents, ...result.ablations].map(({ summary }) => summary));
  });
}

function betweenOf(text: string | undefined): [string, string] | undefined {
  if (text === undefined) return undefined;
  const [a, b, ...more] = text.split(",").map((name) => name.trim());
  if (a && b && more.length === 0) return [a, b];
  throw new UsageError(`Cannot swap between "${text}", wanted two parents as v3,r1`);
}

async function show(
  { child, ablations }: AblateResult,
  metric: Metric,
  files: readonly string[],
): Promise<void> {
  const { rankedBy } = await import("../study/ablate.ts");
  print();
  const header = ["", "tensors", "accuracy", "tokens", "thinking", "refused"].map((text) =>
    paint("dim", text),
  );
  const rows = rankedBy(ablations, metric).map((ablation) => [
    clean(ablation.name),
    String(ablation.group.numTensors),
    effect(ablation, "accuracy", (value) => value.toFixed(3)),
    effect(ablation, "tokens", (value) => value.toFixed(1)),
    effect(ablation, "opens thinking", (value) => `${Math.round(100 * value)} %`),
    effect(ablation, "refused", (value) => `${Math.round(100 * value)} %`),
  ]);
  print(table([header, ...rows], { right: [1, 2, 3, 4, 5] }));
  print();
  print(paint("dim", `differences from ${clean(child.name)}; * is real (p < 0.05 after Holm's correction)`));
  for (const file of files) print(paint("dim", file));
}

function effect(ablation: Ablation, metric: Metric, write: (value: number) => string): string {
  const found = ablation.effects.find((each: MetricComparison) => each.metric === metric);
  if (!found) return "–";
  const text = `${found.difference < 0 ? "−" : "+"}${write(Math.abs(found.difference))}`;
  return found.isReal ? `${text} *` : paint("dim", `${text}  `);
}
