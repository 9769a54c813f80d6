/** chimera sweep: children along λ, none of them written, asked the same questions; the curve, and a report. */
import { type Command, InvalidArgumentError } from "commander";
import type { SelectableRole } from "../recipe/recipe.ts";
import type { CurveFindings } from "../study/findings.ts";
import { accuracyInWords, functionalInWords, thinkingInWords } from "../study/findings-in-words.ts";
import type { PoolRun } from "../study/run-pool.ts";
import type { LambdaAxis, SweepSettings } from "../study/sweep.ts";
import type { SweepFile } from "../study/sweep-file.ts";
import { parsePart, parseSeconds } from "./build.ts";
import { refuseWaiting } from "./eval.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import {
  addStudyOptions,
  figuresHead,
  figuresLine,
  openStudy,
  requireComplete,
  type StudyCommandOptions,
  withFile,
} from "./study.ts";
import { clean, paint, print, printJson } from "./terminal.ts";

interface SweepCommandOptions extends StudyCommandOptions {
  lambda?: string[];
  threshold?: string;
  roles?: string[];
  part?: { index: number; count: number };
}

export function addSweep(program: Command): void {
  const command = program
    .command("sweep")
    .description("evaluate children along λ without writing any: accuracy, tokens, thinking, refusals")
    .argument("<sweep>", "a sweep's file, or a recipe and --lambda")
    .option("--lambda <parent=values>", "what varies: r1=0:1:0.1 or r1=0,0.5,1; repeatable", gather)
    .option("--threshold <values>", "δ of the rules that λ is in; a curve for each")
    .option(
      "--roles <roles>",
      "instead of the recipe's rules: attention+router; repeatable, a curve for each",
      gather,
    )
    .option(
      "--part <i/n>",
      "ask only every n-th child or parent, from the i-th on, and report nothing",
      parsePart,
    )
    .option(
      "--wait <seconds>",
      "ask nobody: report when the parts have run everything, at most so long from now",
      parseSeconds,
    );
  addStudyOptions(command)
    .addHelpText(
      "after",
      `
The folder (default runs/sweep-RECIPE) gets a run for each child, points.csv,
sweep.json, the plots as SVG and report.html, which needs no network. The same
command goes on where it was stopped. Parts may run on many machines that share
the folder; the command without --part then finds their runs and reports, with
--wait as soon as they are complete (chimera launch does both).

Examples:
  $ chimera sweep recipes/mini/r1t.yaml --lambda r1=0:1:0.1 --n 200
  $ chimera sweep recipes/mini/r1t.yaml --lambda r1=0:1:0.1 --roles routed-experts --roles all
  $ chimera sweep my-sweep.yaml -o runs/my-sweep
  $ seq 0 12 | xargs -P2 -I{} chimera sweep my-sweep.yaml -o runs/my-sweep --part {}/13
  $ chimera sweep my-sweep.yaml -o runs/my-sweep --wait 86400    # from anywhere, meanwhile`,
    )
    .action(run);
}

function gather(text: string, all: string[] = []): string[] {
  if (text.trim() === "") throw new InvalidArgumentError("wanted a value");
  return [...all, text];
}

