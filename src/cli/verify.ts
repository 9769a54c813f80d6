/** chimera verify: proves a child against its plan and its parents. */
import type { Command } from "commander";
import { Option } from "commander";
import { formatBytes, formatDuration } from "../base/format.ts";
import { ExitStatus } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { parentOption } from "./plan.ts";
import { createProgress, PROGRESS_MODES, type ProgressMode } from "./progress.ts";
import { clean, note, paint, paintError, print, printJson } from "./terminal.ts";

interface VerifyCommandOptions {
  all?: boolean;
  json?: boolean;
  parent?: Record<string, string>;
  progress: ProgressMode;
}

export function addVerify(program: Command): void {
  program
    .command("verify")
    .description("check a child against its recipe and its parents, byte by byte")
    .argument("<child>", "a folder that chimera build finished")
    .option("--all", "compute every merged tensor again, not a sample of each shard")
    .addOption(parentOption("where a parent lies now, when it has moved; repeatable"))
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--json", "the report as JSON on stdout")
    .addHelpText(
      "after",
      `
Exit status 4 when anything differs; the finding names tensor, element, file and
byte.

Examples:
  $ chimera verify ./R1T
  $ chimera verify ./R1T --all --json
  $ chimera verify ./R1T --parent r1=/mnt/other/DeepSeek-R1`,
    )
    .action(async (child: string, options: VerifyCommandOptions) => {
      const { verify } = await import("../build/verify.ts");
      const progress = createProgress(options.progress, "verify");
      const report = await interruptible((signal) =>
        verify(child, {
          signal,
          all: options.all ?? false,
          locations: options.parent ?? {},
          onEvent: (event) => {
            progress.event(event);
            if (event.kind !== "progress") return;
            progress.update({ done: event.bytesDone, total: event.bytesTotal, detail: event.shard });
          },
        }).finally(() => progress.end()),
      );
      if (options.json) printJson(report);
      for (const { message } of report.findings) note(`${paintError("red", "mismatch:")} ${clean(message)}`);
      if (!report.ok) throw new ExitStatus(4);
      if (options.json) return;
      const { shards, bytes, copied, recomputed, merged, files } = report.checked;
      const computed =
        merged === 0 ? "" : `, ${recomputed} of ${merged} computed tensors equal when computed again`;
      print(
        `${paint("green", "verified")}  ${report.location}: ${shards} shards (${formatBytes(bytes)}), ` +
          `${copied} tensors equal to their parent's${computed}, ${files} other files; ${formatDuration(report.seconds)}`,
      );
      if (recomputed < merged)
        print(paint("dim", "next: chimera verify --all computes every merged tensor again"));
    });
}
