/**
 * A Hub of the tests' own on two ports of this machine: one that answers its API, one that holds large files and is
 * redirected to. It counts what it sends and misbehaves on demand.
 */
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { type FaultRule, type LoggedRequest, loggedRequest, sendContent } from "./faults.ts";
import { handleUpload, type Upload } from "./hub-uploads.ts";

export interface HubRepo {
  files: Map<string, Uint8Array | VirtualFile>;
  commit: string;
  branches: Map<string, string>;
  isPrivate: boolean;
  isGated: boolean;
  messages: string[];
  /** Branches with files of their own, "refs/pr/1" for a pull request. */
  sides: Map<string, HubRepo>;
  /** Files of each commit. */
  trees: Map<string, ReadonlyMap<string, Uint8Array | VirtualFile>>;
}

export interface HubOptions {
  /** The one that may read what is private and write. */
  token?: string;
  /** Files from this size on are in LFS. */
  lfsBytes?: number;
  /** Entries of a page of a listing. */
  pageSize?: number;
  /** Parts of an upload; a file of more comes in several. */
  partBytes?: number;
  /** Whether what is uploaded can be read again. Else its hash alone is kept. */
  keepsUploads?: boolean;
}

export const sha256 = (bytes: Uint8Array | VirtualFile): string =>
  (bytes instanceof VirtualFile ? bytes.sha256 : undefined) ??
  createHash("sha256")
    .update(bytes instanceof VirtualFile ? `${bytes.length}:${sha256(bytes.head)}:${bytes.name}` : bytes)
    .digest("hex");

/** A file of any size: behind its head, a block again and again. Where its hash is not told it is none of its content. */
export class VirtualFile {
  readonly head: Uint8Array;
  readonly length: number;
  /** What makes its hash another one than that of a file with the same head. */
  readonly name: string;
  readonly sha256: string | undefined;
  readonly #block: Uint8Array;

  constructor(
    head: Uint8Array,
    length: number,
    {
      name = "",
      block = new Uint8Array(1 << 20),
      sha256: hash,
    }: { name?: string; block?: Uint8Array; sha256?: string } = {},
  ) {
    this.head = head;
    this.length = length;
    this.name = name;
    this.sha256 = hash;
    this.#block = block;
  }

  subarray(from: number, to: number = this.length): Uint8Array {
    const bytes = new Uint8Array(to - from);
    if (from < this.head.length) bytes.set(this.head.subarray(from, to));
    let at = Math.max(from, this.head.length);
    while (at < to) {
      const inBlock = (at - this.head.length) % this.#block.length;
      const run = this.#block.subarray(inBlock, inBlock + to - at);
      bytes.set(run, at - from);
      at += run.length;
    }
    return bytes;
  }
}

/** A file that lies on the disk, perhaps with holes; sent as it is read. */
export class DiskFile extends VirtualFile {
  readonly path: string;

  constructor(path: string, { head, hash }: { head: Uint8Array; hash?: string | undefined }) {
    super(head, statSync(path).size, hash === undefined ? { name: path } : { sha256: hash });
    this.path = path;
  }

  stream(from: number, to: number): Readable {
    return createReadStream(this.path, { start: from, end: to - 1, highWaterMark: 1 << 20 });
  }
}

