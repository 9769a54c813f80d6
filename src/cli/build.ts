/** chimera build: from a recipe or a plan to a child, resumable, in parts if wanted. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { formatBytes, formatDuration, parseBytes } from "../base/format.ts";
import type { BuildOptions, BuildReport } from "../build/build.ts";
import type { BuildEvent } from "../build/events.ts";
import type { BuildPlan } from "../plan/plan.ts";
import {
  addPushOptions,
  type BuildPushOptions,
  openBuildPush,
  parseCount,
  refusePushContradictions,
} from "./build-push.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { parentOption, planOf, showDisk, showNetwork, showPlan, showWarnings } from "./plan.ts";
import { createProgress, PROGRESS_MODES, type Progress, type ProgressMode } from "./progress.ts";
import { note, paint, print, printJson, quoted } from "./terminal.ts";

export interface BuildCommandOptions extends BuildPushOptions {
  output: string;
  workers?: number;
  part?: { index: number; count: number };
  finish?: boolean;
  wait?: number;
  dryRun?: boolean;
  force?: boolean;
  staging?: string;
  direct?: boolean;
  readSize?: number;
  readDepth?: number;
  progress: ProgressMode;
  parent?: Record<string, string>;
  json?: boolean;
}

export function addBuild(program: Command): void {
  const command = program
    .command("build")
    .description("build the child that a recipe describes; run again to resume")
    .argument("[recipe]", "a recipe (.yaml) or a plan (.json); not needed with --finish")
    .requiredOption(
      "-o, --output <folder>",
      "a new or empty folder or s3://BUCKET/PREFIX, or an unfinished build of it; FILE.gguf for GGUF parents",
    )
    .option("--workers <n>", "worker threads (default: one per core)", parseCount)
    .option("--part <i/n>", "build only part i of n, i from 0 to n-1; for clusters", parsePart)
    .option("--finish", "join the parts when all are there")
    .option("--wait <seconds>", "with --finish: until all parts are there, at most so long", parseSeconds)
    .option("--dry-run", "check recipe, parents, folder and disk; write nothing")
    .option("--direct", "read and write past the system's cache: for Lustre, 3FS, NFS and busy machines")
    .option("--read-size <bytes>", "with --direct: bytes of a read (default 8MiB)", parseReadSize)
    .option("--read-depth <n>", "with --direct: reads of a file under way (default 4)", parseCount)
    .option(
      "--staging <folder>",
      "with s3://: where shards are put together (default: the system's temporary one)",
    );
  addPushOptions(command)
    .option("--force", "replace what another build of chimera left in the folder")
    .addOption(parentOption("where a parent lies, instead of where the recipe says; repeatable"))
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--json", "the report as JSON on stdout")
    .addHelpText(
      "after",
      `
A build that was interrupted or killed goes on from the shards that are complete
when the same command is run again, and ends with the same bytes. Exit status
130 or 143: interrupted, state saved.

Of GGUF parents a child is stitched when the output ends in .gguf: blocks are
copied as they are, in whatever quantisation, and nothing is computed.

Examples:
  $ chimera build recipes/r1t.yaml -o ./R1T
  $ chimera build r1t-gguf.yaml -o R1T-Q4_K_M.gguf
  $ chimera build recipes/r1t.yaml -o ./R1T --dry-run
  $ chimera plan recipes/r1t.yaml -o plan.json
  $ seq 0 7 | xargs -P8 -I{} chimera build plan.json -o ./R1T --part {}/8
  $ chimera build plan.json -o ./R1T --finish
  $ chimera build recipes/r1t.yaml -o ./R1T --push my-org/R1T --discard-local
  $ chimera build plan.json -o ./R1T --finish --wait 86400 --push my-org/R1T --discard-local
  $ chimera launch local plan.json -o ./R1T --tasks 8    # all three, with repetitions, and verified`,
    )
    .action((path: string | undefined, options: BuildCommandOptions) => runBuild(path, options));
}

async function runBuild(path: string | undefined, options: BuildCommandOptions): Promise<void> {
  refuseContradictions(path, options);
  const { namesGguf } = await import("../checkpoint/gguf-store.ts");
  if (namesGguf(options.output)) return (await import("./stitch.ts")).runStitch(path, options);
  const plan = await planFor(path, options);
  const { build } = await import("../build/build.ts");
  const { finishWhenReady } = await import("../build/finish-when-ready.ts");
  showWarnings(plan);
  const progress = createProgress(options.progress, "build");
  const { workers, part, finish, dryRun, force, direct, wait, staging } = options;
  const report = await interruptible(async (signal) => {
    const state = { isBuilt: false };
    const openOutlet = () => openBuildPush(plan, options, { signal, progress, state });
    // Also before waiting: a token that may not write is to be told today.
    const outlet = options.push ? await openOutlet() : undefined;
    const wishes: BuildOptions = {
      signal,
      onEvent: (event) => {
        if (event.kind === "progress") state.isBuilt = event.bytesDone >= event.bytesTotal;
        show(event, progress);
      },
      ...(workers ? { workers } : {}),
      ...(part ? { part } : {}),
      ...(finish ? { finish } : {}),
      ...(dryRun ? { dryRun } : {}),
      ...(force ? { force } : {}),
      ...(staging ? { staging } : {}),
      ...(direct ? { direct: directOptions(options) } : {}),
    };
    const waiting = { ...wishes, ...(outlet ? { openOutlet } : {}) };
    const done =
      wait === undefined
        ? build(plan, options.output, { ...wishes, ...(outlet ? { outlet } : {}) })
        : finishWhenReady(plan, options.output, { ...waiting, seconds: wait });
    return done.finally(() => progress.end());
  });
  if (options.json) printJson({ ...report, dryRun: dryRun ?? false, part: part ?? null, ...pushed(options) });
  else if (dryRun) {
    showPlan(plan);
    if (report.finished) return print("The child is there already: nothing to do.");
    await showNetwork(plan);
    if (!options.discardLocal && !/^s3:/i.test(options.output)) await showDisk(plan, options.output);
    const { resumed, total } = report.shards;
    if (resumed > 0) print(`resume     ${resumed} of ${total} shards are there already`);
    print("Dry run: nothing was written.");
  } else summarise(report, options);
}

function pushed({ push }: BuildCommandOptions): { push?: string } {
  return push ? { push } : {};
}

function directOptions({ readSize, readDepth }: BuildCommandOptions): NonNullable<BuildOptions["direct"]> {
  return { ...(readSize ? { readBytes: readSize } : {}), ...(readDepth ? { depth: readDepth } : {}) };
}

/** What would be done in silence otherwise, or undone by another part. */
function refuseContradictions(path: string | undefined, options: BuildCommandOptions): void {
  const { part, finish, force, parent, wait, dryRun, direct, readSize, readDepth } = options;
  refusePushContradictions(options, options);
  if (!direct && (readSize ?? readDepth) !== undefined)
    throw new UsageError("Cannot use --read-size and --read-depth without --direct");
  if (wait !== undefined && (!finish || dryRun)) {
    const what = finish ? "with --dry-run, wanted one of them" : "without --finish, wanted both";
    throw new UsageError(`Cannot use --wait ${what}`);
  }
  if (part && finish)
    throw new UsageError("Cannot build a part and finish at once, wanted one of --part and --finish");
  if (force && (part || finish)) {
    throw new UsageError(
      `Cannot use --force with ${part ? "--part" : "--finish"}: it would remove the shards of the other parts`,
      "Remove the folder, or take another one",
    );
  }
  if (parent && !path) {
    throw new UsageError(
      "Cannot use --parent without a recipe: the plan in the folder has its parents in it",
      "chimera build RECIPE -o FOLDER --finish --parent name=folder",
    );
  }
}

