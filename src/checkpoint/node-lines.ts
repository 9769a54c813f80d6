/**
 * A file of JSON lines that grows: what a process that is killed has appended stays, but for a line that it was
 * just writing, which is cut off when the file is opened again.
 */
import * as fs from "node:fs";
import { CheckpointError } from "../base/errors.ts";
import { isCode, openError, readToEnd, rethrowWrite } from "./node-files.ts";
import { printable } from "./shown.ts";

/** Some hundred thousand records with long traces. */
const MAX_BYTES = 4_000_000_000;

export interface JsonLines {
  /** What the file held when it was opened, in order. */
  readonly lines: readonly unknown[];
  append(value: unknown): void;
  close(): void;
}

/** Opens to append; makes the file where there is none. Throws CheckpointError for a line that is no JSON. */
export function openJsonLines(path: string): JsonLines {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT);
  } catch (error) {
    rethrowWrite(error, path);
  }
  try {
    const bytes = readToEnd(fd, path, MAX_BYTES);
    const whole = bytes.lastIndexOf(10) + 1;
    // First: of a file that is damaged nothing is cut off.
    const lines = parse(bytes.subarray(0, whole), path);
    if (whole < bytes.length) fs.ftruncateSync(fd, whole);
    return new AppendedLines(fd, path, { lines, length: whole });
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Reads such a file; a last line without its end is left out. Empty where there is none. */
export function readJsonLines(path: string): unknown[] {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    const bytes = readToEnd(fd, path, MAX_BYTES);
    return parse(bytes.subarray(0, bytes.lastIndexOf(10) + 1), path);
  } catch (error) {
    if (isCode(error, "ENOENT")) return [];
    throw openError(error, path);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function parse(bytes: Uint8Array, path: string): unknown[] {
  const lines: unknown[] = [];
  const decoder = new TextDecoder();
  let from = 0;
  for (let number = 1; from < bytes.length; number++) {
    const end = bytes.indexOf(10, from);
    const text = decoder.decode(bytes.subarray(from, end)).trim();
    from = end + 1;
    if (text === "") continue;
    try {
      lines.push(JSON.parse(text));
    } catch {
      const what = `line ${number} is no JSON, wanted a record`;
      throw new CheckpointError("damaged", `Cannot read "${printable(path)}": ${what}`);
    }
  }
  return lines;
}

class AppendedLines implements JsonLines {
  readonly lines: readonly unknown[];
  readonly #path: string;
  #fd: number | undefined;
  #length: number;

  constructor(fd: number, path: string, { lines, length }: { lines: unknown[]; length: number }) {
    this.#fd = fd;
    this.#path = path;
    this.lines = lines;
    this.#length = length;
  }

  append(value: unknown): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(value)}\n`);
    if (this.#fd === undefined) throw new Error(`internal: "${this.#path}" is closed, wanted open`);
    try {
      for (let done = 0; done < bytes.length; )
        done += fs.writeSync(this.#fd, bytes, done, bytes.length - done, this.#length + done);
      this.#length += bytes.length;
    } catch (error) {
      rethrowWrite(error, this.#path);
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  }
}
