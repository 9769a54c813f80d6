/** What chimera build says and shows of a child that goes to the Hub while it is built. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import { formatBytes } from "../base/format.ts";
import type { PushWishes } from "../launch/prepare.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { ShardPush, ShardPushEvent } from "../transfer/push-shards.ts";
import { UsageError } from "./exit.ts";
import type { Progress } from "./progress.ts";

export interface BuildPushOptions {
  push?: string;
  discardLocal?: boolean;
  localShards?: number;
  private?: boolean;
}

/** The options themselves, for build and for launches of it. */
export function addPushOptions(command: Command): Command {
  return command
    .option("--push <repository>", "upload shards to ORG/NAME as they are finished, all other files last")
    .option("--discard-local", "with --push: free the disk of what is uploaded")
    .option(
      "--local-shards <n>",
      "with --discard-local: shards on the disk at most (workers + 3)",
      parseCount,
    )
    .option("--private", "with --push: make the repository private");
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1024)
    throw new InvalidArgumentError("wanted a whole number from 1 to 1024");
  return value;
}

/** Shards beside those that may lie in the folder. */
const WAITING = 3;

export function refusePushContradictions(
  { push, discardLocal, localShards, private: isPrivate }: BuildPushOptions,
  { output }: { output: string },
): void {
  const without = discardLocal ? "--discard-local" : isPrivate ? "--private" : undefined;
  if (!push && without !== undefined)
    throw new UsageError(
      `Cannot use ${without} without --push`,
      `chimera build … ${without} --push ORG/NAME`,
    );
  if (!discardLocal && localShards !== undefined)
    throw new UsageError(
      "Cannot use --local-shards without --discard-local: every shard stays in the folder",
    );
  if (push && /^[a-z][a-z0-9+.-]+:/i.test(output))
    throw new UsageError(`Cannot build in "${output}" and push: wanted a folder`);
}

/** What a launch says to its parts. Undefined where nothing is pushed. */
export async function pushWishes(options: BuildPushOptions, output: string): Promise<PushWishes | undefined> {
  refusePushContradictions(options, { output });
  const { push, discardLocal, localShards, private: isPrivate } = options;
  if (push === undefined) return undefined;
  const { repoName } = await import("../transfer/push.ts");
  return { repo: repoName(push), discardLocal, localShards, isPrivate };
}

/** Opens the repository that a build's shards go to. */
export async function openBuildPush(
  plan: BuildPlan,
  options: BuildPushOptions & { workers?: number; force?: boolean; dryRun?: boolean },
  {
    signal,
    progress,
    state,
  }: { signal?: AbortSignal; progress?: Progress; state?: { isBuilt: boolean } } = {},
): Promise<ShardPush> {
  const { openShardPush } = await import("../transfer/push-shards.ts");
  const { discardLocal, force, dryRun } = options;
  const workers = Math.min(options.workers ?? availableParallelism(), plan.shards.length);
  return openShardPush(plan, options.push!, {
    ...{ discardLocal, force, dryRun, signal, isPrivate: options.private },
    mostLocal: options.localShards ?? workers + WAITING,
    ...(progress && state ? { onEvent: (event) => show(event, progress, state) } : {}),
  });
}

/** What is uploaded shows when nothing is built any more: there is one bar. */
function show(event: ShardPushEvent, progress: Progress, { isBuilt }: { isBuilt: boolean }): void {
  progress.event(event);
  if (event.kind === "uploading" && isBuilt) {
    const detail = `${event.state} ${event.file}`;
    progress.update({ done: event.bytesDone, total: event.bytesTotal, detail });
  }
  if (event.kind !== "committed") return;
  const what = event.files.length === 1 ? event.files[0]! : `${event.files.length} files`;
  progress.line(`pushed ${what} (${formatBytes(event.bytes)}), ${event.local} shards wait`);
}
