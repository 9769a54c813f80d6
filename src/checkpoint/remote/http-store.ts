/**
 * A folder of an ordinary web server as a store. It cannot be listed, so its index says what shards there are, and of
 * the other files those are asked for that a checkpoint may have.
 */
import { CheckpointError } from "../../base/errors.ts";
import { mapLimited } from "../../base/map-limited.ts";
import { PULLED_NAME } from "../pulled.ts";
import { INDEX_NAME, MAX_INDEX_BYTES, parseShardIndex } from "../shard-index.ts";
import { publicLocation } from "../shown.ts";
import type { Source, Store, StoreEntry } from "../source.ts";
import {
  faultOfStatus,
  RemoteFault,
  type Reply,
  readWhole,
  remoteClient,
  retrying,
  shownUrl,
} from "./client.ts";
import { PulledList } from "./pulled-list.ts";
import { bare } from "./range-reader.ts";
import { remoteName } from "./remote-name.ts";
import { RemoteSource } from "./remote-source.ts";
import { header } from "./reply-headers.ts";

/** Files beside the shards that a checkpoint may have. */
const SIDE_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "chat_template.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "configuration_deepseek.py",
  "modeling_deepseek.py",
  "chimera.json",
  PULLED_NAME,
  "LICENSE",
  "README.md",
];
const ONE_FILE = "model.safetensors";
/** Asked for on the chance that they are there. */
const GUESSES = new Set([ONE_FILE, ...SIDE_FILES]);
/** Questions that are under way at a time. */
const ASKING = 8;

interface Known {
  byteLength: number;
  /** ETag, or the time of change where there is none. */
  version: string;
  etag: string | undefined;
  lastModified: string | undefined;
}

export class HttpStore implements Store {
  /** Without a slash at its end. */
  readonly location: string;
  readonly label: string;
  readonly #query: string;
  readonly #only: string | undefined;
  readonly #headers: Record<string, string>;
  readonly #known = new Map<string, Promise<Known | undefined>>();
  readonly #pulled: PulledList = new PulledList(this);

  /** `only`: the one file that there is. A query goes along with every name. Throws CheckpointError "bad-url". */
  constructor(text: string, { only }: { only?: string | undefined } = {}) {
    const url = parseUrl(text);
    this.#query = url.search;
    this.#only = only;
    const { username, password } = url;
    const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString(
      "base64",
    );
    this.#headers = username === "" ? {} : { authorization: `Basic ${basic}` };
    this.location = text.split(/[?#]/)[0]!.replace(/\/+$/, "") + this.#query;
    const last = decodeURIComponent(url.pathname.split("/").findLast((part) => part !== "") ?? url.host);
    this.label = last.replace(/[/\\\0]|^\.+$/g, "_"); // folders are called so
  }

  async list(): Promise<StoreEntry[]> {
    const names = this.#only === undefined ? await this.#names() : [this.#only, ...SIDE_FILES];
    let refusal: unknown;
    const found = await mapLimited(names, ASKING, async (name) => {
      const known = await this.#look(name).catch((error) => {
        if (!isRefusal(error) || !GUESSES.has(name)) throw error;
        refusal = error;
        return undefined;
      });
      return known && { name, byteLength: known.byteLength };
    });
    const entries = found.filter((entry) => entry !== undefined);
    if (entries.length === 0 && refusal !== undefined) throw refusal;
    if (!entries.some(({ name }) => name.endsWith(".safetensors") || name === INDEX_NAME)) {
      const what = `Cannot open ${shownUrl(this.location)}: it has neither ${INDEX_NAME} nor model.safetensors`;
      throw new CheckpointError("missing", what, {
        note: "A folder of a web server is known by these files",
      });
    }
    return entries;
  }

