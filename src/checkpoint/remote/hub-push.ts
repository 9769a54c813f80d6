/**
 * Commits to a repository of the Hub: what is there, what is missing, and a batch of files as one commit.
 *
 * A commit names the one that it follows, so that those of others are noticed. When an answer gets lost, or somebody
 * else was quicker, the repository is looked at again: what has arrived is not sent twice. The library hashes each file
 * once more before it uploads it, which it lets nobody spare it; so a file that is not what it was recorded as is found
 * before it is sent.
 */
import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { CheckpointError, Interrupted } from "../../base/errors.ts";
import { hubToken } from "../node-hub.ts";
import { openFolder } from "../node-source.ts";
import { printable } from "../shown.ts";
import { RemoteFault, retrying } from "./client.ts";
import { type HubFile, listCommit, resolveCommit } from "./hub-api.ts";
import { hubFetch } from "./hub-fetch.ts";
import { noToken, pushFault } from "./hub-push-faults.ts";
import { hubEndpoint, isXetDisabled } from "./hub-settings.ts";
import { uploadFetch } from "./upload-fetch.ts";

/** A file to be there. */
export interface PushFile {
  name: string;
  byteLength: number;
  /** Of the content, where it is known: it is held to it. */
  sha256?: string | undefined;
  content: { path: string } | { bytes: Uint8Array };
}

export interface PushOptions {
  /** Default: main. Made where it is missing. */
  branch?: string | undefined;
  /** Of a repository that is made. Default: what the organisation has set. */
  isPrivate?: boolean | undefined;
  /** All goes to one pull request, whose title this is; one that is open under it is gone on with. */
  pullRequest?: string | undefined;
  /** Nothing is made. */
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface CommitOptions {
  title: string;
  /** Names that are to go. */
  remove?: readonly string[];
  signal?: AbortSignal | undefined;
  onProgress?: (progress: { name: string; state: "hashing" | "uploading"; bytes: number }) => void;
}

export interface PushedCommit {
  oid: string;
  url: string;
}

const MOST_SMALL = 200_000_000;
const HASHED_BYTES = 4 << 20;

export class HubPush {
  readonly repo: string;
  /** Where people see it. */
  url: string;
  /** It is not there yet: only in a dry run. */
  isNew = false;
  branch: string;
  readonly #token: string;
  readonly #pullRequest: string | undefined;
  #commit: string | undefined;
  #files = new Map<string, HubFile>();
  /** SHA-256 or Git's hash, of what this object has put there. */
  readonly #ours = new Map<string, string>();

  private constructor(repo: string, token: string, { branch = "main", pullRequest }: PushOptions) {
    this.repo = repo;
    this.branch = branch;
    this.#token = token;
    this.#pullRequest = pullRequest;
    this.url = `${hubEndpoint()}/${repo}`;
  }

  /** Makes repository and branch where they are missing. Throws CheckpointError. */
  static async open(repo: string, options: PushOptions = {}): Promise<HubPush> {
    const token = hubToken();
    if (token === undefined) throw noToken(repo);
    const push = new HubPush(repo, token, options);
    await push.#begin(options);
    return push;
  }

  /** What is there, by name. */
  get files(): ReadonlyMap<string, HubFile> {
    return this.#files;
  }

