/**
 * Writing folders of a local disk, so that a crash leaves no incomplete file under a final name.
 *
 * Everything is made under a name of its own in the state folder (the same file system), made durable, and
 * renamed last. Large writes run on libuv's threads, like large reads (node-source.ts).
 */
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { BuildError, CheckpointError } from "../base/errors.ts";
import { DirectWriter, openDirect } from "./node-direct.ts";
import {
  fillFrom,
  isCode,
  listFiles,
  pathWithin,
  placeFault,
  rethrowPlace,
  rethrowWrite,
  statOrNone,
  writeFully,
} from "./node-files.ts";
import { FolderStore } from "./node-source.ts";
import { printable } from "./shown.ts";
import { type OutputStore, type Sink, STATE_FOLDER, type StoreEntry } from "./source.ts";

/** A name of its own in the state folder: same file system, never mistaken for a result. */
function temporaryName(folder: string, name: string): string {
  const unique = `${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  return join(folder, STATE_FOLDER, `${basename(name)}.${unique}.tmp`);
}

class FileSink implements Sink {
  readonly name: string;
  directBytes = 0;
  readonly #target: string;
  readonly #temporary: string;
  /** Reads and writes that are under way. */
  readonly #pending = new Set<Promise<unknown>>();
  #fd: number | undefined;
  #direct: DirectWriter | undefined;
  #state: "open" | "flushed" | "published" | "discarded" = "open";

  constructor(
    target: string,
    { temporary, byteLength, direct = false }: { temporary: string; byteLength: number; direct?: boolean },
  ) {
    this.name = basename(target);
    this.#target = target;
    this.#temporary = temporary;
    try {
      this.#fd = fs.openSync(this.#temporary, "wx+");
      fs.ftruncateSync(this.#fd, byteLength);
      const directFd = direct ? openDirect(this.#temporary, fs.constants.O_RDWR) : undefined;
      if (directFd !== undefined) this.#direct = new DirectWriter(this.#fd, directFd);
    } catch (error) {
      this.#remove(this.#fd);
      rethrowWrite(error, this.#temporary);
    }
  }

  /** The open file; a use out of turn is a bug of ours. */
  #file(): number {
    if (this.#fd !== undefined) return this.#fd;
    throw new Error(`internal: "${this.name}" is ${this.#state}, wanted open`);
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    const fd = this.#file();
    try {
      await this.#track(this.#direct?.write(bytes, offset) ?? writeFully(fd, bytes, offset));
    } catch (error) {
      rethrowWrite(error, this.#target);
    }
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const fd = this.#file();
    let done = 0;
    try {
      await this.#direct?.settle();
      done = await this.#track(this.#direct?.read(into, offset) ?? fillFrom(fd, into, offset));
    } catch (error) {
      rethrowWrite(error, this.#target);
    }
    if (done < into.length) throw new Error(`internal: "${this.#temporary}" is shorter than it was made`);
  }

  async #track<T>(action: Promise<T>): Promise<T> {
    this.#pending.add(action);
    try {
      return await action;
    } finally {
      this.#pending.delete(action);
    }
  }

  async flush(): Promise<void> {
    const fd = this.#file();
    try {
      await Promise.all(this.#pending);
      await this.#direct?.settle();
      this.#direct?.close();
      this.directBytes = this.#direct?.directBytes ?? 0;
      this.#direct = undefined;
      fs.fsyncSync(fd);
      this.#fd = undefined; // first: after a failed close the number may already be another file's
      fs.closeSync(fd);
    } catch (error) {
      rethrowWrite(error, this.#target);
    }
    this.#state = "flushed";
  }

  async publish(): Promise<void> {
    if (this.#state !== "flushed")
      throw new Error(`internal: "${this.name}" is ${this.#state}, wanted flushed`);
    try {
      fs.renameSync(this.#temporary, this.#target);
      this.#state = "published";
      syncFolder(dirname(this.#target));
    } catch (error) {
      rethrowWrite(error, this.#target);
    }
  }

  async discard(): Promise<void> {
    if (this.#state === "published") return;
    const fd = this.#fd;
    this.#fd = undefined;
    this.#state = "discarded";
    // A number that is closed under a read or write may be another file's by the time that begins.
    await Promise.allSettled(this.#pending);
    await this.#direct?.settle().catch(() => {});
    this.#direct?.close();
    this.#direct = undefined;
    this.#remove(fd);
  }

  /** Never throws: it cleans up after an error, which a second one must not hide. */
  #remove(fd: number | undefined): void {
    try {
      if (fd !== undefined) fs.closeSync(fd);
    } catch {
      // Closed all the same.
    }
    try {
      fs.rmSync(this.#temporary, { force: true });
    } catch {
      // What remains has a name that the next build removes.
    }
  }
}

/** Without this a rename itself can be lost in a crash. */
export function syncFolder(path: string): void {
  const fd = fs.openSync(path, "r");
  try {
    fs.fsyncSync(fd);
  } catch (error) {
    if (!isCode(error, "EINVAL", "EPERM", "ENOTSUP")) throw error; // file systems without it
  } finally {
    fs.closeSync(fd);
  }
}

/** Gives `temporary` the name `path` as well; false when that is taken. */
function linkNew(temporary: string, path: string, text: string): boolean {
  try {
    fs.linkSync(temporary, path);
    return true;
  } catch (error) {
    // Over NFS an answer can get lost: the second try then meets the link of the first.
    if (isCode(error, "EEXIST")) return fs.statSync(temporary).nlink === 2;
    if (!isCode(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")) throw error;
  }
  // A file system without links (exFAT, some network shares): exclusive too, though empty for a moment.
  try {
    fs.writeFileSync(path, text, { flag: "wx", flush: true });
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  }
}

function listOrNone(folder: string): StoreEntry[] {
  try {
    return listFiles(folder);
  } catch (error) {
    if (error instanceof CheckpointError && error.code === "missing") return [];
    throw error;
  }
}

/**
 * Makes a folder and those above it; returns the first that was missing. One by one: Node's own recursive way never ends
 * where a parent lets nobody make anything and says that it is not there, as /proc does.
 */
function makeFolders(path: string): string | undefined {
  const missing: string[] = [];
  for (let at = resolve(path); !fs.existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const folder of missing) {
    try {
      fs.mkdirSync(folder);
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw error; // another process was quicker
    }
  }
  return missing[0];
}

class FolderOutput extends FolderStore implements OutputStore {
  #isMade = false;

  override async list(): Promise<StoreEntry[]> {
    return listOrNone(this.location); // a folder that is not made yet is empty
  }

  async checkPlace(): Promise<void> {
    const fault = placeFault(this.location);
    if (fault === undefined) return;
    const what = `Cannot build in "${printable(this.location)}": ${fault}`;
    throw new BuildError("not-a-folder", `${what}, wanted a folder or a new name`);
  }

  async strangers(): Promise<string[]> {
    const files = new Set((await this.list()).map(({ name }) => name));
    const names = statOrNone(this.location) ? fs.readdirSync(this.location).sort() : [];
    const isState = (name: string) =>
      name === STATE_FOLDER && statOrNone(join(this.location, name))?.isDirectory() === true;
    return names.filter((name) => !files.has(name) && !isState(name));
  }

  async prepare(): Promise<void> {
    try {
      const state = resolve(this.location, STATE_FOLDER);
      const first = makeFolders(state);
      this.#isMade ||= first !== undefined && first !== state;
    } catch (error) {
      rethrowPlace(error, this.location);
    }
  }

  async create(
    name: string,
    byteLength: number,
    { direct = false }: { direct?: boolean } = {},
  ): Promise<Sink> {
    const target = pathWithin(this.location, name);
    return new FileSink(target, { temporary: temporaryName(this.location, name), byteLength, direct });
  }

  async writeSmall(name: string, bytes: Uint8Array): Promise<void> {
    const target = pathWithin(this.location, name);
    const temporary = temporaryName(this.location, name);
    try {
      fs.writeFileSync(temporary, bytes, { flag: "wx", flush: true });
      fs.renameSync(temporary, target);
      syncFolder(dirname(target));
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      rethrowWrite(error, target);
    }
  }

  async claim(name: string, text: string): Promise<boolean> {
    const path = pathWithin(this.location, name);
    const temporary = temporaryName(this.location, name);
    try {
      // A link appears with its content; a file made with "wx" is empty for a moment, and reads as nobody's.
      fs.writeFileSync(temporary, text, { flag: "wx", flush: true });
      return linkNew(temporary, path, text);
    } catch (error) {
      return rethrowWrite(error, path);
    } finally {
      fs.rmSync(temporary, { force: true });
    }
  }

  async remove(name: string): Promise<void> {
    const path = pathWithin(this.location, name);
    try {
      fs.rmSync(path, { force: true });
    } catch (error) {
      rethrowWrite(error, path);
    }
  }

  async listUnder(prefix: string): Promise<StoreEntry[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    const path = folder === "" ? this.location : pathWithin(this.location, folder.slice(0, -1));
    return listOrNone(path)
      .map(({ name, byteLength }) => ({ name: folder + name, byteLength }))
      .filter(({ name }) => name.startsWith(prefix));
  }

  async removeState(): Promise<void> {
    const path = join(this.location, STATE_FOLDER);
    try {
      fs.rmSync(path, { recursive: true, force: true });
      if (!fs.existsSync(this.location)) return;
      if (this.#isMade && fs.readdirSync(this.location).length === 0) fs.rmdirSync(this.location);
      else syncFolder(this.location);
    } catch (error) {
      rethrowWrite(error, path);
    }
  }

  async freeBytes(): Promise<number | undefined> {
    return freeBytesAt(this.location);
  }
}

/** Free bytes for an ordinary user where a path lies or would lie; undefined where the system does not tell. */
export function freeBytesAt(path: string): number | undefined {
  let folder = resolve(path);
  while (!fs.existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  try {
    const { bavail, bsize } = fs.statfsSync(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** One large file anywhere, as a sink: under a temporary name beside it until it is published. */
export function createFile(path: string, byteLength: number): Sink {
  const target = resolve(path);
  const unique = `${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  return new FileSink(target, { temporary: `${target}.${unique}.tmp`, byteLength });
}

/** A folder to write. Nothing is made before prepare(). */
export function openOutputFolder(path: string): OutputStore {
  return new FolderOutput(path);
}
