/**
 * Pushes a folder to a repository of the Hub, in commits of a few shards. The repository says what is done: a push that
 * was stopped or killed goes on behind its last commit.
 */
import { BuildError, CheckpointError } from "../base/errors.ts";
import { folderFingerprint } from "../checkpoint/fingerprint.ts";
import { HubPush, type PushedCommit, type PushFile } from "../checkpoint/remote/hub-push.ts";
import { parseHubPlace } from "../checkpoint/remote/hub-store.ts";
import { printable } from "../checkpoint/shown.ts";
import { underSignal } from "../checkpoint/stopping.ts";
import { readRunHead } from "../eval/run-folder.ts";
import { batchesOf, filesToPush, isShard, MARKERS, withCard } from "./push-plan.ts";
import type { CardResult } from "./pushed-card.ts";

export type PushEvent =
  | {
      kind: "started";
      repo: string;
      url: string;
      files: number;
      bytes: number;
      commits: number;
      present: number;
    }
  | { kind: "progress"; bytesDone: number; bytesTotal: number; file: string; state: "hashing" | "uploading" }
  | { kind: "committed"; oid: string; url: string; files: string[]; bytes: number }
  | { kind: "finished"; url: string; bytes: number; seconds: number };

export interface PushFolderOptions {
  branch?: string | undefined;
  /** Of a repository that is made. */
  isPrivate?: boolean | undefined;
  /** Everything goes to one pull request. */
  createPr?: boolean | undefined;
  /** Looks and says what would be done. */
  dryRun?: boolean | undefined;
  /** Replaces another checkpoint that the repository holds. */
  force?: boolean | undefined;
  /** Folders of runs, for the card. */
  results?: readonly string[] | undefined;
  /** Names of parents on the Hub, where their places do not tell. */
  baseModels?: Readonly<Record<string, string>> | undefined;
  signal?: AbortSignal | undefined;
  onEvent?: ((event: PushEvent) => void) | undefined;
}

export interface PushReport {
  location: string;
  repo: string;
  branch: string;
  /** Of the repository, or of the pull request. */
  url: string;
  dryRun: boolean;
  /** It was not there before. */
  isNew: boolean;
  uploaded: { files: string[]; bytes: number };
  /** There already, with the same content. */
  present: { files: string[]; bytes: number };
  /** Taken away, since they were another checkpoint's. */
  removed: string[];
  commits: { oid: string; url: string; files: string[]; bytes: number }[];
  seconds: number;
}

/**
 * @param folder a whole checkpoint: a child, or any other
 * @param repo ORG/NAME; made where it is missing
 * @throws CheckpointError by `code`: "not-authorised" (no token, a wrong one, or one that may not write), "bad-answer"
 *   (what answers is not the Hub), "unreachable", "damaged", "unfinished"
 * @throws BuildError "not-empty": the repository holds another checkpoint
 */
export async function push(
  folder: string,
  repo: string,
  options: PushFolderOptions = {},
): Promise<PushReport> {
  return underSignal(options.signal, () => pushFolder(folder, repo, options));
}

