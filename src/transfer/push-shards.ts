/**
 * Uploads the shards of a build as they are finished, and frees them where that is wanted.
 *
 * One commit is under way at a time, of all shards that wait, up to five. The repository is the truth about what is
 * there; a shard leaves the folder when the commit that holds it is made, its record stays in the journal. So a build
 * that was killed goes on with the shards that are in neither.
 */
import { join } from "node:path";
import { BuildError, Interrupted } from "../base/errors.ts";
import type { FinishedShard, Outlet } from "../build/outlet.ts";
import { HubPush, type PushFile } from "../checkpoint/remote/hub-push.ts";
import { printable } from "../checkpoint/shown.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { repoName } from "./push.ts";
import { batchesOf, fileOf, isShard, MARKERS } from "./push-plan.ts";

export type ShardPushEvent =
  | { kind: "uploading"; bytesDone: number; bytesTotal: number; file: string; state: "hashing" | "uploading" }
  /** `local`: shards that wait for a commit, or are in one. */
  | { kind: "committed"; oid: string; url: string; files: string[]; bytes: number; local: number };

export interface ShardPushOptions {
  isPrivate?: boolean | undefined;
  branch?: string | undefined;
  /** Take shards out of the folder when they are there. */
  discardLocal?: boolean | undefined;
  /** With `discardLocal`: shards in work or in the folder at a time. */
  mostLocal?: number | undefined;
  /** Replace another checkpoint that the repository holds. */
  force?: boolean | undefined;
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onEvent?: ((event: ShardPushEvent) => void) | undefined;
}

/** Opens a repository for the shards of a plan. Throws CheckpointError, and BuildError as push() does. */
export async function openShardPush(
  plan: BuildPlan,
  repo: string,
  options: ShardPushOptions = {},
): Promise<ShardPush> {
  const { branch, isPrivate, dryRun, signal } = options;
  const hub = await HubPush.open(repoName(repo), { branch, isPrivate, dryRun, signal });
  const names = new Set(plan.shards.map(({ name }) => name));
  const stranger = [...hub.files.keys()].find((name) => isShard(name) && !names.has(name));
  if (stranger !== undefined) throw other(hub.repo, stranger);
  return new ShardPush(plan, hub, options);
}

function other(repo: string, name: string): BuildError {
  const what = `it holds another checkpoint's "${printable(name)}", wanted a new repository, or parts of this child`;
  return new BuildError("not-empty", `Cannot push to "${printable(repo)}": ${what}`, {
    note: "Take another repository, or build without --push and use chimera push --force",
  });
}

export class ShardPush implements Outlet {
  readonly mostLocal: number;
  readonly location: string;
  readonly url: string;
  readonly #plan: BuildPlan;
  readonly #hub: HubPush;
  readonly #options: ShardPushOptions;
  readonly #stop = new AbortController();
  #target: OutputStore | undefined;
  #queue: FinishedShard[] = [];
  /** In work, waiting, or on their way. */
  #local = 0;
  #isSending = false;
  #failure: Error | undefined;
  #waiting: (() => void)[] = [];

  constructor(plan: BuildPlan, hub: HubPush, options: ShardPushOptions) {
    this.#plan = plan;
    this.#hub = hub;
    this.#options = options;
    this.location = `hf:${hub.repo}`;
    this.url = hub.url;
    this.mostLocal = options.discardLocal
      ? Math.max(1, options.mostLocal ?? Number.POSITIVE_INFINITY)
      : Number.POSITIVE_INFINITY;
    const { signal } = options;
    if (signal?.aborted) this.#stop.abort();
    signal?.addEventListener("abort", () => {
      this.#stop.abort();
      this.#wake();
    });
  }

  holds({ shard, byteLength, sha256 }: FinishedShard): boolean {
    const there = this.#hub.files.get(shard);
    return there?.byteLength === byteLength && there.isLfs && there.oid === sha256;
  }

