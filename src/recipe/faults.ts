/**
 * Collects what is wrong with a recipe, so that all of it is reported at once and in reading order.
 *
 * A recipe is short and its author is waiting: ten mistakes should cost one run, not ten.
 */
import { type Problem, RecipeError } from "../base/errors.ts";
import type { Position } from "./recipe.ts";

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

// A file that is no recipe at all can have half a million faults, and nobody reads them.
const MAX_PROBLEMS = 1000;

export class Faults {
  readonly #file: string | undefined;
  // By position and text: a mapping that an alias uses twice is read twice and complained about once.
  readonly #problems = new Map<string, Problem>();
  #numOmitted = 0;

  constructor(file: string | undefined) {
    this.#file = file;
  }

  get found(): boolean {
    return this.#problems.size > 0;
  }

  add(at: Position, code: string, message: string, note?: string): void {
    const key = `${at.line}:${at.column}:${message}`;
    if (this.#problems.has(key)) return;
    if (this.#problems.size < MAX_PROBLEMS) {
      this.#problems.set(key, problemAt(this.#file, at, code, message, note));
    } else this.#numOmitted++;
  }

  /** Throws a RecipeError with every problem, in the order of the text, if there is one. */
  throwIfAny(): void {
    if (!this.found) return;
    const order = (a: Problem, b: Problem) => a.line! - b.line! || a.column! - b.column!;
    const problems = [...this.#problems.values()].sort(order);
    if (this.#numOmitted > 0) {
      const { line, column } = problems.at(-1)!;
      const message = `Cannot list more than ${MAX_PROBLEMS} problems: there are ${this.#numOmitted} more, wanted a recipe`;
      problems.push(problemAt(this.#file, { line: line!, column: column! }, "too-many-problems", message));
    }
    throw new RecipeError(problems);
  }
}
