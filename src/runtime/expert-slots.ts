/**
 * Which routed experts are in memory, and which gives way to another: the policy of the cache, without any
 * reading.
 *
 * An expert's worth is how often tokens went to it, each use weighing half of what one `halfLife` tokens
 * later does (frequency with ageing). The one of least worth gives way, unless somebody holds it.
 */

/** Why an expert may not give way. */
export const WANTED = 1;
/** A read writes to its slot. */
export const READING = 2;
/** Read ahead for a layer whose turn has not come; gives way to what is wanted now. */
export const EXPECTED = 4;

export interface SlotOptions {
  numExperts: number;
  numSlots: number;
  /** Tokens. */
  halfLife: number;
}

/** Worths grow without end; from here on they are scaled down. */
const LARGE = 2 ** 64;

export class ExpertSlots {
  readonly numSlots: number;
  /** By expert: its slot, or -1. */
  readonly #slots: Int32Array;
  /** By slot: its expert, or -1. */
  readonly #experts: Int32Array;
  readonly #holds: Uint8Array;
  readonly #worth: Float64Array;
  readonly #growth: number;
  #gain = 1;

  constructor({ numExperts, numSlots, halfLife }: SlotOptions) {
    this.numSlots = numSlots;
    this.#slots = new Int32Array(numExperts).fill(-1);
    this.#experts = new Int32Array(numSlots).fill(-1);
    this.#holds = new Uint8Array(numExperts);
    this.#worth = new Float64Array(numExperts);
    this.#growth = 2 ** (1 / halfLife);
  }

  /** The slot of an expert, or -1. */
  slotOf(expert: number): number {
    return this.#slots[expert]!;
  }

  /** Tokens went to an expert. */
  use(expert: number, tokens: number): void {
    this.#worth[expert]! += tokens * this.#gain;
  }

  /** So many tokens are done: uses from now on weigh more. */
  age(tokens: number): void {
    this.#gain *= this.#growth ** tokens;
    if (this.#gain < LARGE) return;
    for (let i = 0; i < this.#worth.length; i++) this.#worth[i]! /= this.#gain;
    this.#gain = 1;
  }

  hold(expert: number, why: number): void {
    this.#holds[expert]! |= why;
  }

  letGo(expert: number, why: number): void {
    this.#holds[expert]! &= ~why;
  }

  letGoAll(): void {
    this.#holds.fill(0);
  }

  isHeld(expert: number, why: number): boolean {
    return (this.#holds[expert]! & why) !== 0;
  }

  /**
   * A slot for an expert that has none, that of the least worthy one that nobody holds; -1 when all are held.
   * `despite`: holds that do not count.
   */
  claim(expert: number, { despite = 0 }: { despite?: number } = {}): number {
    let best = -1;
    let least = Infinity;
    for (let slot = 0; slot < this.numSlots; slot++) {
      const other = this.#experts[slot]!;
      if (other < 0) {
        best = slot;
        break;
      }
      if ((this.#holds[other]! & ~despite) !== 0 || this.#worth[other]! >= least) continue;
      least = this.#worth[other]!;
      best = slot;
    }
    if (best < 0) return -1;
    const previous = this.#experts[best]!;
    if (previous >= 0) this.#forget(previous);
    this.#experts[best] = expert;
    this.#slots[expert] = best;
    return best;
  }

  /** Frees an expert's slot: nothing of use is in it. */
  drop(expert: number): void {
    const slot = this.#slots[expert]!;
    if (slot >= 0) this.#experts[slot] = -1;
    this.#forget(expert);
  }

  #forget(expert: number): void {
    this.#slots[expert] = -1;
    this.#holds[expert] = 0;
  }
}
