/** chimera plan: what a recipe would do, from headers alone. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { formatBytes, formatCount, formatInteger } from "../base/format.ts";
import { publicLocation, publicText } from "../checkpoint/shown.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { requirePlace, UsageError } from "./exit.ts";
import { clean, note, paint, paintError, print, table } from "./terminal.ts";

export function addPlan(program: Command): void {
  program
    .command("plan")
    .description(
      "say what a recipe would do: bytes to read and write, disk, memory, every tensor accounted for",
    )
    .argument("<recipe>", "a recipe (.yaml), or a plan (.json) to look at again")
    .option("-o, --output <file>", "write the plan, for chimera build and for other machines")
    .addOption(parentOption("where a parent lies, instead of where the recipe says; repeatable"))
    .option("--json", "the whole plan as JSON on stdout, with the free disk")
    .addHelpText(
      "after",
      `
Reads headers only, never tensor data; exits with 0 when the plan can be built.
The free disk is that of the current folder: chimera build --dry-run looks where
the child would go.

Examples:
  $ chimera plan recipes/r1t.yaml
  $ chimera plan recipes/r1t.yaml -o plan.json
  $ chimera build plan.json -o ./R1T
  $ chimera plan recipes/r1t.yaml --parent r1=/data/DeepSeek-R1 --json | jq .totals`,
    )
    .action(runPlan);
}

async function runPlan(path: string, options: PlanCommandOptions): Promise<void> {
  if (options.output) requirePlace(options.output, await import("../checkpoint/node.ts"));
  const plan = await planOf(path, options.parent);
  if (options.output) {
    const { writeFileAtomically } = await import("../checkpoint/node.ts");
    await writeFileAtomically(options.output, `${JSON.stringify(plan)}\n`);
  }
  if (options.json) {
    const { openOutput } = await import("../checkpoint/stores.ts");
    const store = openOutput(".");
    const freeBytes = (await store.freeBytes()) ?? null;
    const disk = { location: store.location, neededBytes: plan.totals.writeBytes, freeBytes };
    const { networkReads } = await import("../transfer/network.ts");
    const network = await networkReads(plan);
    // People paste it. What is built from is the file that --output writes.
    const parents = plan.parents.map((parent) => ({ ...parent, location: publicLocation(parent.location) }));
    process.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...plan, parents, disk, network })}\n`);
  } else {
    showPlan(plan);
    await showNetwork(plan);
    await showDisk(plan, ".");
  }
  showWarnings(plan);
  if (options.output) note(`plan written to ${options.output}`);
}

/** From a recipe, or from a plan file, which is taken as it is: its content says which it is. */
export async function planOf(path: string, parents: Record<string, string> | undefined): Promise<BuildPlan> {
  const { isPlanFile, loadPlan } = await import("../plan/load-recipe.ts");
  if (await isPlanFile(path)) {
    if (!parents) return loadPlan(path);
    throw new UsageError(
      "Cannot use --parent with a plan, wanted a recipe",
      "A plan has its parents in it: plan again with --parent",
    );
  }
  const { planRecipe } = await import("../plan/plan-recipe.ts");
  return planRecipe(path, { locations: parents ?? {} });
}

interface PlanCommandOptions {
  output?: string;
  parent?: Record<string, string>;
  json?: boolean;
}

/** --parent, repeatable. Without a default, which help would show as "{}". */
export function parentOption(description: string): Option {
  return new Option("--parent <name=folder>", description).argParser(parseParent);
}

/** "name=folder" pairs, collected. */
export function parseParent(text: string, previous?: Record<string, string>): Record<string, string> {
  const equals = text.indexOf("=");
  if (equals < 1 || equals === text.length - 1)
    throw new InvalidArgumentError(`"${text}" is not name=folder`);
  return { ...previous, [text.slice(0, equals)]: text.slice(equals + 1) };
}

/** The plan in a screenful. */
export function showPlan(plan: BuildPlan): void {
  const { totals, parents } = plan;
  print(`${paint("bold", "Plan")} ${plan.digest.slice(0, 12)}  ${plan.recipeFile ?? ""}`);
  print();
  const rows = [["parent", "copied", "merged", "left out", "bytes to read"]];
  for (const [index, { parent, copied, merged, leftOut }] of plan.accounts.entries()) {
    const left = leftOut.reduce((sum, { tensors }) => sum + tensors.length, 0);
    const name = index === plan.base ? `${parent} (base)` : parent;
    rows.push([name, ...[copied, merged, left].map(formatInteger), formatBytes(totals.readBytes[index]!)]);
  }
  print(table(rows, { right: [1, 2, 3, 4] }));
  print();
  for (const { parent, leftOut } of plan.accounts) {
    for (const { reason, tensors } of leftOut) {
      print(paint("dim", `  ${formatInteger(tensors.length)} of ${parent} left out: ${reason}`));
    }
  }
  print();
  const { copied, merged, all } = totals.tensors;
  print(
    `child      ${formatInteger(all)} tensors (${formatInteger(copied)} copied, ${formatInteger(merged)} computed), ${formatCount(totals.elements)} elements, ${plan.shards.length} shards`,
  );
  print(`write      ${formatBytes(totals.writeBytes)} (${formatInteger(totals.writeBytes)} bytes)`);
  print(
    `memory     ${formatBytes(totals.workerBytes)} of buffers per worker, whatever the size of the checkpoint`,
  );
  const named = (index: number) => parents[index]!.name;
  print(
    `files      config from ${named(plan.files.config)}, tokenizer from ${named(plan.files.tokenizer)}, chat template from ${named(plan.files.chatTemplate)}`,
  );
}

/** To stderr: once for each run, before a build or after what was asked for. */
export function showWarnings({ warnings }: { warnings: readonly string[] }): void {
  for (const warning of warnings) note(`${paintError("yellow", "warning:")} ${clean(publicText(warning))}`);
}

/** What parents that lie elsewhere will be asked for; nothing where all are here. */
export async function showNetwork(plan: BuildPlan): Promise<void> {
  const { networkReads } = await import("../transfer/network.ts");
  for (const { parent, location, bytes, requests } of await networkReads(plan))
    print(
      `network    ${formatBytes(bytes)} of ${parent} in ${formatInteger(requests)} requests, from ${clean(location)}`,
    );
}

/** Free space against need, for the folder of a child. */
export async function showDisk(plan: BuildPlan, location: string): Promise<void> {
  const { openOutput } = await import("../checkpoint/stores.ts");
  const free = await openOutput(location).freeBytes();
  const where = location === "." ? "in the current folder" : `for ${location}`;
  const fits = free === undefined ? "" : free >= plan.totals.writeBytes ? ": fits" : ": does not fit";
  print(
    `disk       ${formatBytes(plan.totals.writeBytes)} needed, ${free === undefined ? "unknown" : formatBytes(free)} free ${where}${fits}`,
  );
}
