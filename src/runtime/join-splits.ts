/**
 * Attention that was split over parts of its keys, made whole (FlashMLA's combine, model.md section 16.6): each
 * part leaves an output and the base-2 logarithm of its sum, and they are joined one after the other, in
 * float64, so that the parts need not all be kept.
 */

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
