/** What the cache of routed experts has done: counted by each rank in shared memory, told by the model. */

/** Cells of a rank's Float64Array; all of them grow. */
export const EXPERT_CELLS = {
  /** Experts that a layer wanted and that were in memory. */
  hits: 0,
  /** Of these, those that were there, or on their way, because they were read ahead. */
  ahead: 1,
  /** Experts that had to be read when they were wanted. */
  misses: 2,
  /** Reads ahead that were begun. */
  guesses: 3,
  bytes: 4,
  /** Seconds in which this rank waited for reads. */
  waiting: 5,
} as const;
export const NUM_EXPERT_CELLS = 6;

/** Since the model was loaded. */
export interface ExpertUse {
  hits: number;
  ahead: number;
  misses: number;
  guesses: number;
  /** Read from disk, by all threads. */
  bytes: number;
  /** Seconds of the thread that waited longest. */
  waiting: number;
}

/** All ranks' cells as one. Each rank sees the same wishes; what it reads is its own share. */
export function gatherExpertUse(cells: Float64Array): ExpertUse {
  const numRanks = cells.length / NUM_EXPERT_CELLS;
  const of = (cell: number) =>
    Array.from({ length: numRanks }, (_, rank) => cells[rank * NUM_EXPERT_CELLS + cell]!);
  const mean = (cell: number) => of(cell).reduce((a, b) => a + b, 0) / numRanks;
  const { hits, ahead, misses, guesses, bytes, waiting } = EXPERT_CELLS;
  return {
    ...{ hits: mean(hits), ahead: mean(ahead), misses: mean(misses), guesses: mean(guesses) },
    bytes: mean(bytes) * numRanks,
    waiting: Math.max(...of(waiting)),
  };
}

/** What was done between two looks. */
export function expertUseSince(now: ExpertUse, before: ExpertUse): ExpertUse {
  return {
    hits: now.hits - before.hits,
    ahead: now.ahead - before.ahead,
    misses: now.misses - before.misses,
    guesses: now.guesses - before.guesses,
    bytes: now.bytes - before.bytes,
    waiting: now.waiting - before.waiting,
  };
}
