/**
 * Reading folders of a local disk.
 *
 * Reads are positioned. Large ones run on libuv's threads, so that a worker computes on one piece while the
 * next is read; small ones are quicker done at once (docs/LOG.md has the figures).
 */
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CheckpointError } from "../base/errors.ts";
import { DIRECT_ALIGNMENT, openDirect } from "./node-direct.ts";
import {
  fillFrom,
  isCode,
  listFiles,
  openError,
  openRegular,
  pathWithin,
  readToEnd,
  reasonOf,
  statOrNone,
} from "./node-files.ts";
import { PULLED_NAME, type PulledRecord, parsePulled, requirePulled } from "./pulled.ts";
import { printable } from "./shown.ts";
import type { Source, Store, StoreEntry } from "./source.ts";

function identityOf(stat: fs.BigIntStats): string {
  return `${stat.size}:${stat.mtimeNs}`;
}

function inodeOf(stat: fs.BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

class FileSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment: number;
  readonly #path: string;
  readonly #inode: string;
  /** What is there of it, where only a part of it was fetched. */
  readonly #pulled: readonly [number, number][] | undefined;
  readonly #reads = new Set<Promise<number>>();
  #fd: number | undefined;
  /** Past the system's cache; none where that was not asked for, or is not to be had. */
  #directFd: number | undefined;
  #isRefused = false;

  constructor(path: string, name: string, { direct = false }: { direct?: boolean } = {}) {
    this.name = name;
    this.#path = path;
    this.#pulled = readPulled(dirname(path))?.shards[name];
    const { fd, stat } = openRegular(path);
    this.#fd = fd;
    const isAligned = direct && !this.#pulled; // whole blocks would reach into holes
    this.#directFd = isAligned ? openDirect(path, fs.constants.O_RDONLY) : undefined;
    this.alignment = isAligned ? DIRECT_ALIGNMENT : 1;
    this.byteLength = Number(stat.size);
    this.identity = identityOf(stat);
    this.#inode = inodeOf(stat);
  }

  get isDirect(): boolean {
    return this.#directFd !== undefined && !this.#isRefused;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    if (this.#pulled) {
      const byteLength = Math.min(into.length, this.byteLength - offset);
      requirePulled(this.#pulled, { offset, byteLength, name: this.#path });
    }
    if (this.#fd === undefined) throw new Error(`internal: "${this.name}" was read after it was closed`);
    const what = `Cannot read "${printable(this.#path)}"`;
    let done: number;
    try {
      const reading = this.#fill(this.#fd, into, offset);
      this.#reads.add(reading);
      done = await reading.finally(() => this.#reads.delete(reading));
    } catch (error) {
      throw new CheckpointError("read-failed", `${what}: ${reasonOf(error)}`, { cause: error });
    }
    if (done === into.length) return;
    if (this.alignment > 1 && offset + done === this.byteLength) return;
    const values = `it ends at byte ${offset + done}, wanted ${into.length - done} more`;
    throw new CheckpointError("changed", `${what}: ${values}`);
  }

  async #fill(fd: number, into: Uint8Array, offset: number): Promise<number> {
    const direct = this.#directFd;
    if (direct === undefined) return fillFrom(fd, into, offset);
    try {
      return await fillFrom(direct, into, offset);
    } catch (error) {
      // Some file systems open so and then refuse to read, or want another alignment.
      if (!isCode(error, "EINVAL")) throw error;
      this.#isRefused = true;
      return fillFrom(fd, into, offset);
    }
  }

  async checkUnchanged(): Promise<void> {
    let stat: fs.BigIntStats | undefined;
    try {
      stat = fs.statSync(this.#path, { bigint: true });
    } catch {
      // Reported below, as any other change.
    }
    const now = stat ? identityOf(stat) : "gone";
    // Another file of the same size and time shows by its inode, which lasts as long as ours is open. The
    // inode is no part of the identity: that goes into plans, and to other machines.
    if (now === this.identity && stat && inodeOf(stat) === this.#inode) return;
    const replaced = now === this.identity;
    const values = `size and time of change were ${this.identity} and are ${now}`;
    const what = replaced ? "another file has taken its name" : values;
    throw new CheckpointError(
      "changed",
      `Cannot go on reading "${printable(this.#path)}": ${what}, wanted no change`,
      { note: "A parent must not change while it is read; plan again when it is complete" },
    );
  }

  async close(): Promise<void> {
    const open = [this.#fd, this.#directFd];
    this.#fd = undefined;
    this.#directFd = undefined;
    // A number that is closed under a read may be another file's by the time the read begins.
    await Promise.allSettled(this.#reads);
    for (const fd of open) if (fd !== undefined) fs.closeSync(fd);
  }
}

/** The list of what was pulled into a folder; undefined for an ordinary one. */
export function readPulled(folder: string): PulledRecord | undefined {
  const path = join(folder, PULLED_NAME);
  return statOrNone(path) ? parsePulled(fs.readFileSync(path, "utf8"), path) : undefined;
}

export class FolderStore implements Store {
  readonly location: string;
  readonly label: string;

  constructor(path: string) {
    this.location = resolve(path);
    this.label = basename(this.location);
  }

  async list(): Promise<StoreEntry[]> {
    return listFiles(this.location);
  }

  async open(name: string, options: { direct?: boolean } = {}): Promise<Source> {
    return new FileSource(pathWithin(this.location, name), name, options);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    const path = pathWithin(this.location, name);
    let fd: number | undefined;
    try {
      fd = openRegular(path).fd;
      return readToEnd(fd, path, limitBytes);
    } catch (error) {
      if (error instanceof CheckpointError && error.code === "missing") return undefined;
      throw openError(error, path);
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  }
}

/** A folder to read. Whether it exists is seen when it is used. */
export function openFolder(path: string): Store {
  return new FolderStore(path);
}
