/**
 * What both forms of attention work with: the heads of one rank, where their queries and weights lie, and the
 * running state of an online softmax (model.md section 16.4).
 */
import type { DeepseekSizes } from "../arch/deepseek-sizes.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import type { InferenceKernels, Weight } from "../kernels/inference.ts";
import { softmaxScale } from "./rope.ts";
import type { RunState } from "./run-state.ts";

/** A running maximum before the first score: finite, so that differences are numbers. */
const NO_SCORE = -1e30;

export class AttentionHeads {
  readonly kernels: InferenceKernels;
  readonly sizes: DeepseekSizes;
  readonly state: RunState;
  readonly numHeads: number;
  /** Softmax scale in base 2. */
  readonly scale: number;
  readonly #ints: Int32Array;

  constructor(
    kernels: InferenceKernels,
    options: { config: ModelConfig; state: RunState; numHeads: number },
  ) {
    this.kernels = kernels;
    this.sizes = options.config.sizes;
    this.state = options.state;
    this.numHeads = options.numHeads;
    this.scale = softmaxScale(options.config) * Math.LOG2E;
    this.#ints = new Int32Array(kernels.bytes.buffer, kernels.bytes.byteOffset);
  }

  /** Where the query of a row and head is: (rows, heads, nope + rope). */
  query(row: number, head: number): number {
    const { nopeDim, ropeDim } = this.sizes;
    return this.state.queries + 4 * (row * this.numHeads + head) * (nopeDim + ropeDim);
  }

  /** Rows of keyValueUp: `count` of a head, the keys' (nope) first and the values' after them. */
  headRows(weight: Weight, head: number, part: "keys" | "values" | "both"): Weight {
    const { nopeDim, valueDim } = this.sizes;
    const from = head * (nopeDim + valueDim) + (part === "values" ? nopeDim : 0);
    const count = part === "both" ? nopeDim + valueDim : part === "keys" ? nopeDim : valueDim;
    return rowsOf(weight, from, count);
  }

  /** Empty running state of an online softmax: (rows), (rows, width). */
  begin(rows: number, width: number): void {
    const { attention } = this.state;
    const { floats } = this.kernels;
    floats.fill(NO_SCORE, attention.maxima / 4, attention.maxima / 4 + rows);
    floats.fill(0, attention.sums / 4, attention.sums / 4 + rows);
    floats.fill(0, attention.out / 4, attention.out / 4 + rows * width);
  }

  /** Row i of a segment, at position start + i, sees the keys up to its own. Rows repeat with each head. */
  setLimits(rows: number, at: { keys: number; firstKey: number; count: number; start: number }): void {
    const { limits } = this.state.attention;
    for (let row = 0; row < rows; row++) {
      const position = at.start + (row % at.count);
      this.#ints[limits / 4 + row] = Math.min(Math.max(position + 1 - at.firstKey, 0), at.keys);
    }
  }

  /** Ends an online softmax: outputs by their sums. */
  divide(rows: number, width: number): void {
    const { attention } = this.state;
    const { floats } = this.kernels;
    for (let row = 0; row < rows; row++) {
      const sum = floats[attention.sums / 4 + row]!;
      const at = attention.out / 4 + row * width;
      for (let i = at; i < at + width; i++) floats[i] = floats[i]! / sum;
    }
  }
}

/** Some rows of a weight, as a weight. */
export function rowsOf(weight: Weight, from: number, count: number): Weight {
  const size = weight.dtype === "F32" ? 4 : weight.dtype === "F8_E4M3" ? 1 : 2;
  const firstRow = weight.firstRow + from;
  const blocks = Math.floor(firstRow / weight.blockRows) - Math.floor(weight.firstRow / weight.blockRows);
  const perRow = Math.ceil(weight.cols / weight.blockCols);
  return {
    ...weight,
    data: weight.data + from * weight.cols * size,
    rows: count,
    firstRow,
    scales: weight.scales === 0 ? 0 : weight.scales + 4 * blocks * perRow,
  };
}

/** float32 rows as a weight, so that products can be taken with them. */
export function floatRows(data: number, rows: number, cols: number): Weight {
  return { dtype: "F32", data, rows, cols, scales: 0, blockRows: 1, blockCols: 128, firstRow: 0 };
}
