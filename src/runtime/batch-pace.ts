/**
 * How many rows of prompts go into a pass beside the answers that are being written. A long prompt must not make them
 * wait: while there are any, a pass takes about a quarter of a second. What there is goes half to whoever has waited
 * longest and half to the shortest, so that neither waits for the other.
 */

/** Seconds that a pass with prompts may take while answers are written. */
const PASS_SECONDS = 0.25;
/** Fewer would read the weights for little. */
const LEAST_ROWS = 16;
/** Weight of the last pass in the mean. */
const NEWEST = 0.2;

export class BatchPace {
  #rowSeconds = 0;

  /** A pass of so many rows has taken so long. */
  add(rows: number, seconds: number): void {
    const perRow = seconds / rows;
    this.#rowSeconds = this.#rowSeconds === 0 ? perRow : (1 - NEWEST) * this.#rowSeconds + NEWEST * perRow;
  }

  /** Rows for prompts, where `free` are left in the pass. */
  promptRows(free: number, numDecoding: number): number {
    if (numDecoding === 0 || this.#rowSeconds === 0) return free;
    const rows = Math.max(LEAST_ROWS, Math.floor(PASS_SECONDS / this.#rowSeconds) - numDecoding);
    return Math.min(free, rows);
  }
}

/** Shares rows out among those that want so many each, the one that has waited longest first in the list. */
export function shareRows(wanted: readonly number[], rows: number): number[] {
  const given = wanted.map(() => 0);
  let left = rows;
  const give = (index: number, most: number) => {
    const more = Math.min(wanted[index]! - given[index]!, most, left);
    given[index]! += more;
    left -= more;
  };
  if (wanted.length > 0) give(0, Math.ceil(rows / 2));
  const shortestFirst = wanted.map((_, index) => index).sort((a, b) => wanted[a]! - wanted[b]! || a - b);
  for (const index of shortestFirst) give(index, left);
  return given;
}
