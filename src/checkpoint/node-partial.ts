/**
 * Files that are fetched piece by piece, over several runs: under a name of their own with a list of the pieces that
 * are there, and renamed when all are.
 */
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { placeFault, readFully, rethrowWrite, statOrNone, writeFully } from "./node-files.ts";
import { syncFolder } from "./node-output.ts";
import { PULLED_NAME } from "./pulled.ts";
import { STATE_FOLDER } from "./source.ts";

export type Run = [number, number];

const PARTS = "pull";

interface PartialOptions {
  name: string;
  byteLength: number;
  identity: string;
  known?: readonly Run[] | undefined;
}

export class PartialFile {
  readonly #final: string;
  readonly #part: string;
  readonly #list: string;
  readonly #fd: number;
  readonly #listFd: number;
  /** Pieces that are there, as they were written. */
  readonly runs: Run[];

  /**
   * `identity`: of the content; pieces of another are forgotten. `known`: what is there of a file that has its name
   * already, and is to get more.
   */
  constructor(folder: string, options: PartialOptions) {
    const { name, byteLength, identity, known: old } = options;
    this.#final = join(folder, name);
    const parts = join(folder, STATE_FOLDER, PARTS);
    this.#part = join(parts, `${name}.part`);
    this.#list = join(parts, `${name}.list`);
    const first = JSON.stringify({ identity, byteLength });
    try {
      fs.mkdirSync(parts, { recursive: true });
      if (old) {
        fs.writeFileSync(this.#list, [first, ...old.map((run) => JSON.stringify(run)), ""].join("\n"), {
          flush: true,
        });
        fs.renameSync(this.#final, this.#part);
      }
      const known = readList(this.#list, first);
      const isKnown = known !== undefined && statOrNone(this.#part)?.size === byteLength;
      this.runs = isKnown ? known : [];
      this.#fd = fs.openSync(this.#part, isKnown ? "r+" : "w+");
      if (!isKnown) fs.ftruncateSync(this.#fd, byteLength);
      this.#listFd = fs.openSync(this.#list, isKnown ? "a" : "w");
      if (!isKnown) fs.writeSync(this.#listFd, `${first}\n`);
    } catch (error) {
      rethrowWrite(error, this.#part);
    }
  }

  /** Writes a piece and makes it durable before it is listed. */
  async add(bytes: Uint8Array, offset: number): Promise<void> {
    try {
      await writeFully(this.#fd, bytes, offset);
      await new Promise<void>((resolve, reject) =>
        fs.fdatasync(this.#fd, (error) => (error ? reject(error) : resolve())),
      );
      fs.writeSync(this.#listFd, `${JSON.stringify([offset, offset + bytes.length])}\n`);
      this.runs.push([offset, offset + bytes.length]);
    } catch (error) {
      rethrowWrite(error, this.#part);
    }
  }

  /** Fills `into` from what is there. */
  read(into: Uint8Array, offset: number): void {
    readFully(this.#fd, into, offset);
  }

  /** Its content is wrong: nothing of it is kept. */
  forget(): void {
    fs.rmSync(this.#list, { force: true });
    fs.rmSync(this.#part, { force: true });
  }

  close(): void {
    fs.closeSync(this.#fd);
    fs.closeSync(this.#listFd);
  }

  /** Gives it its name. Closes it. */
  publish(): void {
    try {
      fs.fsyncSync(this.#fd);
      this.close();
      fs.renameSync(this.#part, this.#final);
      syncFolder(dirname(this.#final));
      fs.rmSync(this.#list, { force: true });
    } catch (error) {
      rethrowWrite(error, this.#final);
    }
  }
}

/** Lines that were written whole; undefined when it is the list of other content. */
function readList(path: string, first: string): Run[] | undefined {
  if (!statOrNone(path)) return undefined;
  const [head, ...lines] = fs.readFileSync(path, "utf8").split("\n");
  if (head !== first) return undefined;
  const runs: Run[] = [];
  for (const line of lines.slice(0, -1)) {
    const run = /^\[(\d+),(\d+)\]$/.exec(line);
    if (run) runs.push([Number(run[1]), Number(run[2])]);
  }
  return runs;
}

/** Makes the folder. Throws BuildError where none can be. */
export function preparePull(folder: string): void {
  const fault = placeFault(folder);
  if (fault !== undefined) rethrowWrite(new Error(fault), folder);
  try {
    fs.mkdirSync(join(folder, STATE_FOLDER, PARTS), { recursive: true });
  } catch (error) {
    rethrowWrite(error, folder);
  }
}

/** Writes a small file whole: temporary name, flush, rename. */
export function writePulledFile(folder: string, name: string, bytes: Uint8Array | string): void {
  const path = join(folder, name);
  const temporary = join(folder, STATE_FOLDER, PARTS, `${name}.tmp`);
  try {
    fs.writeFileSync(temporary, bytes, { flush: true });
    fs.renameSync(temporary, path);
    syncFolder(folder);
  } catch (error) {
    rethrowWrite(error, path);
  }
}

/** The folder is whole: nothing is left of the work on it. */
export function endPull(folder: string): void {
  fs.rmSync(join(folder, STATE_FOLDER, PARTS), { recursive: true, force: true });
}

/** Removes the state's folder, unless there is something to go on with in it. */
export function leavePull(folder: string): void {
  const state = join(folder, STATE_FOLDER);
  try {
    if (statOrNone(join(state, PARTS)) && fs.readdirSync(join(state, PARTS)).length === 0)
      fs.rmdirSync(join(state, PARTS));
    // Marks of those who took over the lock of one that was killed (lock.ts).
    for (const name of fs.readdirSync(state).filter((some) => some.startsWith("dead-")))
      fs.rmSync(join(state, name), { force: true });
    fs.rmdirSync(state);
  } catch {
    // Pieces lie there, or a build's state.
  }
}

export function removePulled(folder: string): void {
  fs.rmSync(join(folder, PULLED_NAME), { force: true });
}

/** Length of a file that is there. */
export function lengthOf(folder: string, name: string): number | undefined {
  return statOrNone(join(folder, name))?.size;
}
