/**
 * What is asked of the Hub before bytes are: the commit behind a revision, and the files of a commit with their hashes.
 * Every refusal says what to do about it.
 */
import { CheckpointError } from "../../base/errors.ts";
import { printable } from "../shown.ts";
import { type Ask, RemoteFault, type Reply, readWhole, shownUrl } from "./client.ts";
import { hubEndpoint, hubHeaders } from "./hub-settings.ts";
import { header } from "./reply-headers.ts";

export interface HubFile {
  name: string;
  byteLength: number;
  /** Of the content: SHA-256 of what lies in LFS, the Git blob's hash else. */
  oid: string;
  isLfs: boolean;
  xetHash: string | undefined;
}

/** A tree of 100,000 entries is 30 MB. */
const MOST_JSON = 64 << 20;
/** Pages of a listing; each has a thousand entries or so, and a repository at most 100,000 files. */
const MOST_PAGES = 1000;
const MOST_FILES = 200_000;

/** The commit that a branch, tag or commit names. `silentRetries` as in Ask. Throws CheckpointError. */
export async function resolveCommit(
  repo: string,
  revision: string,
  { silentRetries }: Pick<Ask, "silentRetries"> = {},
): Promise<string> {
  const url = `${hubEndpoint()}/api/models/${repo}/revision/${encodeURIComponent(revision)}`;
  const { value } = await getJson(url, { repo, revision }, { silentRetries });
  const { sha } = (value ?? {}) as { sha?: unknown };
  if (typeof sha === "string" && /^[0-9a-f]{40}$/.test(sha)) return sha;
  throw notTheHub(url, "it names no commit");
}

/** The files at the top of a commit. Throws CheckpointError, also where a listing has no end. */
export async function listCommit(repo: string, commit: string): Promise<HubFile[]> {
  const files: HubFile[] = [];
  let url: string | undefined =
    `${hubEndpoint()}/api/models/${repo}/tree/${commit}?recursive=false&expand=false`;
  const seen = new Set<string>();
  while (url !== undefined) {
    if (seen.has(url)) throw notTheHub(url, "its listing leads back to a page that was read");
    seen.add(url);
    const { value, reply }: { value: unknown; reply: Reply } = await getJson(url, { repo, revision: commit });
    if (!Array.isArray(value)) throw notTheHub(url, "its listing is no list");
    for (const entry of value) {
      const file = fileOf(entry);
      if (file) files.push(file);
    }
    if (files.length > MOST_FILES || seen.size >= MOST_PAGES)
      throw notTheHub(url, `its listing goes on behind ${files.length} files on ${seen.size} pages`);
    url = nextPage(header(reply.headers, "link"), url);
  }
  return files;
}

function fileOf(entry: unknown): HubFile | undefined {
  const { type, path, size, oid, lfs, xetHash } = (entry ?? {}) as Record<string, unknown>;
  if (type !== "file" || typeof path !== "string" || typeof oid !== "string" || path.includes("/"))
    return undefined;
  const large = lfs as { oid?: unknown; size?: unknown } | undefined;
  const byteLength = large?.size ?? size;
  if (!Number.isSafeInteger(byteLength) || (byteLength as number) < 0) return undefined;
  const isLfs = typeof large?.oid === "string" && /^[0-9a-f]{64}$/.test(large.oid);
  return {
    ...{ name: path, byteLength: byteLength as number, oid: isLfs ? (large.oid as string) : oid, isLfs },
    xetHash: typeof xetHash === "string" ? xetHash : undefined,
  };
}

/** The listing goes on at the same server: the token goes along. */
function nextPage(link: string | undefined, from: string): string | undefined {
  const to = /<([^>]+)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
  if (to === undefined) return undefined;
  const url = URL.canParse(to, from) ? new URL(to, from) : undefined;
  if (url?.origin === new URL(from).origin) return url.href;
  throw notTheHub(from, `its listing goes on at "${printable(url?.origin ?? to)}"`);
}

async function getJson(
  url: string,
  about: { repo: string; revision: string },
  { silentRetries }: Pick<Ask, "silentRetries"> = {},
): Promise<{ value: unknown; reply: Reply }> {
  let found: { bytes: Uint8Array; reply: Reply };
  try {
    found = await readWhole(url, {
      headers: { accept: "application/json", ...hubHeaders() },
      limitBytes: MOST_JSON,
      silentRetries,
    });
  } catch (error) {
    throw explained(error, about);
  }
  try {
    return { value: JSON.parse(new TextDecoder().decode(found.bytes)), reply: found.reply };
  } catch {
    throw notTheHub(url, "it answers with what is no JSON");
  }
}

function notTheHub(url: string, what: string): CheckpointError {
  return new CheckpointError("bad-answer", `Cannot read ${shownUrl(url)}: ${what}, wanted the Hub's API`, {
    note: "HF_ENDPOINT says where the Hub is; a proxy or a login page may stand between",
  });
}

/** A fault of readWhole() in the Hub's words. */
function explained(error: unknown, about: { repo: string; revision: string }): unknown {
  if (!(error instanceof RemoteFault) || error.status === undefined || error.reply === undefined)
    return error;
  return hubFault(error.reply, about) ?? error;
}

/** What the Hub means by a status; undefined where it means no more than that. */
export function hubFault(
  { status, headers }: Pick<Reply, "status" | "headers">,
  { repo, revision, name }: { repo: string; revision: string; name?: string },
): RemoteFault | undefined {
  const code = header(headers, "x-error-code");
  const hasToken = hubHeaders().authorization !== undefined;
  const place = `${hubEndpoint()}/${repo}`;
  const fail = (kind: string, what: string, note: string) =>
    new RemoteFault(kind, `Cannot read "${printable(repo)}" on the Hub: ${what}`, { status, note });
  if (code === "GatedRepo") {
    const note = `Accept its terms at ${place}, then ${hasToken ? "use the token of that account" : "set HF_TOKEN"}`;
    return fail("not-authorised", "it is gated, and its terms are not accepted", note);
  }
  if (code === "RevisionNotFound")
    return fail(
      "missing",
      `it has no revision "${printable(revision)}"`,
      `See ${place}/tree/main for its branches`,
    );
  if (code === "EntryNotFound")
    return fail("missing", `it has no file "${printable(name ?? "")}"`, `See ${place}`);
  if (status === 401 || status === 403 || code === "RepoNotFound" || status === 404) {
    if (hasToken && status === 401 && code !== "RepoNotFound")
      return fail("not-authorised", "the token is not taken", "Is HF_TOKEN whole, and has it expired?");
    const note = hasToken
      ? "The token of HF_TOKEN may not read it, or the name is wrong"
      : "Set HF_TOKEN if it is private";
    return fail(
      status === 404 ? "missing" : "not-authorised",
      "there is no such repository, or it is private",
      note,
    );
  }
  return undefined;
}
