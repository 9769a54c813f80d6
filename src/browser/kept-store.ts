/**
 * Children that a visitor keeps: folders in the browser's private storage (OPFS), found again by later visits.
 * chimera.json is written last, as a build does; a folder without it is none.
 */

import { BuildError, CheckpointError } from "../base/errors.ts";
import { CHILD_NAME } from "../build/child.ts";
import type { Source, Store, StoreEntry } from "../checkpoint/source.ts";

const FOLDER = "chimera-children";
const PREFIX = "/kept/";
/** Read and written at a time. */
const COPY_BYTES = 4 << 20;

/** In a dedicated worker only; the library of a page's types does not have it. */
interface SyncAccess {
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}
type SyncFile = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncAccess> };
type Listed = FileSystemDirectoryHandle & { entries(): AsyncIterable<[string, FileSystemHandle]> };

async function storageRoot(): Promise<FileSystemDirectoryHandle> {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(FOLDER, { create: true });
}

export class KeptStore implements Store {
  readonly location: string;
  readonly label: string;

  constructor(location: string) {
    this.location = location;
    this.label = location.slice(PREFIX.length);
  }

  async #folder(): Promise<Listed> {
    return (await (await storageRoot()).getDirectoryHandle(this.label)) as Listed;
  }

  async #file(name: string): Promise<File | undefined> {
    try {
      return await (await (await this.#folder()).getFileHandle(name)).getFile();
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return undefined;
      throw error;
    }
  }

  async list(): Promise<StoreEntry[]> {
    const entries: StoreEntry[] = [];
    for await (const [name, handle] of (await this.#folder()).entries()) {
      if (handle.kind !== "file") continue;
      entries.push({ name, byteLength: (await (handle as FileSystemFileHandle).getFile()).size });
    }
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async open(name: string): Promise<Source> {
    const file = await this.#file(name);
    if (!file)
      throw new CheckpointError("missing", `Cannot open "${name}" of "${this.label}": there is no such file`);
    return new KeptSource(file, () => this.#file(name));
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const file = await this.#file(name);
    if (!file) return undefined;
    if (file.size > limitBytes) {
      const what = `it holds ${file.size} bytes, wanted at most ${limitBytes}`;
      throw new CheckpointError("too-large", `Cannot read "${name}" of "${this.label}": ${what}`);
    }
    return new Uint8Array(await file.arrayBuffer());
  }
}

class KeptSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;
  readonly #file: File;
  readonly #now: () => Promise<File | undefined>;

  constructor(file: File, now: () => Promise<File | undefined>) {
    this.name = file.name;
    this.byteLength = file.size;
    this.identity = identityOf(file);
    this.#file = file;
    this.#now = now;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const fail = (what: string, cause?: unknown): never => {
      throw new CheckpointError("changed", `Cannot read "${this.name}": ${what}`, { cause });
    };
    let bytes = new Uint8Array();
    try {
      bytes = new Uint8Array(await this.#file.slice(offset, offset + into.length).arrayBuffer());
    } catch (error) {
      fail((error as Error).message, error);
    }
    if (bytes.length < into.length)
      fail(`it ends at byte ${this.byteLength}, wanted ${into.length - bytes.length} more`);
    into.set(bytes);
  }

  async checkUnchanged(): Promise<void> {
    const file = await this.#now();
    if (file && identityOf(file) === this.identity) return;
    throw new CheckpointError("changed", `Cannot go on reading "${this.name}": it changed, wanted no change`);
  }

  async close(): Promise<void> {}
}

function identityOf({ size, lastModified }: File): string {
  return `${size}:${lastModified}`;
}

/** The children that earlier visits have kept. None where the browser has no such storage. */
export async function keptStores(): Promise<KeptStore[]> {
  const stores: KeptStore[] = [];
  let root: Listed;
  try {
    root = (await storageRoot()) as Listed;
  } catch {
    return []; // not to be had: a private window, an insecure origin
  }
  for await (const [name, handle] of root.entries()) {
    if (handle.kind !== "directory") continue;
    const store = new KeptStore(`${PREFIX}${name}`);
    if ((await store.readSmall(CHILD_NAME)) !== undefined) stores.push(store);
  }
  return stores;
}

/** Copies a child. Throws BuildError "exists" where one of the name is kept, "write-failed" where it cannot be written. */
export async function keep(store: Store): Promise<KeptStore> {
  const { label } = store;
  const kept = new KeptStore(`${PREFIX}${label}`);
  const fail = (code: string, what: string, cause?: unknown) =>
    new BuildError(code, `Cannot keep "${label}": ${what}`, { cause });
  const names = (await store.list()).map(({ name }) => name);
  if (!names.includes(CHILD_NAME)) throw fail("not-a-child", `it has no ${CHILD_NAME}, wanted a built child`);
  if ((await keptStores()).some((other) => other.label === label))
    throw fail("exists", "one of this name is kept already");
  try {
    const root = await storageRoot();
    await root.removeEntry(label, { recursive: true }).catch(() => {}); // what an earlier try has left
    const folder = await root.getDirectoryHandle(label, { create: true });
    for (const name of [...names.filter((name) => name !== CHILD_NAME), CHILD_NAME])
      await copyFile(await store.open(name), folder);
  } catch (error) {
    throw fail("write-failed", (error as Error).message, error);
  }
  return kept;
}

async function copyFile(source: Source, folder: FileSystemDirectoryHandle): Promise<void> {
  const handle = (await folder.getFileHandle(source.name, { create: true })) as SyncFile;
  const access = await handle.createSyncAccessHandle();
  try {
    const buffer = new Uint8Array(Math.min(COPY_BYTES, source.byteLength));
    for (let at = 0; at < source.byteLength; at += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, source.byteLength - at));
      await source.read(piece, at);
      const written = access.write(piece, { at });
      if (written !== piece.length) throw new Error(`the storage took ${written} of ${piece.length} bytes`);
    }
    access.flush();
  } finally {
    access.close();
    await source.close();
  }
}

export async function removeKept({ label }: KeptStore): Promise<void> {
  await (await storageRoot()).removeEntry(label, { recursive: true });
}
