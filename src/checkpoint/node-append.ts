/** Files that processes write into: their logs, which grow over several runs. */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { rethrowPlace } from "./node-files.ts";

export interface AppendedFile {
  /** For the stdio of a process. */
  readonly fd: number;
  close(): void;
}

/** Opens a file to append to; makes it, and the folder that it is in, where they are missing. */
export function openAppended(path: string): AppendedFile {
  try {
    fs.mkdirSync(dirname(path), { recursive: true });
    const fd = fs.openSync(path, "a");
    return { fd, close: () => fs.closeSync(fd) };
  } catch (error) {
    return rethrowPlace(error, path);
  }
}

/** The last lines of a text file; none where it cannot be read. */
export function lastLines(path: string, count: number): string[] {
  const LIMIT = 64_000;
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    const { size } = fs.fstatSync(fd);
    const bytes = new Uint8Array(Math.min(size, LIMIT));
    const length = fs.readSync(fd, bytes, 0, bytes.length, size - bytes.length);
    const lines = new TextDecoder().decode(bytes.subarray(0, length)).trimEnd().split("\n");
    return lines.slice(-count).filter((line) => line !== "");
  } catch {
    return [];
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** Makes a folder and those above it. Throws BuildError where none can be. */
export function makeFolder(path: string): void {
  try {
    fs.mkdirSync(path, { recursive: true });
  } catch (error) {
    rethrowPlace(error, path);
  }
}
