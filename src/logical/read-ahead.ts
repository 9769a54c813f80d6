/**
 * Reading the next piece while the present one is computed: two slots, used in turn.
 *
 * A kernel blocks its thread, but not the threads that read and write. So a worker's time is the larger of
 * disk and arithmetic, not their sum.
 */

/** Loads each item into slot 0 or 1 before it is asked for; at most one load is under way. */
export async function* readAhead<Item, Loaded>(
  items: Iterable<Item>,
  load: (item: Item, slot: 0 | 1) => Promise<Loaded>,
): AsyncGenerator<{ item: Item; loaded: Loaded; slot: 0 | 1 }> {
  const iterator = items[Symbol.iterator]();
  let slot: 0 | 1 = 0;
  let pending: Promise<Loaded> | undefined;
  const begin = (item: Item) => {
    pending = load(item, slot);
    pending.catch(() => {}); // reported when it is awaited; until then it is not unhandled
  };
  try {
    let next = iterator.next();
    if (!next.done) begin(next.value);
    while (!next.done) {
      const item = next.value;
      const loaded = await pending!;
      const at = slot;
      slot = slot === 0 ? 1 : 0;
      next = iterator.next();
      if (!next.done) begin(next.value);
      yield { item, loaded, slot: at };
    }
  } finally {
    // Whoever stops early reuses the slots: the read into one must have ended.
    await pending?.catch(() => {});
  }
}

/**
 * Results of some reads into a heap, when all of them have ended: none may go on writing where others will read
 * to, even if one has failed. Throws what the first of them has thrown.
 */
export async function allEnded<T>(reads: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(reads);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/** Remembers the last write from each slot, and waits for it before the slot is filled again. */
export class PendingWrites {
  readonly #last: (Promise<void> | undefined)[] = [undefined, undefined];

  /** Waits until the slot may be written to. Throws what its last write threw. */
  async free(slot: 0 | 1): Promise<void> {
    await this.#last[slot];
    this.#last[slot] = undefined;
  }

  add(slot: 0 | 1, write: Promise<void>): void {
    write.catch(() => {}); // reported by free() or all()
    this.#last[slot] = write;
  }

  async all(): Promise<void> {
    await this.free(0);
    await this.free(1);
  }

  /** Waits without reporting: for leaving after another error. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#last);
  }
}
