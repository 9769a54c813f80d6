/** chimera plan: what a recipe would do, from headers alone. */
import { type Command, InvalidArgumentError } from "commander";
import { formatBytes, formatCount, formatInteger } from "../base/format.ts";
import type { BuildPlan } from "../plan/plan.ts";

import { clean, note, paint, paintError, print, table } from "./terminal.ts";

export function addPlan(program: Command): void {
  program
    .command("plan")
    .description(
      "say what a recipe would do: bytes to read and write, disk, memory, every tensor accounted for",
    )
    .argument("<recipe>", "a recipe file (.yaml)")
    .option("-o, --output <file>", "write the plan, for chimera build and for other machines")
    .option(
      "--parent <name=folder>",
      "where a parent lies, instead of where the recipe says; repeatable",
      parseParent,
      {},
    )
    .option("--json", "the whole plan as JSON on stdout")
    .addHelpText(
      "after",
      `
Reads headers only, never tensor data; exits with 0 when the plan can be built.

Examples:
  $ chimera plan recipes/r1t.yaml
  $ chimera plan recipes/r1t.yaml -o plan.json && chimera build plan.json -o ./R1T
  $ chimera plan recipes/r1t.yaml --parent r1=/data/DeepSeek-R1 --json | jq .totals`,
    )
    .action(async (path: string, options: PlanCommandOptions) => {
      const { planRecipe } = await import("../plan/plan-recipe.ts");
      const plan = await planRecipe(path, { locations: options.parent });
      if (options.output) {
        const { writeFileAtomically } = await import("../checkpoint/node.ts");
        await writeFileAtomically(options.output, `${JSON.stringify(plan)}\n`);
      }
      if (options.json) process.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...plan })}\n`);
      else showPlan(plan);
      if (options.output) note(`plan written to ${options.output}`);
    });
}

interface PlanCommandOptions {
  output?: string;
  parent: Record<string, string>;
  json?: boolean;
}

/** "name=folder" pairs, collected. */
export function parseParent(text: string, previous: Record<string, string>): Record<string, string> {
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
  for (const warning of plan.warnings) note(`${paintError("yellow", "warning:")} ${clean(warning)}`);
}

/** Free space against need, for a folder that is to be built. */
export async function showDisk(plan: BuildPlan, location: string): Promise<void> {
  const { openOutput } = await import("../checkpoint/stores.ts");
  const free = await openOutput(location).freeBytes();
  const fits = free === undefined ? "unknown" : free >= plan.totals.writeBytes ? "fits" : "does not fit";
  print(
    `disk       ${formatBytes(plan.totals.writeBytes)} needed, ${free === undefined ? "?" : formatBytes(free)} free: ${fits}`,
  );
}
