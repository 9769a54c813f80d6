/**
 * How much of what is fetched a thread holds, over all the files that it has open. What was read to its end gives way
 * first; what is fetched ahead waits until there is room; what somebody waits for is fetched all the same.
 */

/** A window that is held. */
export interface Held {
  bytes: number;
  /** It has arrived: what is on its way cannot be dropped. */
  isHere: boolean;
  /** It was read to its end: it is kept for whoever may read it again. */
  isSpent: boolean;
  /** Of the budget's clock, when it was last read from. */
  used: number;
  drop(): void;
}

/** Six windows of the longest kind: those in use of two parents, their scales, and two ahead. */
const THREAD_BYTES = 96 << 20;

export class WindowBudget {
  readonly most: number;
  readonly #held = new Set<Held>();
  #clock = 0;
  #bytes = 0;
  /** The most that it ever held. */
  peak = 0;

  constructor(most: number) {
    this.most = most;
  }

  touch(held: Held): void {
    held.used = ++this.#clock;
  }

  /** Whether there is room for what nobody waits for yet; spent windows give way to it. */
  hasRoom(bytes: number): boolean {
    this.#free(bytes, ({ isSpent }) => isSpent);
    return this.#bytes + bytes <= this.most;
  }

  /** Makes room for what is waited for, as far as windows can give way. */
  makeRoom(bytes: number): void {
    this.#free(bytes, ({ isSpent }) => isSpent);
    this.#free(bytes, () => true);
  }

  #free(bytes: number, mayGo: (held: Held) => boolean): void {
    if (this.#bytes + bytes <= this.most) return;
    for (const held of [...this.#held].sort((a, b) => a.used - b.used)) {
      if (!held.isHere || !mayGo(held)) continue;
      this.remove(held);
      held.drop();
      if (this.#bytes + bytes <= this.most) return;
    }
  }

  add(held: Held): void {
    this.touch(held);
    this.#held.add(held);
    this.#bytes += held.bytes;
    this.peak = Math.max(this.peak, this.#bytes);
  }

  remove(held: Held): void {
    if (this.#held.delete(held)) this.#bytes -= held.bytes;
  }
}

let ofThread: WindowBudget | undefined;

export function threadBudget(): WindowBudget {
  ofThread ??= new WindowBudget(THREAD_BYTES);
  return ofThread;
}
