/**
 * Whether drafts make a model quicker. They need not: a pass over two tokens goes to more experts than one, and
 * where products are bound by arithmetic it takes nearly twice the time. Answers are the same with and without
 * drafts, so it is tried: some steps with, some without, and the quicker way is kept for all that follows.
 */

const DRAFTED_STEPS = 10;
const PLAIN_STEPS = 5;

/** Of one model; counts go on over several answers. */
export class DraftBalance {
  readonly #drafted: number[] = [];
  readonly #plain: number[] = [];
  #kept = 0;
  #pays: boolean | undefined;

  /** Undefined while it is not known. */
  get pays(): boolean | undefined {
    return this.#pays;
  }

  /** Whether the next step is to have a draft. */
  get triesDraft(): boolean {
    return this.#pays ?? this.#drafted.length < DRAFTED_STEPS;
  }

  /** Seconds of a step with a draft, or without one. */
  add({ seconds, isDrafted, isKept }: { seconds: number; isDrafted: boolean; isKept: boolean }): void {
    if (this.#pays !== undefined) return;
    (isDrafted ? this.#drafted : this.#plain).push(seconds);
    if (isKept) this.#kept++;
    if (this.#drafted.length < DRAFTED_STEPS || this.#plain.length < PLAIN_STEPS) return;
    const tokensPerStep = 1 + this.#kept / this.#drafted.length;
    this.#pays = tokensPerStep / median(this.#drafted) > 1 / median(this.#plain);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