export function gitHash(bytes: Uint8Array | VirtualFile): string {
  if (bytes instanceof VirtualFile) return sha256(bytes).slice(0, 40);
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

export class TestHub {
  readonly repos: Map<string, HubRepo> = new Map();
  /** Content in LFS, by its hash. */
  readonly blobs: Map<string, Uint8Array | VirtualFile> = new Map();
  readonly log: LoggedRequest[] = [];
  readonly options: Required<HubOptions>;
  rules: FaultRule[] = [];
  readonly uploads: Map<string, Upload> = new Map();
  readonly #servers: Server[] = [];
  url = "";
  cdn = "";

  constructor(options: HubOptions = {}) {
    const usual = {
      token: "hf_test",
      lfsBytes: 4096,
      pageSize: 1000,
      partBytes: 1 << 20,
      keepsUploads: true,
    };
    this.options = { ...usual, ...options };
  }

  async start(): Promise<this> {
    const listen = async (handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>) => {
      const server = createServer((request, response) => {
        handle(request, response).catch((error) => {
          response.destroy(error);
        });
      });
      this.#servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    };
    this.url = await listen((request, response) => this.#handle(request, response));
    this.cdn = await listen((request, response) => this.#serve(request, response));
    return this;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.splice(0)) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** A repository with these files. */
  add(
    name: string,
    files: ReadonlyMap<string, Uint8Array | VirtualFile>,
    { isPrivate = false, isGated = false }: { isPrivate?: boolean; isGated?: boolean } = {},
  ): HubRepo {
    const repo: HubRepo = {
      files: new Map(),
      commit: "",
      branches: new Map(),
      isPrivate,
      isGated,
      messages: [],
      sides: new Map(),
      trees: new Map(),
    };
    this.repos.set(name, repo);
    this.commit(repo, files, "first");
    return repo;
  }

  /** Changes files; the branch moves on. */
  commit(repo: HubRepo, files: ReadonlyMap<string, Uint8Array | VirtualFile>, message: string): string {
    for (const [path, bytes] of files) {
      repo.files.set(path, bytes);
      if (bytes.length >= this.options.lfsBytes) this.blobs.set(sha256(bytes), bytes);
    }
    const hash = createHash("sha1").update(repo.commit).update(message);
    for (const [path, bytes] of [...repo.files].sort()) hash.update(path).update(sha256(bytes));
    repo.commit = hash.digest("hex");
    repo.branches.set("main", repo.commit);
    repo.messages.push(message);
    repo.trees.set(repo.commit, new Map(repo.files));
    return repo.commit;
  }

  /** A branch of its own, with the files of main. */
  branchOff(repo: HubRepo, name: string): HubRepo {
    const side: HubRepo = { ...repo, files: new Map(repo.files), messages: [], branches: new Map() };
    repo.sides.set(name, side);
    return side;
  }

  /** What a revision names: main, or a branch of its own. */
  lineOf(repo: HubRepo, revision: string): HubRepo {
    const sides = [...repo.sides].find(([name, side]) => name === revision || side.commit === revision);
    if (sides || revision === repo.commit) return sides?.[1] ?? repo;
    const tree = repo.trees.get(revision);
    return tree ? { ...repo, commit: revision, files: new Map(tree) } : repo;
  }

  /** Bytes of files that were sent. */
  get sentBytes(): number {
    return this.log.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  forget(): void {
    this.log.length = 0;
  }

  note(request: IncomingMessage): LoggedRequest {
    const logged = loggedRequest(request);
    this.log.push(logged);
    return logged;
  }

  faultOf(logged: LoggedRequest): ReturnType<FaultRule> {
    for (const rule of this.rules) {
      const fault = rule(logged, this.log.length - 1);
      if (fault) return fault;
    }
    return undefined;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const logged = this.note(request);
    const fault = this.faultOf(logged);
    if (fault?.kind === "silent") return;
    if (fault?.kind === "status") {
      response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? "");
      return;
    }
    const { pathname, searchParams } = new URL(request.url ?? "/", this.url);
    if (request.method === "POST" || request.method === "PUT") return handleUpload(this, request, response);
    const talks = /^\/api\/models\/([^/]+\/[^/]+)\/discussions$/.exec(pathname);
    if (talks) {
      const pulls = [...(this.repos.get(talks[1]!)?.sides ?? [])].filter(([name]) =>
        name.startsWith("refs/pr/"),
      );
      const discussions = pulls.map(([name, { messages }]) => {
        return { num: Number(name.slice("refs/pr/".length)), title: messages[0], status: "open" };
      });
      return json(response, { discussions, count: discussions.length, start: 0 });
    }
    const api = /^\/api\/models\/([^/]+\/[^/]+)(?:\/(revision|tree)\/([^/]+))?$/.exec(pathname);
    if (api) return this.#answerApi(api, { searchParams, logged, response });
    const file = /^\/([^/]+\/[^/]+)\/(?:resolve|raw)\/([^/]+)\/(.+)$/.exec(pathname);
    if (!file) return refuse(response, 404, "RepoNotFound");
    const whole = this.#access(file[1]!, logged, response);
    if (!whole) return;
    const repo = this.lineOf(whole, decodeURIComponent(file[2]!));
    const content = this.#contentOf(
      repo,
      decodeURIComponent(file[2]!),
      decodeURIComponent(file[3]!),
      response,
    );
    if (!content) return;
    const common = { "x-repo-commit": repo.commit };
    if (content.length < this.options.lfsBytes) {
      for (const [key, value] of Object.entries(common)) response.setHeader(key, value);
      return sendContent(request, response, { content, etag: gitHash(content), fault, logged });
    }
    const hash = sha256(content);
    response.writeHead(302, {
      ...common,
      location: `${this.cdn}/blobs/${hash}?X-Signature=secret`,
      "x-linked-size": content.length,
      "x-linked-etag": `"${hash}"`,
    });
    response.end();
  }

  #answerApi(
    [, name, kind, rev]: RegExpExecArray,
    {
      searchParams,
      logged,
      response,
    }: { searchParams: URLSearchParams; logged: LoggedRequest; response: ServerResponse },
  ): void {
    const whole = this.#access(name!, logged, response, { isListing: true });
    if (!whole) return;
    const repo = this.lineOf(whole, decodeURIComponent(rev ?? "main"));
    const commit = this.#commitOf(repo, decodeURIComponent(rev ?? "main"));
    if (commit === undefined) {
      refuse(response, 404, "RevisionNotFound");
      return;
    }
    if (kind !== "tree") {
      const info = { _id: "1", id: name, sha: commit, private: repo.isPrivate, gated: repo.isGated };
      json(response, { ...info, downloads: 0, likes: 0, lastModified: "2026-01-01T00:00:00.000Z" });
      return;
    }
    const entries = [...repo.files].map(([path, bytes]) => {
      const isLfs = bytes.length >= this.options.lfsBytes;
      const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 134 };
      return { type: "file", path, size: bytes.length, oid: gitHash(bytes), ...(isLfs ? { lfs } : {}) };
    });
    const from = Number(searchParams.get("cursor") ?? 0);
    const to = from + this.options.pageSize;
    if (to < entries.length) {
      const next = `${this.url}/api/models/${name}/tree/${commit}?cursor=${to}`;
      response.setHeader("link", `<${next}>; rel="next"`);
    }
    json(response, entries.slice(from, to));
  }

  #access(
    name: string,
    { authorization }: LoggedRequest,
    response: ServerResponse,
    { isListing = false } = {},
  ): HubRepo | undefined {
    const repo = this.repos.get(name);
    const isKnown = authorization === `Bearer ${this.options.token}`;
    if (authorization !== undefined && !isKnown) refuse(response, 401, "");
    else if (!repo) refuse(response, isKnown ? 404 : 401, "RepoNotFound");
    else if (repo.isPrivate && !isKnown) refuse(response, 401, "RepoNotFound");
    else if (repo.isGated && !isKnown && !isListing) refuse(response, 401, "GatedRepo");
    else return repo;
    return undefined;
  }

  #commitOf(repo: HubRepo, revision: string): string | undefined {
    if (repo.sides.get(revision) === repo) return repo.commit;
    return revision === repo.commit ? revision : repo.branches.get(revision);
  }

  #contentOf(
    repo: HubRepo,
    revision: string,
    path: string,
    response: ServerResponse,
  ): Uint8Array | VirtualFile | undefined {
    if (this.#commitOf(repo, revision) === undefined) refuse(response, 404, "RevisionNotFound");
    else if (!repo.files.has(path)) refuse(response, 404, "EntryNotFound");
    else return repo.files.get(path);
    return undefined;
  }

  /** The server of large files: a signed URL is all that it asks for. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const logged = this.note(request);
    const fault = this.faultOf(logged);
    if (fault?.kind === "silent") return;
    if (fault?.kind === "status") {
      response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? "");
      return;
    }
    if (request.method === "PUT") return handleUpload(this, request, response);
    const { pathname, searchParams } = new URL(request.url ?? "/", this.cdn);
    const content = this.blobs.get(pathname.slice("/blobs/".length));
    if (searchParams.get("X-Signature") !== "secret" || !content) return refuse(response, 403, "");
    await sendContent(request, response, { content, etag: sha256(content).slice(0, 32), fault, logged });
  }
}

export function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    ...(code ? { "x-error-code": code } : {}),
  });
  response.end(JSON.stringify({ error: code || "not for you" }));
}
