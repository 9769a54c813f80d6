/** What the tests' Hub is asked when something is pushed: new repositories, LFS uploads, commits. */
import { createHash, type Hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { json, refuse, sha256, type TestHub, VirtualFile } from "./hub-server.ts";

export interface Upload {
  oid: string;
  size: number;
  /** Parts that have come, where it comes in several; of what is not kept, those that wait to be hashed. */
  parts: Map<number, Uint8Array>;
  /** Of what is not kept. */
  hashed: { hash: Hash; parts: number; bytes: number } | undefined;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export async function handleUpload(
  hub: TestHub,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", hub.url);
  const body = await bodyOf(request);
  const part = /^\/upload\/([0-9a-f]{64})(?:\/(\d+))?$/.exec(pathname);
  if (part && request.method === "PUT") {
    const upload = hub.uploads.get(part[1]!);
    if (searchParams.get("X-Signature") !== "secret" || !upload) return refuse(response, 403, "");
    upload.parts.set(Number(part[2] ?? 1), body);
    hashParts(upload);
    if (part[2] === undefined) finish(hub, upload);
    response.writeHead(200, { etag: `"${sha256(body).slice(0, 32)}"` }).end();
    return;
  }
  if (/^\/upload\/[0-9a-f]{64}\/complete$/.test(pathname)) {
    const upload = hub.uploads.get(pathname.split("/")[2]!)!;
    finish(hub, upload);
    return json(response, {});
  }
  if (request.headers.authorization !== `Bearer ${hub.options.token}`) return refuse(response, 401, "");
  const text = body.toString("utf8");
  if (pathname === "/api/repos/create") {
    const { name, organization, visibility } = JSON.parse(text);
    const id = organization ? `${organization}/${name}` : name;
    if (hub.repos.has(id)) return json(response, { error: "You already created this model repo" }, 409);
    hub.add(id, new Map([[".gitattributes", Buffer.from("*.safetensors filter=lfs\n")]]), {
      isPrivate: visibility === "private",
    });
    return json(response, { url: `${hub.url}/${id}`, id });
  }
  const api = /^\/api\/models\/([^/]+\/[^/]+)\/(preupload|commit|branch)\/([^/]+)$/.exec(pathname);
  const batch = /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(pathname);
  const repo = hub.repos.get(api?.[1] ?? batch?.[1] ?? "");
  if (!repo) return refuse(response, 404, "RepoNotFound");
  if (batch)
    return json(response, { transfer: "basic", objects: JSON.parse(text).objects.map(actionFor(hub)) });
  if (api?.[2] === "preupload") {
    const files = JSON.parse(text).files.map(({ path, size }: { path: string; size: number }) => ({
      path,
      uploadMode: size >= hub.options.lfsBytes ? "lfs" : "regular",
      shouldIgnore: false,
    }));
    return json(response, { files });
  }
  const revision = decodeURIComponent(api?.[3] ?? "main");
  if (api?.[2] === "branch") {
    hub.branchOff(repo, revision);
    return json(response, {});
  }
  if (revision !== "main" && !repo.sides.has(revision)) return refuse(response, 404, "RevisionNotFound");
  if (api?.[2] === "commit") return commit(hub, api[1]!, { text, searchParams, response, revision });
  refuse(response, 404, "");
}

/** Parts come in any order; those whose turn it is are hashed and let go. */
function hashParts({ parts, hashed }: Upload): void {
  if (!hashed) return;
  for (let next = parts.get(hashed.parts + 1); next; next = parts.get(hashed.parts + 1)) {
    hashed.hash.update(next);
    hashed.bytes += next.length;
    parts.delete(++hashed.parts);
  }
}

function finish(hub: TestHub, { oid, parts, hashed }: Upload): void {
  if (hashed) {
    const found = hashed.hash.digest("hex");
    if (found === oid) hub.blobs.set(oid, new VirtualFile(new Uint8Array(), hashed.bytes, { sha256: found }));
    return;
  }
  const content = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, bytes]) => bytes));
  if (sha256(content) === oid) hub.blobs.set(oid, content);
}

function actionFor(hub: TestHub): (object: { oid: string; size: number }) => unknown {
  return ({ oid, size }) => {
    if (hub.blobs.has(oid)) return { oid, size };
    const { partBytes, keepsUploads } = hub.options;
    const hashed = keepsUploads ? undefined : { hash: createHash("sha256"), parts: 0, bytes: 0 };
    hub.uploads.set(oid, { oid, size, parts: new Map(), hashed });
    const url = `${hub.cdn}/upload/${oid}`;
    if (size <= partBytes) return { oid, size, actions: { upload: { href: `${url}?X-Signature=secret` } } };
    const parts = Math.ceil(size / partBytes);
    const header: Record<string, string> = { chunk_size: String(partBytes) };
    for (let i = 1; i <= parts; i++) header[String(i).padStart(5, "0")] = `${url}/${i}?X-Signature=secret`;
    return { oid, size, actions: { upload: { href: `${hub.url}/upload/${oid}/complete`, header } } };
  };
}

function commit(
  hub: TestHub,
  name: string,
  {
    text,
    searchParams,
    response,
    revision,
  }: { text: string; searchParams: URLSearchParams; response: ServerResponse; revision: string },
): void {
  const main = hub.repos.get(name)!;
  let repo = hub.lineOf(main, revision);
  const files = new Map<string, Uint8Array | VirtualFile>();
  const deleted: string[] = [];
  let summary = "";
  for (const line of text.split("\n").filter((some) => some.trim() !== "")) {
    const { key, value } = JSON.parse(line);
    if (key === "header") {
      if (value.parentCommit && value.parentCommit !== repo.commit) {
        refuse(response, 412, "");
        return;
      }
      summary = value.summary;
    } else if (key === "file") files.set(value.path, Buffer.from(value.content, value.encoding));
    else if (key === "lfsFile") {
      const content = hub.blobs.get(value.oid);
      if (!content) {
        json(response, { error: `no LFS object ${value.oid}` }, 400);
        return;
      }
      files.set(value.path, content);
    } else if (key === "deletedFile") deleted.push(value.path);
  }
  const isPr = searchParams.get("create_pr") === "1";
  const number = main.sides.size + 1;
  if (isPr) repo = hub.branchOff(main, `refs/pr/${number}`);
  for (const path of deleted) repo.files.delete(path);
  const oid = hub.commit(repo, files, summary);
  const url = `${hub.url}/${name}/commit/${oid}`;
  json(response, {
    commitOid: oid,
    commitUrl: url,
    hookOutput: "",
    ...(isPr ? { pullRequestUrl: `${hub.url}/${name}/discussions/${number}` } : {}),
  });
}