/** A plan file is taken as it is; a recipe is planned; --finish alone takes the plan that lies in the folder. */
async function planFor(path: string | undefined, options: BuildCommandOptions): Promise<BuildPlan> {
  if (path) return planOf(path, options.parent);
  if (!options.finish)
    throw new UsageError("Cannot build without a recipe", "chimera build RECIPE -o FOLDER");
  const { statePlan } = await import("../build/state.ts");
  const { openOutput } = await import("../checkpoint/stores.ts");
  const { parsePlan } = await import("../plan/load-recipe.ts");
  const text = await statePlan(openOutput(options.output));
  if (text === undefined) {
    // A task that is queued once more after the end finds what it wants.
    const { readChildRecord } = await import("../build/child.ts");
    const child = await readChildRecord(openOutput(options.output));
    if (child) return (await import("../build/verify.ts")).planAgain(child);
    throw new UsageError(
      `Cannot finish "${options.output}": it holds no unfinished build`,
      "Name the recipe or the plan",
    );
  }
  return parsePlan(text, `${options.output}/.chimera/plan.json`);
}

function show(event: BuildEvent, progress: Progress): void {
  progress.event(event);
  if (event.kind === "started" && event.resumed.shards > 0) {
    const { shards, bytes } = event.resumed;
    note(`resuming: ${shards} of ${event.shards} shards are complete (${formatBytes(bytes)})`);
  }
  if (event.kind === "progress") {
    const detail = `shard ${Math.min(event.shardsDone + 1, event.shardsTotal)} of ${event.shardsTotal}`;
    progress.update({ done: event.bytesDone, total: event.bytesTotal, detail });
  }
}

