/** Reads files for tasks: what is wrong with one is a fault where it is named, or in the file itself. */
import { CheckpointError, type Problem, TaskError } from "../base/errors.ts";
import { readRegularFile } from "../checkpoint/node.ts";
import { readDocument, START, type Value } from "../yaml/document.ts";
import { type DocumentKind, Faults } from "../yaml/faults.ts";
import type { Position } from "../yaml/position.ts";
import { readTags } from "./python-tags.ts";
import { MAX_DATA_BYTES, MAX_TASK_BYTES } from "./vocabulary.ts";

export const TASK: DocumentKind = {
  noun: "task",
  maxBytes: MAX_TASK_BYTES,
  error: (problems) => new TaskError(problems),
};

/** Where a file is named. */
export interface Place {
  faults: Faults;
  at: Position;
}

export class FileReader {
  readonly problems: Problem[] = [];

  /** Moves faults to the problems. */
  take(faults: Faults): void {
    try {
      faults.throwIfAny();
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      for (const problem of error.problems) this.problems.push(problem);
    }
  }

  async read(
    path: string,
    place: Place,
    limitBytes: number = MAX_DATA_BYTES,
  ): Promise<Uint8Array | undefined> {
    return this.attempt(place, () => readRegularFile(path, limitBytes));
  }

  /** The root of a YAML file. */
  async readYaml(
    path: string,
    { place, faults }: { place: Place; faults: Faults },
  ): Promise<Value | undefined> {
    const bytes = await this.read(path, place, MAX_TASK_BYTES);
    if (!bytes) return undefined;
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      faults.add(START, "not-utf-8", "Cannot read the task: it is not valid UTF-8, wanted text");
      return undefined;
    }
    return readTags(text, faults, readDocument);
  }

  /** What a CheckpointError says becomes a fault. */
  async attempt<Result>(
    { faults, at }: Place,
    read: () => Result | Promise<Result>,
  ): Promise<Result | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      faults.add(at, error.code, error.message, error.note);
      return undefined;
    }
  }
}

/** Faults of a task file by its name. */
export function faultsOf(file: string): Faults {
  return new Faults(file, TASK);
}
