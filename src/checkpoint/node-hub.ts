/**
 * What the Hub's own tools keep on this machine: the token, and the cache of downloads, which is read and never
 * written (stack.md section 6.1): models--org--name/{refs,snapshots/<commit>,blobs}, a snapshot's files being links
 * to blobs, which are named by their ETag.
 */
import * as fs from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";

function hubHome(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env;
  return HF_HOME || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
}

function hubCache(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env;
  return HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(hubHome(), "hub");
}

/** From HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the file at HF_TOKEN_PATH, or that of `hf auth login`. */
export function hubToken(): string | undefined {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HUB_DISABLE_IMPLICIT_TOKEN } = process.env;
  const said = (HF_TOKEN || HUGGING_FACE_HUB_TOKEN || "").trim();
  if (said !== "") return said;
  if (/^(1|true|yes|on)$/i.test(HF_HUB_DISABLE_IMPLICIT_TOKEN ?? "")) return undefined;
  try {
    return fs.readFileSync(HF_TOKEN_PATH || join(hubHome(), "token"), "utf8").trim() || undefined;
  } catch {
    return undefined;
  }
}

/** A file of a snapshot. */
export interface CachedFile {
  name: string;
  byteLength: number;
  /** ETag without quotes; undefined where the cache is without links. */
  etag: string | undefined;
}

/** The commit that a branch or tag had when it was last downloaded. */
export function cachedCommit(repo: string, revision: string): string | undefined {
  try {
    const path = join(repoFolder(repo), "refs", ...revision.split("/"));
    const text = fs.readFileSync(path, "utf8").trim();
    return /^[0-9a-f]{40}$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

export function snapshotFolder(repo: string, commit: string): string {
  return join(repoFolder(repo), "snapshots", commit);
}

function repoFolder(repo: string): string {
  return join(hubCache(), `models--${repo.replaceAll("/", "--")}`);
}

/** Whole files of a snapshot; none where there is no such snapshot. */
export function cachedFiles(repo: string, commit: string): CachedFile[] {
  const folder = snapshotFolder(repo, commit);
  let names: string[];
  try {
    names = fs.readdirSync(folder);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const path = join(folder, name);
    const stat = fs.statSync(path, { throwIfNoEntry: false }); // undefined: a link to a blob that is not there yet
    if (!stat?.isFile()) return [];
    const isLink = fs.lstatSync(path).isSymbolicLink();
    return [{ name, byteLength: stat.size, etag: isLink ? basename(fs.readlinkSync(path)) : undefined }];
  });
}
