/**
 * A repository of the Hub as a store. Its revision is pinned to a commit when it is first asked for, and the location
 * names that commit from then on: a plan made from a branch builds the same child when the branch has moved.
 *
 * Files that the Hub's own cache holds are read from there. A file's identity is its hash, wherever it is read.
 */
import { createHash } from "node:crypto";
import { CheckpointError } from "../../base/errors.ts";
import { cachedCommit, cachedFiles, snapshotFolder } from "../node-hub.ts";
import { openFolder } from "../node-source.ts";
import { printable } from "../shown.ts";
import type { Source, Store, StoreEntry } from "../source.ts";
import { RemoteFault, readWhole } from "./client.ts";
import { type HubFile, hubFault, listCommit, resolveCommit } from "./hub-api.ts";
import { hubEndpoint, hubHeaders, isHubOffline, isXetDisabled } from "./hub-settings.ts";
import { PulledList } from "./pulled-list.ts";
import { remoteName } from "./remote-name.ts";
import { RemoteSource } from "./remote-source.ts";
import { XetReader } from "./xet-reader.ts";

export interface HubPlace {
  /** ORG/NAME */
  repo: string;
  /** Branch, tag or commit. */
  revision: string;
}

const HASH = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
const COMMIT = /^[0-9a-f]{40}$/;
const REPO = /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/;
const REVISION = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/;

/** "ORG/NAME" or "ORG/NAME@REVISION"; undefined for what is neither. */
export function parseHubPlace(text: string): HubPlace | undefined {
  const at = text.indexOf("@");
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? "main" : text.slice(at + 1);
  return REPO.test(repo) && REVISION.test(revision) ? { repo, revision } : undefined;
}

interface Snapshot {
  commit: string;
  files: Map<string, HubFile>;
  /** Names of files that lie in the Hub's cache. */
  cached: ReadonlySet<string>;
}

export class HubStore implements Store {
  readonly label: string;
  readonly #place: HubPlace;
  readonly #isGuess: boolean;
  readonly #pulled: PulledList = new PulledList(this);
  #snapshot: Promise<Snapshot> | undefined;
  #commit: string | undefined;

  /** `isGuess`: it was written as a folder might be, and none is there. */
  constructor(place: HubPlace, { isGuess = false }: { isGuess?: boolean } = {}) {
    this.#place = place;
    this.#isGuess = isGuess;
    this.label = place.repo.slice(place.repo.indexOf("/") + 1);
    if (COMMIT.test(place.revision)) this.#commit = place.revision;
  }

  /** Whether its commit is known, so that it never changes. */
  get isPinned(): boolean {
    return this.#commit !== undefined;
  }

  get location(): string {
    return `hf:${this.#place.repo}@${this.#commit ?? this.#place.revision}`;
  }

  async list(): Promise<StoreEntry[]> {
    const { files } = await this.#open();
    return [...files.values()].map(({ name, byteLength }) => ({ name, byteLength }));
  }

