/**
 * From a location, as people write it, to the store behind it. The one place that knows the kinds of
 * locations; workers get locations and open their own stores.
 */
import { basename, dirname, resolve } from "node:path";
import { BuildError, CheckpointError } from "../base/errors.ts";
import type { OpenOptions } from "./checkpoint.ts";
import { namesGguf, openGgufStore } from "./gguf-store.ts";
import { asSingleFile, fileExists, folderExists } from "./node.ts";
import { openOutputFolder } from "./node-output.ts";
import { FolderStore, openFolder } from "./node-source.ts";
import { HttpStore } from "./remote/http-store.ts";
import { HubStore, parseHubPlace } from "./remote/hub-store.ts";
import { S3Output } from "./remote/s3-output.ts";
import { S3Store } from "./remote/s3-store.ts";
import { printable, publicLocation } from "./shown.ts";
import type { OutputStore, Store } from "./source.ts";

const SCHEME = /^([a-z][a-z0-9+.-]+):/i; // two letters at least: one is a drive
const WANTED = "wanted a folder, hf:ORG/NAME, https:// or s3://";

/** Stores of pinned commits, which never change: their listings are asked for once a thread. */
const pinned = new Map<string, HubStore>();

/** A store to read. Nothing is asked of it yet; whether it exists is seen when it is used. */
export function openStore(location: string): Store {
  if (location === "") throw fault("missing", location, `it is empty, ${WANTED}`);
  const scheme = SCHEME.exec(location)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined: {
      if (isGgufFile(location)) return openGguf(location);
      const place = folderExists(location) ? undefined : parseHubPlace(location);
      return place ? new HubStore(place, { isGuess: true }) : openFolder(location);
    }
    case "hf": {
      const gguf = /^(hf:(?:\/\/)?[^/]+\/[^/]+)\/([^/]+)$/i.exec(location);
      if (!gguf || !namesGguf(location)) return openHub(location);
      return openGgufStore(undefined, { folder: openHub(gguf[1]!), file: gguf[2]! });
    }
    case "http":
    case "https": {
      const gguf = /^(https?:\/\/[^?#]+)\/([^/?#]+\.gguf)([?#].*)?$/i.exec(location);
      if (gguf) {
        const folder = new HttpStore(gguf[1]! + (gguf[3] ?? ""));
        return openGgufStore(location, { folder, file: decodedName(gguf[2]!) });
      }
      const one = urlOfFile(location);
      return one ? new HttpStore(one.folder, { only: one.name }) : new HttpStore(location);
    }
    case "s3": {
      const gguf = /^(s3:\/\/.+)\/([^/]+\.gguf)$/i.exec(location);
      if (gguf) return openGgufStore(location, { folder: new S3Store(gguf[1]!), file: gguf[2]! });
      return new S3Store(location);
    }
    default:
      throw fault("unknown-scheme", location, `"${scheme}:" is not known, ${WANTED}`);
  }
}

/** The location with its commit, where it has one: several threads that open it open the same. */
export async function pinnedLocation(location: string): Promise<string> {
  const store = openStore(location);
  if (store instanceof FolderStore || store.location === location) return location;
  await store.list(); // of a branch the commit is asked for
  return store.location;
}

/** Throws CheckpointError when nothing is there; opens no model. */
export async function requireLocation(location: string): Promise<void> {
  if (fileExists(location)) return;
  const store = openStore(location);
  if (!(store instanceof FolderStore)) await store.list();
  else throw fault("missing", location, "there is no such file or folder");
}

/** Whether a text may be ORG/NAME or ORG/NAME@REVISION of the Hub. */
export function isHubPlace(text: string): boolean {
  return parseHubPlace(text) !== undefined;
}

/** The URL of one file of a checkpoint: its folder, with the query, and its name; an index stands for its folder. */
function urlOfFile(location: string): { folder: string; name?: string } | undefined {
  const url = /^(https?:\/\/[^?#]+)\/([^/?#]+\.(?:safetensors|index\.json))([?#].*)?$/i.exec(location);
  if (!url) return undefined;
  const [, folder, name, query = ""] = url;
  const of = folder! + query;
  return /\.json$/i.test(name!) ? { folder: of } : { folder: of, name: decodedName(name!) };
}

/** A "%" may begin no escape. */
function decodedName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function openHub(location: string): Store {
  const place = parseHubPlace(location.replace(/^hf:(\/\/)?/i, ""));
  if (!place)
    throw fault("bad-url", location, "it names no repository, wanted hf:ORG/NAME or hf:ORG/NAME@REVISION");
  const known = pinned.get(location);
  if (known) return known;
  const store = new HubStore(place);
  if (store.isPinned) pinned.set(location, store);
  return store;
}

function fault(code: string, location: string, what: string): CheckpointError {
  return new CheckpointError(code, `Cannot open "${printable(publicLocation(location))}": ${what}`);
}

/** A folder may be called so, too. */
function isGgufFile(location: string): boolean {
  return namesGguf(location) && !SCHEME.test(location) && !folderExists(location);
}

function openGguf(location: string): Store {
  const path = resolve(location);
  return openGgufStore(path, { folder: openFolder(dirname(path)), file: basename(path) });
}

/** A store to write. `staging`: where files are put together that go to another machine; default: the system's own. */
export function openOutput(
  location: string,
  { staging }: { staging?: string | undefined } = {},
): OutputStore {
  const scheme = SCHEME.exec(location)?.[1];
  if (location !== "" && scheme === undefined) return openOutputFolder(location);
  if (scheme?.toLowerCase() === "s3") return new S3Output(location, { staging });
  const what = scheme ? `"${scheme}:" cannot be written` : "it is empty";
  throw new BuildError(
    scheme ? "unknown-scheme" : "missing",
    `Cannot build in "${printable(publicLocation(location))}": ${what}, wanted a folder or s3://`,
  );
}

/** A store and, when the location is one file of it, which: for commands that take either. */
export function openLocation(location: string): { store: Store; options: OpenOptions } {
  const one = urlOfFile(location);
  if (one) {
    const only = one.name === undefined ? {} : { only: one.name };
    return { store: new HttpStore(one.folder, only), options: only };
  }
  const object = /^(s3:\/\/.+)\/([^/]+\.(?:safetensors|index\.json))$/i.exec(location);
  if (object) {
    const [, folder, only] = object;
    return { store: new S3Store(folder!, { only }), options: { only: only! } };
  }
  if (isGgufFile(location)) return { store: openGguf(location), options: {} };
  const file = SCHEME.test(location) ? undefined : asSingleFile(location);
  if (file) return { store: openFolder(file.folder), options: { only: file.name } };
  return { store: openStore(location), options: {} };
}