  async #names(): Promise<string[]> {
    const index = await this.readSmall(INDEX_NAME, MAX_INDEX_BYTES).catch((error) => {
      if (!isRefusal(error)) throw error;
    });
    if (index === undefined) return [ONE_FILE, ...SIDE_FILES];
    const { weightMap } = parseShardIndex(index, `${this.label}/${INDEX_NAME}`);
    return [INDEX_NAME, ...new Set(weightMap.values()), ...SIDE_FILES];
  }

  async open(name: string): Promise<Source> {
    const known = await this.#look(name);
    if (!known) {
      const what = `Cannot open ${shownUrl(this.#urlOf(name))}: there is no such file`;
      throw new CheckpointError("missing", what);
    }
    const { byteLength, version, etag, lastModified } = known;
    const source = new RemoteSource({
      file: {
        ...{ name, byteLength, url: this.#urlOf(name), etag, lastModified },
        headers: ({ headers }) => ({ ...headers, ...this.#headers }),
      },
      identity: `${byteLength}:${version}`,
      isUnversioned: version === "",
      checkUnchanged: async () => {
        this.#known.delete(name);
        const now = await this.#look(name);
        if (now?.byteLength === byteLength && now.version === version) return;
        const is = now ? `${now.byteLength}:${now.version}` : "gone";
        const values = `length and version were ${byteLength}:${version} and are ${is}`;
        const what = `Cannot go on reading ${shownUrl(this.#urlOf(name))}: ${values}, wanted no change`;
        throw new CheckpointError("changed", what, { note: "Plan again when it is complete" });
      },
    });
    return this.#pulled.guard(source, shownUrl(this.location));
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    try {
      return (await readWhole(this.#urlOf(name), { headers: this.#headers, limitBytes })).bytes;
    } catch (error) {
      if (error instanceof RemoteFault && error.code === "missing") return undefined;
      throw error;
    }
  }

  #urlOf(name: string): string {
    return `${this.location.slice(0, this.location.length - this.#query.length)}/${remoteName(name, publicLocation(this.location))}${this.#query}`;
  }

  /** What the server says of a file; undefined when there is none. */
  #look(name: string): Promise<Known | undefined> {
    let known = this.#known.get(name);
    if (!known) {
      known = this.#ask(this.#urlOf(name));
      this.#known.set(name, known);
      known.catch(() => this.#known.delete(name));
    }
    return known;
  }

  async #ask(url: string): Promise<Known | undefined> {
    return retrying(async () => {
      let reply = await remoteClient().send(url, { method: "HEAD", headers: this.#headers });
      reply.cancel();
      if (reply.status === 405 || reply.status === 501 || reply.status === 403) {
        // Signed URLs and some servers know GET alone.
        reply = await remoteClient().send(url, { headers: { ...this.#headers, range: "bytes=0-0" } });
        reply.cancel();
      }
      const { status } = reply;
      if (status === 404 || status === 410) return undefined;
      if (status !== 200 && status !== 206) throw faultOfStatus(reply);
      const total = /\/(\d+)$/.exec(header(reply.headers, "content-range") ?? "")?.[1];
      const length = status === 206 ? total : header(reply.headers, "content-length");
      if (length === undefined || !/^\d{1,15}$/.test(length)) throw withoutLength(reply);
      const etag = header(reply.headers, "etag");
      const lastModified = etag === undefined ? header(reply.headers, "last-modified") : undefined;
      const version = etag === undefined ? (lastModified ?? "") : bare(etag);
      return { byteLength: Number(length), version, etag, lastModified };
    });
  }
}

/** Object stores answer 403 for what is not there to whoever may not list, and a signature is good for one file. */
function isRefusal(error: unknown): boolean {
  return error instanceof RemoteFault && error.code === "not-authorised";
}

function withoutLength({ url }: Reply): RemoteFault {
  return new RemoteFault(
    "bad-answer",
    `Cannot read ${shownUrl(url)}: the server does not tell its length, wanted it`,
  );
}

function parseUrl(text: string): URL {
  try {
    const url = new URL(text);
    for (const part of [url.pathname, url.username, url.password]) decodeURIComponent(part);
    if (/^https?:$/.test(url.protocol)) return url;
  } catch {
    // told below
  }
  throw new CheckpointError("bad-url", `Cannot open ${shownUrl(text)}: it is no URL, wanted https://…`);
}