  async open(name: string): Promise<Source> {
    const file = await this.#fileOf(name);
    const { commit, cached } = await this.#open();
    const identity = `${file.byteLength}:${file.oid}`;
    if (cached.has(name))
      return withIdentity(await openFolder(snapshotFolder(this.#place.repo, commit)).open(name), identity);
    const sha256 = file.isLfs ? file.oid : undefined;
    const remote = {
      ...{ name, byteLength: file.byteLength, url: this.#urlOf(name, commit), linkedEtag: file.oid },
      headers: ({ headers }: { headers: Record<string, string> }) => ({ ...headers, ...hubHeaders() }),
      explain: (reply: Parameters<typeof hubFault>[0]) => hubFault(reply, { ...this.#place, name }),
    };
    const isXet = file.xetHash !== undefined && !isXetDisabled();
    const reader = isXet ? new XetReader(this.#place.repo, { commit, name }) : undefined;
    const source = new RemoteSource({ file: remote, identity, sha256, ...(reader ? { reader } : {}) });
    return this.#pulled.guard(source, this.location);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const { commit, files, cached } = await this.#open();
    const file = files.get(name);
    if (!file) return undefined;
    if (cached.has(name))
      return openFolder(snapshotFolder(this.#place.repo, commit)).readSmall(name, limitBytes);
    try {
      const url = this.#urlOf(name, commit);
      const { bytes } = await readWhole(url, { headers: hubHeaders(), limitBytes });
      requireContent(bytes, file, this.location);
      return bytes;
    } catch (error) {
      const fault =
        error instanceof RemoteFault && error.reply && hubFault(error.reply, { ...this.#place, name });
      throw fault || error;
    }
  }

  async #fileOf(name: string): Promise<HubFile> {
    const file = (await this.#open()).files.get(name);
    if (file) return file;
    const what = `Cannot open "${printable(name)}" of "${printable(this.location)}": it is not there`;
    throw new CheckpointError("missing", what);
  }

  #urlOf(name: string, commit: string): string {
    return `${hubEndpoint()}/${this.#place.repo}/resolve/${commit}/${remoteName(name, this.location)}`;
  }

  #open(): Promise<Snapshot> {
    this.#snapshot ??= this.#load().catch((error) => {
      this.#snapshot = undefined;
      const told = this.#hinted(error);
      throw this.#isGuess ? guessed(told, this.#place.repo) : told;
    });
    return this.#snapshot;
  }

  /** A branch may have moved since: what the cache holds is for the user to choose, not a stand-in for a Hub that is away. */
  #hinted(error: unknown): unknown {
    if (!(error instanceof RemoteFault) || error.code !== "unreachable") return error;
    const { repo, revision } = this.#place;
    const commit = this.#commit ?? cachedCommit(repo, revision);
    if (commit === undefined || cachedFiles(repo, commit).length === 0) return error;
    const note = `The Hub's cache holds files of its commit ${commit.slice(0, 12)}: HF_HUB_OFFLINE=1 reads these`;
    return new CheckpointError(error.code, error.message, { note, cause: error });
  }

  async #load(): Promise<Snapshot> {
    const { repo, revision } = this.#place;
    if (isHubOffline()) return this.#loadCached();
    // Nobody is to wait half a minute for a line that is not there to hear that a folder's name is mistyped.
    const patience = this.#isGuess ? { silentRetries: 1 } : {};
    const commit = this.#commit ?? (await resolveCommit(repo, revision, patience));
    const files = new Map((await listCommit(repo, commit)).map((file) => [file.name, file]));
    this.#commit = commit;
    const isSame = ({ name, byteLength, etag }: ReturnType<typeof cachedFiles>[number]) => {
      const file = files.get(name);
      return file?.byteLength === byteLength && (etag === undefined || etag === file.oid);
    };
    const cached = new Set(
      cachedFiles(repo, commit)
        .filter(isSame)
        .map(({ name }) => name),
    );
    return { commit, files, cached };
  }

  #loadCached(): Snapshot {
    const { repo, revision } = this.#place;
    const commit = this.#commit ?? cachedCommit(repo, revision);
    const found = commit === undefined ? [] : cachedFiles(repo, commit);
    if (commit === undefined || found.length === 0) {
      const what = `Cannot read "${printable(repo)}": revision "${printable(revision)}" is not in the Hub's cache`;
      throw new CheckpointError("missing", what, { note: "HF_HUB_OFFLINE is set: unset it to ask the Hub" });
    }
    this.#commit = commit;
    const files = found.map(({ name, byteLength, etag }): [string, HubFile] => [
      name,
      { name, byteLength, oid: etag ?? "cached", isLfs: false, xetHash: undefined },
    ]);
    return { commit, files: new Map(files), cached: new Set(found.map(({ name }) => name)) };
  }
}

/** A login page or a proxy's notice may come in place of a file: it is what the listing says, or an error. */
function requireContent(
  bytes: Uint8Array,
  { name, byteLength, oid, isLfs }: HubFile,
  location: string,
): void {
  const hash = createHash(isLfs ? "sha256" : "sha1");
  if (!isLfs) hash.update(`blob ${bytes.length}\0`);
  const found = hash.update(bytes).digest("hex");
  if (bytes.length === byteLength && (found === oid || !HASH.test(oid))) return;
  const what = `${bytes.length} bytes with hash ${found} came, wanted ${byteLength} with ${printable(oid)}`;
  throw new CheckpointError("damaged", `Cannot use "${printable(name)}" of "${location}": ${what}`, {
    note: "It was damaged on its way, or a proxy or a login page stands between; run the same command again",
  });
}

/** There may be no network at all where somebody mistyped the name of a folder. */
function guessed(error: unknown, text: string): unknown {
  if (!(error instanceof CheckpointError)) return error;
  const what = `Cannot open "${printable(text)}": there is no such file or folder; and as a repository: ${error.message}`;
  return new CheckpointError("missing", what, error.note === undefined ? {} : { note: error.note });
}

/** The same source under another identity: a cached file is the file of the commit. */
function withIdentity(source: Source, identity: string): Source {
  return {
    name: source.name,
    byteLength: source.byteLength,
    identity,
    alignment: source.alignment,
    read: (into, offset) => source.read(into, offset),
    checkUnchanged: () => source.checkUnchanged(),
    close: () => source.close(),
  };
}
