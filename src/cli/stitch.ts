/** chimera build RECIPE -o CHILD.gguf: a child of GGUF parents, by copying blocks. */
import { formatBytes, formatInteger } from "../base/format.ts";
import type { StitchReport } from "../convert/stitch.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { BuildCommandOptions } from "./build.ts";
import { requirePlace, UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { planOf, showWarnings } from "./plan.ts";
import { createProgress } from "./progress.ts";
import { clean, note, paint, paintError, print, printJson, quoted, table } from "./terminal.ts";

export async function runStitch(path: string | undefined, options: BuildCommandOptions): Promise<void> {
  const { output, dryRun, force, part, finish } = options;
  if (part || finish) {
    throw new UsageError(
      `Cannot use ${part ? "--part" : "--finish"} with "${output}": a GGUF is written in one go`,
    );
  }
  if (!path) throw new UsageError("Cannot build without a recipe", "chimera build RECIPE -o CHILD.gguf");
  requirePlace(output, await import("../checkpoint/node.ts"));
  const plan = await planOf(path, options.parent);
  const { ggufParents, stitchGguf } = await import("../convert/stitch.ts");
  requireGguf(plan, ggufParents(plan), { path, output });
  showWarnings(plan);
  const progress = createProgress(options.progress, "build");
  const report = await interruptible((signal) =>
    stitchGguf(plan, output, {
      signal,
      onProgress: ({ bytesDone, bytesTotal }) => {
        progress.event({ kind: "progress", bytesDone, bytesTotal });
        progress.update({ done: bytesDone, total: bytesTotal });
      },
      ...(dryRun ? { dryRun } : {}),
      ...(force ? { force } : {}),
    }).finally(() => progress.end()),
  );
  if (options.json) return printJson({ ...report, dryRun: dryRun ?? false });
  showReport(plan, report);
  if (dryRun) print("Dry run: nothing was written.");
  else print(`${paint("green", "built")}  ${clean(output)}`);
}

function requireGguf(
  { parents }: BuildPlan,
  which: "all" | "none" | "some",
  { path, output }: { path: string; output: string },
): void {
  if (which === "all") return;
  if (which === "none") {
    throw new UsageError(
      `Cannot build "${output}": the parents are no GGUF files`,
      `chimera convert ${quoted(path)} -o ${quoted(output)} writes their child as one`,
    );
  }
  const other = parents.find(({ location }) => !/\.gguf$/i.test(location))!;
  throw new UsageError(
    `Cannot build "${output}": parent "${other.name}" is no GGUF file, wanted all or none`,
  );
}

function showReport({ base }: BuildPlan, { tensors, bytes, parents, otherTypes }: StitchReport): void {
  const rows = parents.map(({ name, tensors: count, bytes: size }, i) => [
    i === base ? `${name} (base)` : name,
    formatInteger(count),
    formatBytes(size),
  ]);
  print(table([["parent", "tensors", "bytes"], ...rows], { right: [1, 2] }));
  print(`${formatInteger(tensors)} tensors, ${formatBytes(bytes)}, every block as its parent has it`);
  if (otherTypes.length === 0) return;
  const words = `${formatInteger(otherTypes.length)} tensors are stored in another type than the base's, as "${clean(otherTypes[0]!)}"`;
  note(`${paintError("cyan", "note:")} ${words}`);
}
