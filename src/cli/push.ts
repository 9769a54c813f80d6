/** chimera push: a checkpoint to a repository of the Hub, a few shards a commit. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { formatBytes, formatDuration } from "../base/format.ts";
import type { PushEvent, PushReport } from "../transfer/push.ts";
import { interruptible } from "./interrupt.ts";
import { createProgress, PROGRESS_MODES, type Progress, type ProgressMode } from "./progress.ts";
import { paint, print, printJson } from "./terminal.ts";

interface PushCommandOptions {
  private?: boolean;
  createPr?: boolean;
  branch?: string;
  results?: string[];
  baseModel?: Record<string, string>;
  force?: boolean;
  dryRun?: boolean;
  json?: boolean;
  progress: ProgressMode;
}

export function addPush(program: Command): void {
  program
    .command("push")
    .description("upload a checkpoint to the Hub, a few shards a commit; run again to resume")
    .argument("<folder>", "a child, or any other checkpoint")
    .argument("<repository>", "ORG/NAME; made if it is missing")
    .option("--private", "make the repository private")
    .option("--branch <name>", "push to this branch; made if it is missing")
    .addOption(new Option("--create-pr", "open a pull request, and push to it").conflicts("branch"))
    .option("--results <run...>", "folders of chimera eval whose figures go into the card")
    .option("--base-model <parent=ORG/NAME>", "a parent's name on the Hub; repeatable", parseBaseModel)
    .option("--force", "replace another checkpoint that the repository holds")
    .option("--dry-run", "say what would be uploaded, and upload nothing")
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--json", "the report as JSON on stdout")
    .addHelpText(
      "after",
      `
Needs a token that may write: HF_TOKEN, or that of \`hf auth login\`. What the
repository holds already, by SHA-256, is not sent again, so that the same command
goes on where another one was stopped or killed. Config, index and card are in the
last commit: before it nobody takes the repository for a whole checkpoint.

Examples:
  $ chimera push ./R1T my-org/R1T --private
  $ chimera push ./R1T my-org/R1T --dry-run
  $ chimera push ./R1T my-org/R1T --results runs/R1T runs/DeepSeek-R1 \\
      --base-model v3=deepseek-ai/DeepSeek-V3-0324 --base-model r1=deepseek-ai/DeepSeek-R1`,
    )
    .action(runPush);
}

async function runPush(folder: string, repository: string, options: PushCommandOptions): Promise<void> {
  const { push } = await import("../transfer/push.ts");
  const progress = createProgress(options.progress, "push");
  const { branch, createPr, results, force, dryRun } = options;
  const report = await interruptible((signal) =>
    push(folder, repository, {
      ...{ branch, createPr, results, force, dryRun, signal },
      ...{ isPrivate: options.private, baseModels: options.baseModel },
      onEvent: (event) => show(event, progress),
    }).finally(() => progress.end()),
  );
  if (options.json) return printJson(report);
  if (dryRun) return showDryRun(report);
  const { uploaded, present, commits, url, seconds } = report;
  const held = present.files.length > 0 ? `, ${present.files.length} were there` : "";
  const files = `${uploaded.files.length} files (${formatBytes(uploaded.bytes)} in ${formatDuration(seconds)})`;
  if (commits.length === 0) print(`${paint("green", "complete")}  ${url}: every file was there`);
  else print(`${paint("green", "pushed")}  ${url}: ${files} in ${commits.length} commits${held}`);
}

export function show(event: PushEvent, progress: Progress): void {
  progress.event(event);
  if (event.kind === "committed")
    progress.line(
      `committed ${event.oid.slice(0, 12)}: ${event.files.length} files, ${formatBytes(event.bytes)}`,
    );
  if (event.kind !== "progress") return;
  const detail = event.state === "hashing" ? `hashing ${event.file}` : event.file;
  progress.update({ done: event.bytesDone, total: event.bytesTotal, detail });
}

function showDryRun({ repo, branch, isNew, uploaded, present, removed }: PushReport): void {
  print(`${repo}, ${branch}${isNew ? ": would be made" : ""}`);
  print(`  upload  ${uploaded.files.length} files, ${formatBytes(uploaded.bytes)}`);
  print(`  there   ${present.files.length} files, ${formatBytes(present.bytes)}`);
  if (removed.length > 0) print(`  remove  ${removed.length} files of another checkpoint`);
  print("Dry run: nothing was uploaded.");
}

/** "name=org/model" pairs, collected. */
function parseBaseModel(text: string, previous?: Record<string, string>): Record<string, string> {
  const [, name, id] = /^([^=]+)=([\w.-]+\/[\w.-]+)$/.exec(text) ?? [];
  if (name === undefined || id === undefined)
    throw new InvalidArgumentError(`"${text}" is not parent=ORG/NAME`);
  return { ...previous, [name]: id };
}
