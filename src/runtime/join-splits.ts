/**
 * Attention that was split over parts of its keys, made whole (FlashMLA's combine, model.md section 16.6): each
 * part leaves an output and the base-2 logarithm of its sum, and they are joined one after the other, in
 * float64, so that the parts need not all be kept.
 */

export const MAX_SPLITS = 160;

/** Rows of outputs, joined part by part. */
export class JoinedRows {
  /** Base-2 log-sum-exp of each row; -Infinity before it has seen a key. */
  readonly logSums: Float64Array;
  /** (rows, width) */
  readonly outputs: Float64Array;
  readonly #width: number;

  constructor(rows: number, width: number) {
    this.logSums = new Float64Array(rows).fill(-Infinity);
    this.outputs = new Float64Array(rows * width);
    this.#width = width;
  }

  /**
   * Adds a part of a row: its base-2 log-sum-exp (-Infinity for a part without keys, whose row may hold
   * anything), and its output, which lies at an index of `values` and is `sum` times what it should be.
   */
  add(
    row: number,
    { logSum, sum }: { logSum: number; sum: number },
    values: Float32Array,
    index: number,
  ): void {
    if (logSum === -Infinity) return;
    const old = this.logSums[row]!;
    const most = Math.max(old, logSum);
    const total = Math.log2(2 ** (old - most) + 2 ** (logSum - most)) + most;
    const [keep, add] = [2 ** (old - total), 2 ** (logSum - total) / sum];
    const { outputs } = this;
    const start = row * this.#width;
    for (let i = 0; i < this.#width; i++) {
      outputs[start + i] = outputs[start + i]! * keep + values[index + i]! * add;
    }
    this.logSums[row] = total;
  }
}

/**
 * Combines the splits of one row: `outputs` holds one row of `into.length` numbers per split, each normalised,
 * `logSums` their base-2 log-sum-exp (-Infinity for a split without keys). Writes the row to `into`, returns
 * the natural log-sum-exp (+Infinity when no split had a key). An attention sink lowers the output only.
 * Throws RangeError for more than MAX_SPLITS.
 */
export function combineSplits(
  logSums: Float32Array,
  outputs: Float32Array,
  into: Float32Array,
  { sink }: { sink?: number } = {},
): number {
  const width = into.length;
  if (logSums.length > MAX_SPLITS)
    throw new RangeError(`Cannot combine ${logSums.length} splits, wanted at most ${MAX_SPLITS}`);
  const joined = new JoinedRows(1, width);
  for (const [split, logSum] of logSums.entries()) joined.add(0, { logSum, sum: 1 }, outputs, split * width);
  const whole = joined.logSums[0]!;
  const rest = sink === undefined ? 1 : 1 / (1 + 2 ** (sink * Math.LOG2E - whole));
  for (let i = 0; i < width; i++) into[i] = joined.outputs[i]! * rest;
  return whole === -Infinity ? Infinity : whole / Math.LOG2E;
}
