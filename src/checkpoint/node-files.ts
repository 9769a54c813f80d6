/**
 * Files of a local disk, down at the calls: opening, reading whole, listing, and the errors of both ways.
 *
 * Folders may come from strangers. A pipe or a device under a shard's name must neither block nor be read
 * without end, a link in a circle is a file that is not there, no name may lead out of its folder, and
 * whatever the system says becomes a CheckpointError or a BuildError that names the path.
 */
import * as fs from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { BuildError, CheckpointError } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import { printable } from "./shown.ts";
import type { StoreEntry } from "./source.ts";

/** Bytes of one read or write call; Linux moves at most 2^31 - 4096 at once. */
export const CALL_LIMIT: number = 1 << 30;

export function isCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException)?.code ?? "");
}

export function reasonOf(error: unknown): string {
  return printable((error as Error).message);
}

/** ENOSPC and its kin become a BuildError that cli/ knows; so does whatever else a disk does. */
export function rethrowWrite(error: unknown, path: string): never {
  const what = `Cannot write "${printable(path)}"`;
  if (isCode(error, "ENOSPC", "EDQUOT")) {
    throw new BuildError("disk-full", `${what}: the disk is full`, {
      note: "What is complete is kept: free some space and run the same build again",
      cause: error,
    });
  }
  throw new BuildError("write-failed", `${what}: ${reasonOf(error)}`, { cause: error });
}

/** As rethrowWrite() for a place that a caller has just named: what is wrong with it is the caller's to mend. */
export function rethrowPlace(error: unknown, path: string): never {
  const fault = PLACE_FAULTS[(error as NodeJS.ErrnoException)?.code ?? ""];
  if (fault === undefined) rethrowWrite(error, path);
  const what = `Cannot write "${printable(path)}": ${fault}, wanted another place`;
  throw new BuildError("not-writable", what, { cause: error });
}

/** What is wrong with a place, rather than with the disk. */
const PLACE_FAULTS: Record<string, string> = {
  EACCES: "this user may not write there",
  EPERM: "this user may not write there",
  EROFS: "its file system is read-only",
  ENOENT: "its folder is not there",
  ENOTDIR: "a part of its path is not a folder",
  EISDIR: "it is a folder",
  ELOOP: "its links lead in a circle",
  ENAMETOOLONG: "its name is too long",
};

/** What keeps a folder from being at a path or from being made there; undefined when nothing does. */
export function placeFault(path: string): string | undefined {
  for (let at = path; ; at = dirname(at)) {
    const which = at === path ? "it" : `"${printable(at)}"`;
    try {
      const stat = fs.statSync(at, { throwIfNoEntry: false });
      if (stat) return stat.isDirectory() ? undefined : `${which} is not a folder`;
      if (fs.lstatSync(at, { throwIfNoEntry: false })) return `${which} is a link that leads nowhere`;
    } catch (error) {
      if (!isCode(error, "ENOTDIR")) return PLACE_FAULTS[(error as NodeJS.ErrnoException).code ?? ""];
    }
    if (dirname(at) === at) return undefined;
  }
}

export function openError(error: unknown, path: string): CheckpointError {
  if (error instanceof CheckpointError) return error;
  const what = `Cannot open "${printable(path)}"`;
  if (isCode(error, "ENOENT", "ENOTDIR")) {
    return new CheckpointError("missing", `${what}: there is no such file or folder`);
  }
  return new CheckpointError("read-failed", `${what}: ${reasonOf(error)}`, { cause: error });
}

function notAFile(path: string): CheckpointError {
  const what = `Cannot open "${printable(path)}": it is not a file, wanted one`;
  return new CheckpointError("not-a-file", what);
}

function tooLarge(path: string, limitBytes: number, size?: number): CheckpointError {
  const held = size === undefined ? "more" : `${formatInteger(size)} bytes`;
  const what = `it holds ${held}, wanted at most ${formatInteger(limitBytes)} bytes`;
  return new CheckpointError("too-large", `Cannot read "${printable(path)}": ${what}`);
}