async function pushFolder(folder: string, repo: string, options: PushFolderOptions): Promise<PushReport> {
  const startedAt = performance.now();
  const { signal, onEvent = () => {}, dryRun = false } = options;
  const name = repoName(repo);
  const found = await filesToPush(folder);
  const results: CardResult[] = [];
  for (const run of options.results ?? []) results.push(await resultOf(run, found.location));
  const files = await withCard(found, { results, baseModels: options.baseModels ?? {} });
  const title = `Upload ${files.child ? `child of plan ${files.child.planDigest.slice(0, 12)}` : "checkpoint"} with chimera`;
  const hub = await HubPush.open(name, {
    ...{ branch: options.branch, isPrivate: options.isPrivate, signal },
    dryRun: dryRun || files.absent.size > 0, // what is not here must be there already
    pullRequest: options.createPr ? title : undefined,
  });
  const all = [...files.shards, ...files.others];
  const held = await heldOf(hub, all);
  const lost = all.find((file) => files.absent.has(file.name) && !held.has(file))?.name;
  if (lost !== undefined)
    throw new CheckpointError(
      "damaged",
      `Cannot push "${printable(found.location)}": its file "${printable(lost)}" is missing, and not in the repository`,
    );
  const removed = strangersOf(hub, files.shards, { held, force: options.force || options.createPr });
  const shards = batchesOf(files.shards.filter((file) => !held.has(file)));
  // While it is neither the old checkpoint nor the new one it must not look like any.
  const markers = removed.isOther && shards.length > 1 ? MARKERS : [];
  const missing = all.filter((file) => !held.has(file) || markers.includes(file.name));
  const present = all.filter((file) => !missing.includes(file));
  const others = missing.filter(({ name }) => !isShard(name));
  const batches = [...shards.slice(0, -1), [...(shards.at(-1) ?? []), ...others]].filter(
    ({ length }) => length > 0,
  );
  const remove = [...removed.names, ...markers];
  const bytesTotal = sizeOf(missing);
  const isNew = hub.isNew;
  const report = (commits: PushReport["commits"]): PushReport => ({
    ...{ location: files.location, repo: name, branch: hub.branch, url: hub.url, dryRun, isNew },
    uploaded: { files: missing.map(({ name }) => name), bytes: bytesTotal },
    present: { files: present.map(({ name }) => name), bytes: sizeOf(present) },
    ...{ removed: removed.names, commits, seconds: (performance.now() - startedAt) / 1000 },
  });
  if (dryRun) return report([]);
  onEvent({
    ...{ kind: "started", repo: name, url: hub.url, files: missing.length, bytes: bytesTotal },
    ...{ commits: batches.length, present: present.length },
  });
  const commits: PushReport["commits"] = [];
  let before = 0;
  for (const [index, batch] of batches.entries()) {
    const done = new Map<string, number>();
    const made: PushedCommit | undefined = await hub.commit(batch, {
      title: batches.length === 1 ? title : `${title} (${index + 1} of ${batches.length})`,
      ...{ remove: index === 0 ? remove : [], signal },
      onProgress: ({ name, state, bytes }) => {
        if (state === "uploading") done.set(name, bytes);
        const sum = [...done.values()].reduce((sum, some) => sum + some, 0);
        onEvent({ kind: "progress", bytesDone: before + sum, bytesTotal, file: name, state });
      },
    });
    before += sizeOf(batch);
    if (!made) continue; // an answer was lost, and all is there
    const commit = { ...made, files: batch.map(({ name }) => name), bytes: sizeOf(batch) };
    commits.push(commit);
    onEvent({ kind: "committed", ...commit });
  }
  if (commits.length > 0) await hub.refresh(); // throws where what was pushed is not what is there
  const result = report(commits);
  onEvent({ kind: "finished", url: hub.url, bytes: bytesTotal, seconds: result.seconds });
  return result;
}

/** ORG/NAME, with or without "hf:". Throws BuildError. */
export function repoName(text: string): string {
  const place = text.includes("@") ? undefined : parseHubPlace(text.replace(/^hf:(\/\/)?/i, ""));
  if (place) return place.repo;
  throw new BuildError(
    "bad-url",
    `Cannot push to "${printable(text)}": it names no repository, wanted ORG/NAME`,
  );
}

async function resultOf(folder: string, checkpoint: string): Promise<CardResult> {
  const { config, summary } = await readRunHead(folder);
  const { target } = config.settings;
  if (summary?.complete) {
    const isOwn = target.kind === "checkpoint" && target.digest === (await folderFingerprint(checkpoint));
    return { ...summary, isOwn };
  }
  throw new BuildError(
    "incomplete",
    `Cannot use results of "${printable(folder)}": its run is not complete, wanted all answers`,
  );
}

async function heldOf(hub: HubPush, files: readonly PushFile[]): Promise<Set<PushFile>> {
  const held = new Set<PushFile>();
  for (const file of files) if (await hub.holds(file)) held.add(file);
  return held;
}

/** Weights in the repository that are not of this checkpoint, and those that go. Throws BuildError unless they may. */
export function strangersOf(
  { files, repo }: Pick<HubPush, "files" | "repo">,
  shards: readonly { name: string }[],
  { held, force = false }: { held: Iterable<{ name: string }>; force?: boolean | undefined },
): { isOther: boolean; names: string[] } {
  const ours = new Set(shards.map(({ name }) => name));
  const ourHeld = new Set([...held].map(({ name }) => name));
  const strangers = [...files.keys()].filter((name) => isShard(name) && !ourHeld.has(name));
  if (strangers.length > 0 && !force) {
    const what = `it holds another checkpoint's "${printable(strangers[0]!)}"`;
    throw new BuildError(
      "not-empty",
      `Cannot push to "${printable(repo)}": ${what}, wanted a new repository`,
      {
        note: "--force replaces that checkpoint (earlier commits keep it), --create-pr proposes to",
      },
    );
  }
  return { isOther: strangers.length > 0, names: strangers.filter((name) => !ours.has(name)) };
}

function sizeOf(files: readonly { byteLength: number }[]): number {
  return files.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
