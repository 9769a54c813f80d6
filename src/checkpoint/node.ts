/**
 * Folders on a local disk: the only file with node:fs.
 *
 * Reads and writes are positioned and synchronous under their asynchronous faces. A build's work runs in
 * worker threads, each with one shard; there a blocking call costs nothing, saves two thread hops per
 * piece, and leaves read-ahead and write-behind to the kernel (docs/LOG.md has the figures).
 */
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, CheckpointError } from "../base/errors.ts";
import type { OutputStore, Sink, Source, Store, StoreEntry } from "./source.ts";

const STATE = ".chimera";
/** Positions of one read or write call; Linux moves at most 2^31 - 4096 bytes at once. */
const CALL_LIMIT = 1 << 30;

function identityOf(stat: fs.BigIntStats): string {
  return `${stat.size}:${stat.mtimeNs}`;
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException)?.code ?? "");
}

/** ENOSPC and its kin become a BuildError that cli/ knows; everything else is passed on. */
function rethrowWrite(error: unknown, path: string): never {
  if (isCode(error, "ENOSPC", "EDQUOT")) {
    throw new BuildError("disk-full", `Cannot write "${path}": the disk is full`, {
      note: "What is complete is kept: free some space and run the same build again",
      cause: error,
    });
  }
  throw new BuildError("write-failed", `Cannot write "${path}": ${(error as Error).message}`, {
    cause: error,
  });
}

class FileSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly #path: string;
  #fd: number | undefined;

  constructor(path: string, name: string) {
    this.name = name;
    this.#path = path;
    try {
      this.#fd = fs.openSync(path, "r");
      const stat = fs.fstatSync(this.#fd, { bigint: true });
      if (!stat.isFile()) throw new CheckpointError("missing", `Cannot open "${path}": it is not a file`);
      this.byteLength = Number(stat.size);
      this.identity = identityOf(stat);
    } catch (error) {
      if (this.#fd !== undefined) fs.closeSync(this.#fd);
      throw openError(error, path);
    }
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    if (this.#fd === undefined) throw new Error(`internal: "${this.name}" was read after it was closed`);
    let done = 0;
    while (done < into.length) {
      const length = Math.min(into.length - done, CALL_LIMIT);
      let count: number;
      try {
        count = fs.readSync(this.#fd, into, done, length, offset + done);
      } catch (error) {
        throw new CheckpointError("read-failed", `Cannot read "${this.#path}": ${(error as Error).message}`, {
          cause: error,
        });
      }
      if (count === 0) {
        const what = `it ends at byte ${offset + done}, wanted ${into.length - done} more`;
        throw new CheckpointError("changed", `Cannot read "${this.#path}": ${what}`);
      }
      done += count;
    }
  }

  async checkUnchanged(): Promise<void> {
    let now = "gone";
    try {
      now = identityOf(fs.statSync(this.#path, { bigint: true }));
    } catch {
      // Reported below, as any other change.
    }
    if (now === this.identity) return;
    const what = `size and time of change were ${this.identity} and are ${now}`;
    throw new CheckpointError("changed", `Cannot go on reading "${this.#path}": ${what}, wanted no change`, {
      note: "A parent must not change while it is read; plan again when it is complete",
    });
  }

  async close(): Promise<void> {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }
}

function openError(error: unknown, path: string): unknown {
  if (error instanceof CheckpointError) return error;
  if (isCode(error, "ENOENT", "ENOTDIR")) {
    return new CheckpointError("missing", `Cannot open "${path}": there is no such file`);
  }
  return new CheckpointError("read-failed", `Cannot open "${path}": ${(error as Error).message}`, {
    cause: error,
  });
}

class FolderStore implements Store {
  readonly location: string;
  readonly label: string;

  constructor(path: string) {
    this.location = resolve(path);
    this.label = basename(this.location);
  }

  async list(): Promise<StoreEntry[]> {
    if (!folderExists(this.location)) {
      throw new CheckpointError("missing", `Cannot open "${this.location}": there is no such folder`);
    }
    return listFiles(this.location);
  }

  async open(name: string): Promise<Source> {
    return new FileSource(join(this.location, name), name);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const path = join(this.location, name);
    try {
      const { size } = fs.statSync(path);
      if (size > limitBytes) {
        throw new CheckpointError(
          "too-large",
          `Cannot read "${path}": ${size} bytes, wanted at most ${limitBytes}`,
        );
      }
      return fs.readFileSync(path);
    } catch (error) {
      if (isCode(error, "ENOENT", "ENOTDIR")) return undefined;
      throw openError(error, path);
    }
  }
}

function listFiles(folder: string): StoreEntry[] {
  const entries: StoreEntry[] = [];
  let names: string[];
  try {
    names = fs.readdirSync(folder).sort();
  } catch (error) {
    if (isCode(error, "ENOENT")) return [];
    throw openError(error, folder);
  }
  for (const name of names) {
    // Links are followed: snapshots of the Hub's cache consist of them. A dangling one is not there.
    const stat = fs.statSync(join(folder, name), { throwIfNoEntry: false });
    if (stat?.isFile()) entries.push({ name, byteLength: stat.size });
  }
  return entries;
}

/** A name of its own in the state folder: same file system, never mistaken for a result. */
function temporaryName(folder: string, name: string): string {
  const unique = `${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  return join(folder, STATE, `${basename(name)}.${unique}.tmp`);
}

class FileSink implements Sink {
  readonly name: string;
  readonly #target: string;
  readonly #temporary: string;
  #fd: number | undefined;
  #published = false;

  constructor(target: string, name: string, byteLength: number) {
    this.name = name;
    this.#target = target;
    this.#temporary = temporaryName(dirname(target), name);
    try {
      this.#fd = fs.openSync(this.#temporary, "wx+");
      fs.ftruncateSync(this.#fd, byteLength);
    } catch (error) {
      rethrowWrite(error, this.#temporary);
    }
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    try {
      while (done < bytes.length) {
        const length = Math.min(bytes.length - done, CALL_LIMIT);
        done += fs.writeSync(this.#fd!, bytes, done, length, offset + done);
      }
    } catch (error) {
      rethrowWrite(error, this.#target);
    }
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    while (done < into.length) {
      const count = fs.readSync(this.#fd!, into, done, into.length - done, offset + done);
      if (count === 0) throw new Error(`internal: "${this.#temporary}" is shorter than it was made`);
      done += count;
    }
  }

  async flush(): Promise<void> {
    try {
      fs.fsyncSync(this.#fd!);
      fs.closeSync(this.#fd!);
      this.#fd = undefined;
    } catch (error) {
      rethrowWrite(error, this.#target);
    }
  }

  async publish(): Promise<void> {
    fs.renameSync(this.#temporary, this.#target);
    this.#published = true;
    syncFolder(dirname(this.#target));
  }

  async discard(): Promise<void> {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
    if (!this.#published) fs.rmSync(this.#temporary, { force: true });
  }
}

/** Without this a rename itself can be lost in a crash. */
function syncFolder(path: string): void {
  const fd = fs.openSync(path, "r");
  try {
    fs.fsyncSync(fd);
  } catch (error) {
    if (!isCode(error, "EINVAL", "EPERM", "ENOTSUP")) throw error; // file systems without it
  } finally {
    fs.closeSync(fd);
  }
}

class FolderOutput extends FolderStore implements OutputStore {
  override async list(): Promise<StoreEntry[]> {
    return listFiles(this.location); // a folder that is not made yet is empty
  }

  async prepare(): Promise<void> {
    try {
      fs.mkdirSync(join(this.location, STATE), { recursive: true });
    } catch (error) {
      rethrowWrite(error, this.location);
    }
  }

  async create(name: string, byteLength: number): Promise<Sink> {
    return new FileSink(join(this.location, name), name, byteLength);
  }

  async writeSmall(name: string, bytes: Uint8Array): Promise<void> {
    const target = join(this.location, name);
    const temporary = temporaryName(this.location, name);
    try {
      fs.writeFileSync(temporary, bytes, { flush: true });
      fs.renameSync(temporary, target);
      syncFolder(dirname(target));
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      rethrowWrite(error, target);
    }
  }

  async claim(name: string, text: string): Promise<boolean> {
    const path = join(this.location, name);
    const temporary = temporaryName(this.location, name);
    try {
      // A link appears with its content; a file made with "wx" is empty for a moment, and reads as nobody's.
      fs.writeFileSync(temporary, text, { flag: "wx", flush: true });
      fs.linkSync(temporary, path);
      return true;
    } catch (error) {
      if (isCode(error, "EEXIST")) return false;
      return rethrowWrite(error, path);
    } finally {
      fs.rmSync(temporary, { force: true });
    }
  }

  async remove(name: string): Promise<void> {
    fs.rmSync(join(this.location, name), { force: true });
  }

  async listUnder(prefix: string): Promise<StoreEntry[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    const entries = listFiles(join(this.location, folder));
    return entries
      .map(({ name, byteLength }) => ({ name: folder + name, byteLength }))
      .filter(({ name }) => name.startsWith(prefix));
  }

  async removeState(): Promise<void> {
    fs.rmSync(join(this.location, STATE), { recursive: true, force: true });
    if (fs.existsSync(this.location)) syncFolder(this.location);
  }

  async freeBytes(): Promise<number | undefined> {
    let folder = this.location;
    while (!fs.existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
    try {
      const { bavail, bsize } = fs.statfsSync(folder);
      return bavail * bsize;
    } catch {
      return undefined;
    }
  }
}

/** A folder to read. Whether it exists is seen when it is used. */
export function openFolder(path: string): Store {
  return new FolderStore(path);
}

/** A folder to write. Nothing is made before prepare(). */
export function openOutputFolder(path: string): OutputStore {
  return new FolderOutput(path);
}

/** Splits a path to a single file from its folder; undefined when it is a folder or is not there. */
export function asSingleFile(path: string): { folder: string; name: string } | undefined {
  const stat = fs.statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? { folder: dirname(resolve(path)), name: basename(path) } : undefined;
}

/** The path with links resolved as far as it exists: for comparing an output with its parents. */
export function realLocation(path: string): string {
  let existing = resolve(path);
  const rest: string[] = [];
  while (!fs.existsSync(existing) && dirname(existing) !== existing) {
    rest.unshift(basename(existing));
    existing = dirname(existing);
  }
  return join(fs.realpathSync(existing), ...rest);
}

export function folderExists(path: string): boolean {
  return fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** A text file anywhere. Throws CheckpointError "missing", or when it is larger than `limitBytes`. */
export async function readTextFile(path: string, limitBytes: number): Promise<string> {
  try {
    const { size } = fs.statSync(path);
    if (size > limitBytes) {
      throw new CheckpointError(
        "too-large",
        `Cannot read "${path}": ${size} bytes, wanted at most ${limitBytes}`,
      );
    }
    return fs.readFileSync(path, "utf8");
  } catch (error) {
    throw openError(error, path);
  }
}

/**
 * What tells a process from a later one of the same number: boot id and start time. Empty where the system
 * does not tell (anything but Linux), or when there is no such process.
 */
export function processStart(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The program's name may hold spaces and brackets; fields count after the last bracket.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return `${fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${ticks}`;
  } catch {
    return "";
  }
}

/** Writes a text file anywhere: under a temporary name beside it first, so that it is whole or absent. */
export async function writeFileAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    fs.writeFileSync(temporary, text, { flush: true });
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    rethrowWrite(error, path);
  }
}

export function fileExists(path: string): boolean {
  return fs.existsSync(path);
}

/** A file that ships with the package, by its path from the package's root. */
export function packageFile(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!fs.existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return join(folder, name);
}
