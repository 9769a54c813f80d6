/** What the methods learn from: trials within the space, all complete, with the number of objectives they share. */

export interface Observed {
  point: readonly number[];
  /** All minimised. */
  objectives: readonly number[];
}

/** What is known of a search: enough for every method, at least one trial with objectives. */
export interface Knowledge {
  observed: readonly Observed[];
  /** Points of trials that failed. */
  failed: readonly (readonly number[])[];
  /** Points of trials that run meanwhile. */
  pending: readonly (readonly number[])[];
}
