/** What chimera build says and shows of a child that goes to the Hub while it is built. */
import { availableParallelism } from "node:os";
import { formatBytes } from "../base/format.ts";
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

/** Shards beside those in work that may lie in the folder. */
const WAITING = 3;

export function refusePushContradictions(
  { push, discardLocal, localShards, private: isPrivate }: BuildPushOptions,
  { output, wait }: { output: string; wait?: number | undefined },
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
  if (push && wait !== undefined) throw new UsageError("Cannot use --wait with --push, wanted one of them");
}

/** Opens the repository that a build's shards go to. */
export async function openBuildPush(
  plan: BuildPlan,
  options: BuildPushOptions & { workers?: number; force?: boolean; dryRun?: boolean },
  { signal, progress, state }: { signal: AbortSignal; progress: Progress; state: { isBuilt: boolean } },
): Promise<ShardPush> {
  const { openShardPush } = await import("../transfer/push-shards.ts");
  const { discardLocal, force, dryRun } = options;
  const workers = Math.min(options.workers ?? availableParallelism(), plan.shards.length);
  return openShardPush(plan, options.push!, {
    ...{ discardLocal, force, dryRun, signal, isPrivate: options.private },
    mostLocal: options.localShards ?? workers + WAITING,
    onEvent: (event) => show(event, progress, state),
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
