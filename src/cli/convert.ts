/** chimera convert: a checkpoint, or a recipe's child, as a GGUF file for llama.cpp. */
import { type Command, Option } from "commander";
import { formatBytes, formatInteger } from "../base/format.ts";
import type { ConvertReport, OutputType } from "../convert/convert.ts";
import { requirePlace, UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { referenceOf } from "./model.ts";
import { parentOption } from "./plan.ts";
import { createProgress, PROGRESS_MODES, type ProgressMode } from "./progress.ts";
import { clean, note, paint, paintError, print, printJson } from "./terminal.ts";

interface ConvertCommandOptions {
  output: string;
  type: OutputType;
  pre?: string;
  dryRun?: boolean;
  force?: boolean;
  parent?: Record<string, string>;
  progress: ProgressMode;
  json?: boolean;
}

export function addConvert(program: Command): void {
  program
    .command("convert")
    .description("write a checkpoint, or the child of a recipe, as a GGUF file for llama.cpp")
    .argument("<model>", "a checkpoint, or a recipe: its child is assembled as it is written")
    .requiredOption("-o, --output <file>", "the file, ending in .gguf")
    .addOption(
      new Option("--type <type>", "how matrices are stored; norms and routers are F32 in all of them")
        .choices(["q8_0", "bf16", "f16", "f32"])
        .default("bf16"),
    )
    .option("--pre <name>", "what llama.cpp calls the way the tokenizer splits text (default: found out)")
    .option("--dry-run", "check everything and say how large the file will be; write nothing")
    .option("--force", "replace a file that is there")
    .addOption(parentOption("where a parent of a recipe lies; repeatable"))
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--json", "the report as JSON on stdout")
    .addHelpText(
      "after",
      `
FP8 weights are decoded. MTP layers are left out: llama.cpp has no place for
them. The file appears when it is complete. From two GGUF files a child is made
without converting: chimera build RECIPE -o CHILD.gguf

Examples:
  $ chimera convert ./R1T -o R1T.gguf --type q8_0
  $ chimera convert recipes/mini/r1t.yaml -o r1t.gguf
  $ chimera convert ./DeepSeek-R1 -o R1.gguf --dry-run`,
    )
    .action(run);
}

async function run(target: string, options: ConvertCommandOptions): Promise<void> {
  const { output, type, pre, dryRun, force } = options;
  if (!/\.gguf$/i.test(output))
    throw new UsageError(`Cannot convert to "${output}": its name does not end in .gguf`);
  requirePlace(output, await import("../checkpoint/node.ts"));
  const reference = await referenceOf(target, options);
  const { convertToGguf } = await import("../convert/convert.ts");
  const progress = createProgress(options.progress, "convert");
  const report = await interruptible((signal) =>
    convertToGguf(reference, output, {
      type,
      signal,
      onProgress: ({ bytesDone, bytesTotal }) => {
        progress.event({ kind: "progress", bytesDone, bytesTotal });
        progress.update({ done: bytesDone, total: bytesTotal });
      },
      ...(pre ? { pre } : {}),
      ...(dryRun ? { dryRun } : {}),
      ...(force ? { force } : {}),
    }).finally(() => progress.end()),
  );
  if (options.json) return printJson({ ...report, dryRun: dryRun ?? false });
  showReport(report);
  if (dryRun) print("Dry run: nothing was written.");
  else print(`${paint("green", "written")}  ${clean(output)}`);
}

function showReport({ bytes, tensors, types, leftOut }: ConvertReport): void {
  const counts = Object.entries(types).map(([type, count]) => `${formatInteger(count)} ${type}`);
  print(`${formatInteger(tensors)} tensors (${counts.join(", ")}), ${formatBytes(bytes)}`);
  if (leftOut.length === 0) return;
  const words = `${formatInteger(leftOut.length)} tensors have no place in the file, as "${clean(leftOut[0]!)}"`;
  note(`${paintError("yellow", "left out:")} ${words}`);
}
