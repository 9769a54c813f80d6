/**
 * Collects what is wrong with a file, so that all of it is reported at once and in reading order.
 *
 * A recipe or a task is short and its author is waiting: ten mistakes should cost one run, not ten.
 */
import type { Problem } from "../base/errors.ts";
import type { Position } from "./position.ts";

/** A problem at a position, ready for an error or a report. */
export function problemAt(
  file: string | undefined,
  at: Position,
  code: string,
  message: string,
  note?: string,
): Problem {
  return {
    code,
    message,
    ...(note === undefined ? {} : { note }),
    ...(file === undefined ? {} : { file }),
    line: at.line,
    column: at.column,
  };
}

/** What a file is meant to be, for messages and for the error that lists its faults. */
export interface DocumentKind {
  /** "recipe", "task" … */
  noun: string;
  /** Largest file that is read. */
  maxBytes: number;
  error: (problems: readonly Problem[]) => Error;
}

// A file of quite another kind can have half a million faults, and nobody reads them.
const MAX_PROBLEMS = 1000;

export class Faults {
  readonly kind: DocumentKind;
  readonly #file: string | undefined;
  // By position and text: a mapping that an alias uses twice is read twice and complained about once.
  readonly #problems = new Map<string, Problem>();
  #numOmitted = 0;

  constructor(file: string | undefined, kind: DocumentKind) {
    this.kind = kind;
    this.#file = file;
  }

  get found(): boolean {
    return this.#problems.size > 0;
  }

  get count(): number {
    return this.#problems.size;
  }

  add(at: Position, code: string, message: string, note?: string): void {
    const key = `${at.line}:${at.column}:${message}`;
    if (this.#problems.has(key)) return;
    if (this.#problems.size < MAX_PROBLEMS) {
      this.#problems.set(key, problemAt(this.#file, at, code, message, note));
    } else this.#numOmitted++;
  }

  /** Throws the error of this kind with every problem, in the order of the text, if there is one. */
  throwIfAny(): void {
    if (!this.found) return;
    const order = (a: Problem, b: Problem) => a.line! - b.line! || a.column! - b.column!;
    const problems = [...this.#problems.values()].sort(order);
    if (this.#numOmitted > 0) {
      const { line, column } = problems.at(-1)!;
      const message = `Cannot list more than ${MAX_PROBLEMS} problems: there are ${this.#numOmitted} more, wanted a ${this.kind.noun}`;
      problems.push(problemAt(this.#file, { line: line!, column: column! }, "too-many-problems", message));
    }
    throw this.kind.error(problems);
  }
}