  begin(target: OutputStore, local: readonly FinishedShard[]): void {
    this.#target = target;
    this.#local = local.length;
    for (const shard of local) this.#queue.push(shard);
    this.#send();
  }

  async room(): Promise<void> {
    for (;;) {
      this.#check();
      if (this.#local < this.mostLocal) break;
      await this.#change();
    }
    this.#local++;
  }

  add(shard: FinishedShard): void {
    this.#queue.push(shard);
    this.#send();
  }

  async drain(): Promise<void> {
    for (;;) {
      this.#check();
      if (this.#queue.length === 0 && !this.#isSending) return;
      this.#send();
      await this.#change();
    }
  }

  async finish(files: ReadonlyMap<string, Uint8Array>): Promise<void> {
    await this.drain();
    const wanted = [...files].map(([name, bytes]) => fileOf(name, bytes));
    await this.#commit(wanted, "config, index, card");
    await this.#hub.refresh(); // throws where what was pushed is not what is there
    const absent = this.#plan.shards.find(({ name, byteLength }) => {
      return this.#hub.files.get(name)?.byteLength !== byteLength;
    });
    if (!absent) return;
    const what = `it lacks "${absent.name}", which was there`;
    throw new BuildError("damaged", `Cannot finish "${printable(this.#hub.repo)}": ${what}`);
  }

  async stop(): Promise<void> {
    this.#queue = [];
    this.#stop.abort();
    this.#wake();
    while (this.#isSending) await this.#change();
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
    if (this.#stop.signal.aborted)
      throw new Interrupted("The build was stopped; what is complete is kept: run the same command again");
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Sends what waits, unless something is on its way, after which it is called again. */
  #send(): void {
    if (this.#isSending || this.#queue.length === 0 || this.#failure || this.#stop.signal.aborted) return;
    const batch = batchesOf(this.#queue)[0]!;
    this.#queue = this.#queue.slice(batch.length);
    this.#isSending = true;
    this.#sendBatch(batch)
      .catch((error) => {
        this.#failure ??= error as Error;
      })
      .finally(() => {
        this.#isSending = false;
        this.#send();
        this.#wake();
      });
  }

  async #sendBatch(batch: readonly FinishedShard[]): Promise<void> {
    const target = this.#target!;
    for (const shard of batch) {
      if (this.#hub.files.has(shard.shard) && !this.holds(shard) && !this.#options.force)
        throw other(this.#hub.repo, shard.shard);
    }
    const files = batch.map(({ shard, byteLength, sha256 }): PushFile => {
      return { name: shard, byteLength, sha256, content: { path: join(target.location, shard) } };
    });
    // While it is neither the old checkpoint nor the new one it must not look like any.
    const replaces = batch.some(({ shard }) => this.#hub.files.has(shard));
    await this.#commit(files, files.map(({ name }) => name).join(", "), replaces ? MARKERS : []);
    this.#local -= batch.length;
    if (!this.#options.discardLocal) return;
    for (const { shard } of batch) await target.remove(shard);
  }

  async #commit(files: readonly PushFile[], what: string, remove: readonly string[] = []): Promise<void> {
    const { onEvent } = this.#options;
    const bytes = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const done = new Map<string, number>();
    const made = await this.#hub.commit(files, {
      title: `Build with chimera, plan ${this.#plan.digest.slice(0, 12)}: ${what}`,
      ...{ remove, signal: this.#stop.signal },
      onProgress: ({ name, state, bytes: some }) => {
        if (state === "uploading") done.set(name, some);
        const bytesDone = [...done.values()].reduce((sum, one) => sum + one, 0);
        onEvent?.({ kind: "uploading", bytesDone, bytesTotal: bytes, file: name, state });
      },
    });
    const names = files.map(({ name }) => name);
    const local = this.#queue.length;
    if (made) onEvent?.({ kind: "committed", ...made, files: names, bytes, local });
  }
}
