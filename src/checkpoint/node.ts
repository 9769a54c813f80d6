/**
 * Single files, locations and processes of the machine we run on.
 *
 * node.ts and its parts are the only files with node:fs: node-source.ts reads folders, node-output.ts
 * writes them, node-files.ts holds what both stand on.
 */
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { listFiles, openError, openRegular, readToEnd, rethrowPlace, statOrNone } from "./node-files.ts";

/** Splits a path to a single file from its folder; undefined when it is a folder or is not there. */
export function asSingleFile(path: string): { folder: string; name: string } | undefined {
  try {
    return fs.statSync(path).isFile() ? { folder: dirname(resolve(path)), name: basename(path) } : undefined;
  } catch {
    return undefined; // opening it as a folder tells what is wrong
  }
}

/**
 * The path with links resolved as far as it exists: for comparing an output with its parents. What lies elsewhere has
 * one name.
 */
export function realLocation(path: string): string {
  if (/^[a-z][a-z0-9+.-]+:/i.test(path)) return path;
  let existing = resolve(path);
  const rest: string[] = [];
  while (!fs.existsSync(existing) && dirname(existing) !== existing) {
    rest.unshift(basename(existing));
    existing = dirname(existing);
  }
  return join(fs.realpathSync(existing), ...rest);
}

export function folderExists(path: string): boolean {
  try {
    return fs.statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** A text file or pipe anywhere. Throws CheckpointError "missing", or when it is larger than `limitBytes`. */
export async function readTextFile(path: string, limitBytes: number): Promise<string> {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(readToEnd(fd, path, limitBytes));
  } catch (error) {
    throw openError(error, path);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/**
 * A regular file anywhere, whole. Throws CheckpointError: "missing", "not-a-file" (a pipe is never waited for),
 * "too-large".
 */
export async function readRegularFile(path: string, limitBytes: number): Promise<Uint8Array> {
  const { fd } = openRegular(path);
  try {
    return readToEnd(fd, path, limitBytes);
  } catch (error) {
    throw openError(error, path);
  } finally {
    fs.closeSync(fd);
  }
}

/** Names of the files of a folder, sorted. Throws CheckpointError. */
export function fileNames(folder: string): string[] {
  return listFiles(folder).map(({ name }) => name);
}

/** Names of whatever is in a folder, sorted. Throws CheckpointError. */
export function listFolder(folder: string): string[] {
  try {
    return fs.readdirSync(folder).sort();
  } catch (error) {
    throw openError(error, folder);
  }
}

/** The first bytes of a file as text; empty when it cannot be read, or is a pipe, which can be read only once. */
export function fileStart(path: string, byteLength: number): string {
  let fd: number | undefined;
  try {
    if (!fs.statSync(path).isFile()) return "";
    fd = fs.openSync(path, "r");
    const bytes = new Uint8Array(byteLength);
    return new TextDecoder().decode(bytes.subarray(0, fs.readSync(fd, bytes, 0, byteLength, 0)));
  } catch {
    return "";
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
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

/**
 * Writes a file anywhere: under a temporary name beside it first, so that it is whole or absent. A device or a
 * pipe is written to as it is: a name in its place would take it away from everybody.
 */
export async function writeFileAtomically(
  path: string,
  content: string | readonly Uint8Array[],
): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const parts = typeof content === "string" ? [content] : content;
  if (isDevice(path)) return writeInPlace(path, parts);
  try {
    fs.writeFileSync(temporary, "");
    for (const part of parts) fs.appendFileSync(temporary, part, { flush: true });
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    rethrowPlace(error, path);
  }
}

/** Whether something is there that is neither a file nor a folder. */
function isDevice(path: string): boolean {
  const stat = statOrNone(path);
  return stat !== undefined && !stat.isFile() && !stat.isDirectory();
}

function writeInPlace(path: string, parts: readonly (string | Uint8Array)[]): void {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "w");
    for (const part of parts) fs.writeFileSync(fd, part);
  } catch (error) {
    rethrowPlace(error, path);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

export function fileExists(path: string): boolean {
  return fs.existsSync(path);
}

/** Whether a regular file is there, links followed: no pipe, whose other end would be waited for. */
export function isRegularFile(path: string): boolean {
  try {
    return fs.statSync(path).isFile();
  } catch {
    return false;
  }
}

/** A file that ships with the package, by its path from the package's root. */
export function packageFile(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!fs.existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return join(folder, name);
}
