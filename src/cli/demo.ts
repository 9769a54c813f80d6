/**
 * chimera demo: the main job on the small parents that ship with the project. Assembles the R1T recipe,
 * verifies the child, asks parents and child the same dozen questions and says what was made, from what, and what to
 * try next.
 */
import { dirname, join, relative } from "node:path";
import type { Command } from "commander";
import { formatBytes, formatDuration, formatInteger } from "../base/format.ts";
import type { PlanTensor } from "../plan/plan.ts";
import { askFamily, showFamily } from "./demo-questions.ts";
import { ExitStatus } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { createProgress } from "./progress.ts";
import { clean, note, paint, paintError, print, printJson, quoted, table } from "./terminal.ts";

export function addDemo(program: Command): void {
  program
    .command("demo")
    .description("assemble and verify a child of the small parents that ship with chimera, and ask all three")
    .option("-o, --output <folder>", "where the child goes", "out/demo-r1t")
    .option("--json", "the reports of build and verify, and the answers, as JSON on stdout")
    .addHelpText(
      "after",
      `
A child of an earlier demo in the folder is replaced; a folder that holds
anything else is refused.

Examples:
  $ chimera demo
  $ chimera demo -o /tmp/r1t --json`,
    )
    .action(runDemo);
}

async function runDemo({ output, json }: { output: string; json?: boolean }): Promise<void> {
  const { packageFile } = await import("../checkpoint/node.ts");
  const { planRecipe } = await import("../plan/plan-recipe.ts");
  const { build } = await import("../build/build.ts");
  const { verify } = await import("../build/verify.ts");
  const recipeFile = packageFile("recipes/mini/r1t.yaml");
  if (!json) introduce();
  const plan = await planRecipe(recipeFile);
  const progress = createProgress("auto", "build");
  const report = await interruptible((signal) =>
    build(plan, output, {
      signal,
      force: true,
      onEvent: (event) => {
        if (event.kind === "progress") progress.update({ done: event.bytesDone, total: event.bytesTotal });
        if (event.kind === "shard-written") {
          const { shard, byteLength, sha256 } = event;
          const line = `  ${shard}  ${formatBytes(byteLength)}  sha256 ${sha256.slice(0, 16)}…`;
          progress.line(paintError("dim", line));
        }
      },
    }).finally(() => progress.end()),
  );
  const proof = await interruptible((signal) => verify(output, { all: true, signal }));
  for (const { message } of proof.findings) note(`${paintError("red", "mismatch:")} ${clean(message)}`);
  if (!proof.ok) {
    if (json) printJson({ build: report, verify: proof });
    throw new ExitStatus(4);
  }
  if (json) {
    const runs = await interruptible((signal) => askFamily(output, signal));
    printJson({ build: report, verify: proof, answers: runs });
    return;
  }
  showOrigins(
    plan.shards.flatMap(({ tensors }) => tensors),
    plan.parents.map(({ name }) => name),
  );
  const { copied, files, bytes } = proof.checked;
  print();
  print(
    `${paint("green", "built")}     ${output}: ${formatBytes(report.writtenBytes)} in ${formatDuration(report.seconds)}`,
  );
  print(
    `${paint("green", "verified")}  ${formatInteger(copied)} tensors equal their parent's, ${files} other files, ${formatBytes(bytes)} hashed`,
  );
  print();
  showFamily(await interruptible((signal) => askFamily(output, signal)));
  print();
  suggest(output, (name) => quoted(relative(process.cwd(), packageFile(name)) || "."));
}

function introduce(): void {
  for (const line of [
    paint("bold", "Chimera: a child of two language models, without training"),
    "",
    "Parents  mini-v3 answers at once; mini-r1 thinks first, in <think> … </think>.",
    "         DeepSeek-V3 architecture, FP8 with block scales, 16 experts,",
    "         4 layers + 1 MTP layer.",
    "Recipe   the routed experts of mini-r1, everything else of mini-v3:",
    "         so DeepSeek-R1T was made",
    "",
  ]) {
    print(line);
  }
}

/** What to try next, with paths as they are from here: not every demo is run in a checkout. */
function suggest(output: string, here: (name: string) => string): void {
  const half = quoted(join(dirname(output), "half"));
  const next: [what: string, command: string][] = [
    ["200 questions", `eval ${here("models/mini-v3")} ${here("models/mini-r1")} ${quoted(output)} --n 200`],
    ["how behaviour changes with λ", `sweep ${here("recipes/mini/r1t.yaml")} --lambda r1=0:1:0.1 --n 200`],
    ["ask the child something", `generate ${quoted(output)} -p "What is 17 + 25?"`],
    ["all of it in a browser, and for OpenAI's clients", `serve ${here("models")} ${quoted(output)}`],
    ["what is in the child", `inspect ${quoted(output)}`],
    ["what its parents differ in", `compare ${here("models/mini-v3")} ${here("models/mini-r1")}`],
    ["a blend, half of each parent's experts", `plan ${here("recipes/mini/r1t-half.yaml")}`],
    ["… and make it", `build ${here("recipes/mini/r1t-half.yaml")} -o ${half}`],
    ["why a tensor is what it is", `recipe explain ${here("recipes/mini/r1t.yaml")} lm_head.weight`],
    ["the real parents, 2 × 690 GB", `plan ${here("recipes/r1t.yaml")} --parent v3-0324=… --parent r1=…`],
  ];
  print("Try next");
  for (const [what, command] of next) {
    print(paint("dim", `  # ${what}`));
    print(`  npx chimera ${command}`);
  }
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
