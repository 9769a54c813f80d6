/**
 * chimera demo: the main job on the small parents that ship with the project. Assembles the R1T recipe,
 * verifies the child and says what was made, from what, and what to try next.
 */
import type { Command } from "commander";
import { formatBytes, formatDuration, formatInteger } from "../base/format.ts";
import type { PlanTensor } from "../plan/plan.ts";
import { ExitStatus } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { createProgress } from "./progress.ts";
import { note, paint, paintError, print, table } from "./terminal.ts";

export function addDemo(program: Command): void {
  program
    .command("demo")
    .description("assemble and verify a child of the small parents that ship with chimera")
    .option("-o, --output <folder>", "where the child goes", "out/demo-r1t")
    .addHelpText("after", "\nExample:\n  $ chimera demo")
    .action(async ({ output }: { output: string }) => runDemo(output));
}

async function runDemo(output: string): Promise<void> {
  const { packageFile } = await import("../checkpoint/node.ts");
  const { planRecipe } = await import("../plan/plan-recipe.ts");
  const { build } = await import("../build/build.ts");
  const { verify } = await import("../build/verify.ts");
  const recipeFile = packageFile("recipes/mini/r1t.yaml");
  print(paint("bold", "Chimera: a child of two language models, without training"));
  print();
  print("Parents  mini-v3 answers at once; mini-r1 thinks first, inside <think> … </think>.");
  print(
    "         Both: DeepSeek-V3 architecture, 4 layers + 1 MTP layer, 16 experts, FP8 with block scales.",
  );
  print("Recipe   the routed experts of mini-r1, everything else of mini-v3 (as DeepSeek-R1T was made)");
  print();

  const plan = await planRecipe(recipeFile);
  const progress = createProgress("auto", "build");
  const report = await interruptible((signal) =>
    build(plan, output, {
      signal,
      force: true,
      onEvent: (event) => {
        if (event.kind === "progress") progress.update({ done: event.bytesDone, total: event.bytesTotal });
        if (event.kind === "shard-written") {
          progress.end();
          note(
            paintError(
              "dim",
              `  ${event.shard}  ${formatBytes(event.byteLength)}  sha256 ${event.sha256.slice(0, 16)}…`,
            ),
          );
        }
      },
    }).finally(() => progress.end()),
  );
  showOrigins(
    plan.shards.flatMap(({ tensors }) => tensors),
    plan.parents.map(({ name }) => name),
  );
  const proof = await verify(output, { all: true });
  for (const { message } of proof.findings) note(`${paintError("red", "mismatch:")} ${message}`);
  if (!proof.ok) throw new ExitStatus(4);
  const { copied, files, bytes } = proof.checked;
  print();
  print(
    `${paint("green", "built")}     ${output}  ${formatBytes(report.writtenBytes)} in ${formatDuration(report.seconds)}`,
  );
  print(
    `${paint("green", "verified")}  ${formatInteger(copied)} tensors equal to their parent's byte for byte, ${files} other files, ${formatBytes(bytes)} hashed`,
  );
  print();
  print("Try next");
  const next = [
    [`chimera inspect ${output}`, "what is in the child"],
    ["chimera compare models/mini-v3 models/mini-r1", "what its parents differ in"],
    ["chimera plan recipes/mini/r1t-half.yaml", "a blend: half of each parent's experts"],
    ["chimera build recipes/mini/r1t-half.yaml -o out/half", "… and make it"],
    ["chimera recipe explain recipes/mini/r1t.yaml lm_head.weight", "why a tensor is what it is"],
    ["chimera plan recipes/r1t.yaml --parent v3=… r1=…", "the same with the real parents"],
  ];
  print(table(next.map(([command, what]) => [`  npx ${command}`, paint("dim", what!)])));
}

/** Where the child's bytes come from, as a picture. */
function showOrigins(tensors: readonly PlanTensor[], parents: readonly string[]): void {
  const bytes = new Map<string, { bytes: number; tensors: number }>();
  for (const { action, byteLength } of tensors) {
    const origin = action.kind === "copy" ? `from ${parents[action.parent]}` : "computed";
    const entry = bytes.get(origin) ?? { bytes: 0, tensors: 0 };
    entry.bytes += byteLength;
    entry.tensors += 1;
    bytes.set(origin, entry);
  }
  const total = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  print();
  const rows = [...bytes].map(([origin, entry]) => {
    const share = entry.bytes / total;
    const bar = paint("cyan", "█".repeat(Math.max(1, Math.round(share * 40))));
    return [
      `  ${origin}`,
      `${formatInteger(entry.tensors)} tensors`,
      formatBytes(entry.bytes),
      `${(share * 100).toFixed(0)} %`,
      bar,
    ];
  });
  print(table(rows, { right: [1, 2, 3] }));
}