async function run(path: string, given: SweepCommandOptions, command: Command): Promise<void> {
  refuseWaiting(given);
  const { namesRecipe } = await import("../study/study-file.ts");
  const { readSweepFile } = await import("../study/sweep-file.ts");
  const file = (await namesRecipe(path)) ? undefined : await readSweepFile(path);
  const isGiven = (option: string) => command.getOptionValueSource(option) === "cli";
  const options = withFile(given, file?.questions, isGiven);
  const axes = await axesOf(options, file);
  await interruptible(async (signal) => {
    const study = await openStudy("sweep", file?.recipe ?? path, { options, signal });
    const { pointsOf, runsOf, sweep, sweepPart } = await import("../study/sweep.ts");
    const { recipe, pool, folder, numQuestions, locations } = study;
    const settings: SweepSettings = { recipe, ...axes, ...(locations ? { locations } : {}) };
    const points = pointsOf(settings);
    if (options.dryRun) {
      const runs = (await runsOf(settings)).map(({ name }) => name);
      const wanted = points.map(({ name }) => name);
      if (options.json) printJson({ folder, numQuestions, points: wanted, runs });
      else {
        for (const name of wanted) print(clean(name));
        print(
          paint(
            "dim",
            `${wanted.length} children and their parents × ${numQuestions} questions, into ${folder}`,
          ),
        );
      }
      return;
    }
    study.say(figuresHead());
    const { part } = options;
    const { removeParts, writeParts } = await import("../eval/parts-record.ts");
    if (part) {
      await writeParts(folder, { kind: "sweep", runs: (await runsOf(settings)).map(({ name }) => name) });
      const say = (name: string, { run, isFound }: PoolRun) =>
        study.say(figuresLine(name, run.summary!, isFound));
      const found = await sweepPart(settings, pool, { part, onRun: say }).finally(study.endProgress);
      const done = found.map(({ run }) => ({ run: run.folder, summary: run.summary! }));
      if (options.json) printJson({ folder, part, runs: done });
      else print(`part ${part.index} of ${part.count}: ${done.length} runs, in ${clean(folder)}`);
      requireComplete(done.map(({ summary }) => summary));
      return;
    }
    const result = await sweep(settings, pool, {
      onEvent: (event) => {
        const one = event.kind === "parent" ? event.parent : event.point;
        study.say(figuresLine(one.name, one.summary, event.isFound));
      },
    }).finally(study.endProgress);
    const { curveFindings } = await import("../study/findings.ts");
    const { writeSweep } = await import("../study/sweep-report.ts");
    const findings = curveFindings(result.points);
    const files = await writeSweep(folder, { settings, result, findings });
    if (options.json) printJson({ folder, ...result, findings });
    else show(findings, files);
    requireComplete([...result.points, ...result.parents].map(({ summary }) => summary));
    await removeParts(folder);
  });
}

/** The command line over the file. */
async function axesOf(
  { lambda, threshold, roles }: SweepCommandOptions,
  file: SweepFile | undefined,
): Promise<Pick<SweepSettings, "lambda" | "thresholds" | "roles">> {
  const { parseValues } = await import("../study/axis.ts");
  const values = (text: string) => {
    try {
      return parseValues(text);
    } catch (error) {
      if (error instanceof RangeError) throw new UsageError(error.message);
      throw error;
    }
  };
  const axis = (text: string): LambdaAxis => {
    const at = text.indexOf("=");
    if (at < 1) throw new UsageError(`Cannot use --lambda ${text}, wanted PARENT=VALUES as r1=0:1:0.1`);
    return { parent: text.slice(0, at), values: values(text.slice(at + 1)) };
  };
  return {
    lambda: lambda?.map(axis) ?? file?.lambda ?? [],
    thresholds: threshold === undefined ? (file?.thresholds ?? []) : values(threshold),
    roles: roles ? await rolesOf(roles) : (file?.roles ?? []),
  };
}

async function rolesOf(texts: readonly string[]): Promise<SelectableRole[][]> {
  const { SELECTABLE_ROLES } = await import("../recipe/vocabulary.ts");
  return texts.map((text) =>
    text.split(/[+,]/).map((word) => {
      const role = SELECTABLE_ROLES.find((each) => each === word.trim());
      if (role !== undefined) return role;
      throw new UsageError(`Cannot use the role "${word}", wanted one of ${SELECTABLE_ROLES.join(", ")}`);
    }),
  );
}

function show(findings: readonly CurveFindings[], files: readonly string[]): void {
  for (const { curve, accuracy, thinking, functional } of findings) {
    print();
    print(paint("bold", clean(curve)));
    print(`  accuracy    ${accuracyInWords(accuracy)}`);
    print(`  thinking    ${thinkingInWords(thinking)}`);
    print(`  functional  ${functionalInWords(functional)}`);
  }
  print();
  for (const file of files) print(paint("dim", file));
}