  async #begin({ dryRun = false, isPrivate, signal }: PushOptions): Promise<void> {
    if ((await this.#headOf("main")) === undefined) {
      if (dryRun) {
        this.isNew = true;
        return;
      }
      await this.#createRepo(isPrivate, signal);
    }
    if (this.#pullRequest !== undefined) {
      const found = await this.#openPullRequest(this.#pullRequest);
      if (found !== undefined) this.#follow(found);
    } else if (this.branch !== "main" && (await this.#headOf(this.branch)) === undefined) {
      if (dryRun) return this.refresh("main");
      await this.#createBranch(signal);
    }
    await this.refresh();
  }

  /** Looks at what is there now. Throws CheckpointError "changed" when others have undone what was pushed. */
  async refresh(branch: string = this.branch): Promise<void> {
    const commit = await this.#headOf(branch);
    if (commit === undefined) throw pushFault({ statusCode: 404 }, this.repo);
    const files = await listCommit(this.repo, commit);
    this.#commit = commit;
    this.#files = new Map(files.map((file) => [file.name, file]));
    for (const [name, oid] of this.#ours) {
      const now = this.#files.get(name);
      if (now?.oid === oid) continue;
      const is = now === undefined ? "gone" : `${now.oid.slice(0, 12)}…`;
      const values = `"${printable(name)}" was ${oid.slice(0, 12)}… and is ${is}`;
      const what = `Cannot go on pushing to "${printable(this.repo)}": ${values}, wanted no change by others`;
      throw new CheckpointError("changed", what, { note: "Two pushes to one branch undo each other" });
    }
  }

  /** Whether a file of this name and content is there. Reads it only where names and sizes agree. */
  async holds(file: PushFile): Promise<boolean> {
    const there = this.#files.get(file.name);
    return there !== undefined && there.byteLength === file.byteLength && (await isOf(file, there));
  }

  /**
   * Puts files there, in one commit; those that are there already cost a look. Returns undefined when nothing was to do.
   * Throws CheckpointError, Interrupted.
   */
  async commit(files: readonly PushFile[], options: CommitOptions): Promise<PushedCommit | undefined> {
    let made: PushedCommit | undefined;
    let mustLook = false;
    await retrying(
      async () => {
        requireGoing(options.signal);
        if (mustLook) await this.refresh();
        const missing: PushFile[] = [];
        for (const file of files) if (!(await this.holds(file))) missing.push(file);
        const remove = (options.remove ?? []).filter((name) => this.#files.has(name));
        if (missing.length === 0 && remove.length === 0) return;
        mustLook = true; // an answer may get lost when all is done
        made = await this.#commitOnce(missing, remove, options);
      },
      { signal: options.signal },
    );
    return made;
  }

  async #commitOnce(
    files: readonly PushFile[],
    remove: readonly string[],
    { title, signal, onProgress }: CommitOptions,
  ): Promise<PushedCommit> {
    const { commitIter } = await import("@huggingface/hub");
    const sizes = new Map(files.map(({ name, byteLength }) => [name, byteLength]));
    const sent = new Map<string, number>();
    const tell = (name: string, state: "hashing" | "uploading", bytes: number) => {
      const most = Math.max(state === "uploading" ? (sent.get(name) ?? 0) : 0, bytes);
      if (state === "uploading") sent.set(name, bytes);
      onProgress?.({ name, state, bytes: Math.min(most, sizes.get(name) ?? most) });
    };
    const isNewPullRequest = this.#pullRequest !== undefined && !this.branch.startsWith("refs/pr/");
    const contents = files.map(asOperation);
    // The library listens to its signal for ever: each commit has one of its own.
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal?.addEventListener("abort", abort);
    try {
      const events = commitIter({
        ...{ repo: this.repo, title, branch: this.branch, hubUrl: hubEndpoint(), accessToken: this.#token },
        operations: [...contents, ...remove.map((path) => ({ operation: "delete" as const, path }))],
        ...(this.#commit === undefined ? {} : { parentCommit: this.#commit }),
        ...(isNewPullRequest ? { isPullRequest: true, title: this.#pullRequest! } : {}),
        abortSignal: stop.signal,
        useXet: !isXetDisabled(),
        fetch: uploadFetch({
          onBytes: (name, bytes) => tell(name, "uploading", (sent.get(name) ?? 0) + bytes),
          onHashes: (objects) => requireHashes(files, objects),
        }),
      });
      for (;;) {
        const { done, value } = await events.next();
        if (done) {
          if (!value) throw new Error("the library made no commit");
          this.#take(files, remove, value.commit.oid);
          if (isNewPullRequest) this.#followUrl(value.pullRequestUrl);
          return { oid: value.commit.oid, url: value.commit.url };
        }
        if (value.event !== "fileProgress" || value.state === "error") continue;
        const bytes = value.progress * (sizes.get(value.path) ?? 0);
        if (value.state === "hashing" || bytes > (sent.get(value.path) ?? 0))
          tell(value.path, value.state, bytes);
      }
    } catch (error) {
      throw pushFault(error, this.repo, signal);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Notes what a commit has changed. */
  #take(files: readonly PushFile[], remove: readonly string[], commit: string): void {
    this.#commit = commit;
    for (const name of remove) {
      this.#files.delete(name);
      this.#ours.delete(name);
    }
    for (const { name, byteLength, sha256 } of files) {
      const known = sha256 !== undefined && name.endsWith(".safetensors");
      if (known) this.#ours.set(name, sha256);
      this.#files.set(name, { name, byteLength, oid: sha256 ?? "", isLfs: known, xetHash: undefined });
    }
  }

  #followUrl(url: string | undefined): void {
    const number = /\/discussions\/(\d+)\/?$/.exec(url ?? "")?.[1];
    if (number === undefined)
      throw new RemoteFault(
        "bad-answer",
        `Cannot push to "${printable(this.repo)}": it names no pull request`,
      );
    this.#follow(Number(number));
  }

  /** The commits of a pull request go to a branch of its own. */
  #follow(number: number): void {
    this.branch = `refs/pr/${number}`;
    this.url = `${hubEndpoint()}/${this.repo}/discussions/${number}`;
  }

  /** The commit at a branch's end; undefined where repository or branch is not there. */
  async #headOf(branch: string): Promise<string | undefined> {
    try {
      return await resolveCommit(this.repo, branch);
    } catch (error) {
      if (error instanceof RemoteFault && error.status === 404) return undefined;
      if (error instanceof RemoteFault && (error.status === 401 || error.status === 403))
        throw pushFault({ statusCode: error.status }, this.repo);
      throw error;
    }
  }

  async #createRepo(isPrivate: boolean | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { createRepo } = await import("@huggingface/hub");
    const visibility = isPrivate === undefined ? {} : { visibility: isPrivate ? "private" : "public" };
    const create = async () => {
      try {
        await createRepo({
          ...{ repo: this.repo, hubUrl: hubEndpoint(), accessToken: this.#token, fetch: hubFetch },
          ...(visibility as { visibility?: "private" | "public" }),
        });
      } catch (error) {
        // Made by another meanwhile, or by us when the answer got lost.
        if ((error as { statusCode?: unknown }).statusCode === 409) return;
        throw pushFault(error, this.repo, signal);
      }
    };
    await retrying(create, { signal });
  }

  async #createBranch(signal: AbortSignal | undefined): Promise<void> {
    const { createBranch } = await import("@huggingface/hub");
    try {
      await createBranch({
        ...{ repo: this.repo, branch: this.branch, revision: "main" },
        ...{ hubUrl: hubEndpoint(), accessToken: this.#token, fetch: hubFetch },
      });
    } catch (error) {
      throw pushFault(error, this.repo, signal);
    }
  }

  /** Number of the open pull request with this title. */
  async #openPullRequest(title: string): Promise<number | undefined> {
    const url = `${hubEndpoint()}/api/models/${this.repo}/discussions?type=pull_request&status=open`;
    const answer = await hubFetch(url, { headers: { authorization: `Bearer ${this.#token}` } });
    if (!answer.ok) {
      await answer.body?.cancel();
      throw pushFault({ statusCode: answer.status }, this.repo);
    }
    const found = (await answer.json().catch((error) => {
      throw pushFault(error, this.repo);
    })) as { discussions?: { title?: unknown; num?: unknown; status?: unknown }[] };
    const ours = found.discussions?.find(
      (one) => one.title === title && one.status !== "closed" && one.status !== "merged",
    );
    return Number.isSafeInteger(ours?.num) ? (ours!.num as number) : undefined;
  }
}

/** The library looks at a signal only when it fires. */
function requireGoing(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new Interrupted("The upload was stopped; what is on the Hub stays there");
}

function asOperation({ name, content }: PushFile): {
  operation: "addOrUpdate";
  path: string;
  content: URL | Blob;
} {
  const source = "path" in content ? pathToFileURL(content.path) : new Blob([new Uint8Array(content.bytes)]);
  return { operation: "addOrUpdate", path: name, content: source };
}

/** What the library has hashed must be what was recorded. */
function requireHashes(files: readonly PushFile[], objects: readonly { oid: string; size: number }[]): void {
  const found = new Set(objects.map(({ oid }) => oid));
  const recorded = files.filter(({ sha256, name }) => sha256 !== undefined && name.endsWith(".safetensors"));
  const wrong = recorded.find(({ sha256 }) => !found.has(sha256!));
  if (!wrong) return;
  const known = new Set(files.map(({ sha256 }) => sha256));
  const other = objects.find(({ oid, size }) => size === wrong.byteLength && !known.has(oid))?.oid;
  const what = `its SHA-256 is ${other ?? "another"}, wanted ${wrong.sha256}`;
  throw new CheckpointError("damaged", `Cannot push "${printable(wrong.name)}": ${what}`, {
    note: "It has changed since it was built; chimera verify says where",
  });
}

async function isOf(file: PushFile, { oid, isLfs }: HubFile): Promise<boolean> {
  if (!isLfs) return gitHash(await bytesOf(file)) === oid;
  file.sha256 ??= await sha256Of(file);
  return file.sha256 === oid;
}

async function bytesOf({ name, content, byteLength }: PushFile): Promise<Uint8Array> {
  if ("bytes" in content) return content.bytes;
  const { path } = content;
  const bytes = await openFolder(dirname(path)).readSmall(basename(path), Math.max(byteLength, MOST_SMALL));
  if (bytes) return bytes;
  throw new CheckpointError("missing", `Cannot push "${printable(name)}": it is not there any more`);
}

async function sha256Of({ content, byteLength }: PushFile): Promise<string> {
  const hash = createHash("sha256");
  if ("bytes" in content) return hash.update(content.bytes).digest("hex");
  const source = await openFolder(dirname(content.path)).open(basename(content.path));
  try {
    const buffer = new Uint8Array(Math.min(HASHED_BYTES, byteLength));
    for (let at = 0; at < byteLength; at += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, byteLength - at));
      await source.read(piece, at);
      hash.update(piece);
    }
  } finally {
    await source.close();
  }
  return hash.digest("hex");
}

/** Git's hash of a file, which names what does not lie in LFS. */
function gitHash(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}
