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

export class Faults {
  readonly #file: string | undefined;
  // By position and text: a mapping that an alias uses twice is read twice and complained about once.
  readonly #problems = new Map<string, Problem>();

  constructor(file: string | undefined) {
    this.#file = file;
  }

  get found(): boolean {
    return this.#problems.size > 0;
  }

  add(at: Position, code: string, message: string, note?: string): void {
    const key = `${at.line}:${at.column}:${message}`;
    this.#problems.set(key, problemAt(this.#file, at, code, message, note));
  }

  /** Throws a RecipeError with every problem, in the order of the text, if there is one. */
  throwIfAny(): void {
    if (!this.found) return;
    const order = (a: Problem, b: Problem) => a.line! - b.line! || a.column! - b.column!;
    throw new RecipeError([...this.#problems.values()].sort(order));
  }
}