function summarise(report: BuildReport, { part, output, push, discardLocal }: BuildCommandOptions): void {
  const { shards, writtenBytes, seconds, location } = report;
  const speed = seconds > 0 ? `, ${(writtenBytes / seconds / 1e9).toFixed(3)} GB/s` : "";
  const work = `${shards.written} of ${shards.total} shards written (${formatBytes(writtenBytes)} in ${formatDuration(seconds)}${speed})`;
  if (!report.finished) {
    print(`part ${part!.index} of ${part!.count}: ${work}, ${shards.resumed} were there`);
    const and = push ? ` --push ${quoted(push)}${discardLocal ? " --discard-local" : ""}` : "";
    print(paint("dim", `next, when all parts are there: chimera build --finish -o ${quoted(output)}${and}`));
    return;
  }
  if (shards.written > 0) print(`${paint("green", "built")}  ${location}: ${work}`);
  else if (shards.resumed === shards.total)
    print(`${paint("green", "complete")}  ${location}: every shard was there`);
  else print(`${paint("green", "finished")}  ${location}: ${shards.total} shards joined`);
  if (report.direct) showDirect(report.direct, seconds);
  if (push) print(`${paint("green", "pushed")}  hf:${push}`);
  print(paint("dim", `next: chimera verify ${quoted(discardLocal ? `hf:${push}` : output)}`));
}

/** What it reached: how fast, and how much of it went past the cache. */
function showDirect(direct: NonNullable<BuildReport["direct"]>, seconds: number): void {
  const { readBytes, directReadBytes, writtenBytes: all, directWrittenBytes } = direct;
  const line = (verb: string, bytes: number, past: number) => {
    const part = bytes === 0 ? 0 : Math.round((100 * past) / bytes);
    print(
      `${verb} ${formatBytes(bytes)}, ${(bytes / seconds / 1e9).toFixed(3)} GB/s, ${part} % past the cache`,
    );
  };
  line("read      ", readBytes, directReadBytes);
  line("wrote     ", all, directWrittenBytes);
}

function parseReadSize(text: string): number {
  const bytes = parseBytes(text) ?? Number.NaN;
  if (!(bytes >= 65536 && bytes <= 2 ** 28))
    throw new InvalidArgumentError("wanted 64KiB to 256MiB, like 8MiB");
  return bytes;
}

export function parseSeconds(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 31_536_000) return value;
  throw new InvalidArgumentError("wanted a whole number of seconds");
}

/** "3/8" -> part 3 of 8, counted from 0. */
export function parsePart(text: string): { index: number; count: number } {
  const match = /^(\d{1,9})\/(\d{1,9})$/.exec(text);
  const [index, count] = [Number(match?.[1]), Number(match?.[2])];
  if (!match || count < 1 || index >= count) {
    throw new InvalidArgumentError("wanted i/n with i from 0 to n-1, like 0/8");
  }
  return { index, count };
}