/** Where a file of a folder lies. Names come from plans and indexes: none may lead out of the folder. */
export function pathWithin(folder: string, name: string): string {
  const leadsOut = name.split(/[/\\]/).some((part) => part === "" || part === "." || part === "..");
  if (!leadsOut && !isAbsolute(name) && !name.includes("\0")) return join(folder, name);
  const what = `Cannot open "${printable(name)}" in "${printable(folder)}"`;
  throw new CheckpointError("outside-folder", `${what}: it is no name within this folder, wanted one`);
}

/** Opens a regular file to read, without waiting for the other end of what is none. */
export function openRegular(path: string): { fd: number; stat: fs.BigIntStats } {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    const stat = fs.fstatSync(fd, { bigint: true });
    if (stat.isFile()) return { fd, stat };
    throw notAFile(path);
  } catch (error) {
    if (fd !== undefined) fs.closeSync(fd);
    throw openError(error, path);
  }
}

/** Fills `into` from `offset`, in as many calls as it takes; returns how many bytes there were. */
export function readFully(fd: number, into: Uint8Array, offset: number): number {
  let done = 0;
  while (done < into.length) {
    const count = fs.readSync(fd, into, done, Math.min(into.length - done, CALL_LIMIT), offset + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/**
 * From this size a read or write goes to libuv's threads, so that the caller's own thread computes
 * meanwhile; below it the two hops (some 20 µs) cost more than the copy.
 */
const BACKGROUND_BYTES = 256 * 1024;

const readAsync = promisify(fs.read);
const writeAsync = promisify(fs.write);

/** As readFully, off this thread where that pays. */
export async function fillFrom(fd: number, into: Uint8Array, offset: number): Promise<number> {
  if (into.length < BACKGROUND_BYTES) return readFully(fd, into, offset);
  let done = 0;
  while (done < into.length) {
    const length = Math.min(into.length - done, CALL_LIMIT);
    const { bytesRead } = await readAsync(fd, into, done, length, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Writes all of `bytes` at `offset`, off this thread where that pays. */
export async function writeFully(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
  const background = bytes.length >= BACKGROUND_BYTES;
  let done = 0;
  while (done < bytes.length) {
    const length = Math.min(bytes.length - done, CALL_LIMIT);
    done += background
      ? (await writeAsync(fd, bytes, done, length, offset + done)).bytesWritten
      : fs.writeSync(fd, bytes, done, length, offset + done);
  }
}

/** All there is to read, also from a pipe or a file that grows meanwhile. Throws above the limit. */
export function readToEnd(fd: number, path: string, limitBytes: number): Uint8Array {
  const stat = fs.fstatSync(fd);
  if (stat.isDirectory()) throw notAFile(path);
  const { size } = stat;
  if (size > limitBytes) throw tooLarge(path, limitBytes, size);
  let bytes = new Uint8Array(Math.max(size + 1, 65_536));
  for (let length = 0; ; ) {
    const count = fs.readSync(fd, bytes, length, Math.min(bytes.length - length, CALL_LIMIT), null);
    if (count === 0) return bytes.subarray(0, length);
    length += count;
    if (length > limitBytes) throw tooLarge(path, limitBytes);
    if (length < bytes.length) continue;
    const larger = new Uint8Array(2 * length);
    larger.set(bytes);
    bytes = larger;
  }
}

/** Links are followed: snapshots of the Hub's cache consist of them. One that leads nowhere is not there. */
export function listFiles(folder: string): StoreEntry[] {
  const entries: StoreEntry[] = [];
  let path = folder;
  try {
    if (!fs.statSync(folder).isDirectory()) {
      const what = `Cannot open "${printable(folder)}": it is not a folder, wanted one`;
      throw new CheckpointError("not-a-folder", what);
    }
    for (const name of fs.readdirSync(folder).sort()) {
      path = join(folder, name);
      const stat = statOrNone(path);
      if (stat?.isFile()) entries.push({ name, byteLength: stat.size });
    }
  } catch (error) {
    throw openError(error, path);
  }
  return entries;
}

/** As fs.stat; undefined for what is not there, and for a link that leads nowhere. */
export function statOrNone(path: string): fs.Stats | undefined {
  try {
    return fs.statSync(path);
  } catch (error) {
    if (isCode(error, "ENOENT", "ENOTDIR", "ELOOP")) return undefined;
    throw error;
  }
}
