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

  /** Empty running state of an online softmax, for some of its rows: (rows), (rows, width). */
  begin({ from, count }: { from: number; count: number }, width: number): void {
    const { attention } = this.state;
    const { floats } = this.kernels;
    const to = from + count;
    floats.fill(NO_SCORE, attention.maxima / 4 + from, attention.maxima / 4 + to);
    floats.fill(0, attention.sums / 4 + from, attention.sums / 4 + to);
    floats.fill(0, attention.out / 4 + from * width, attention.out / 4 + to * width);
  }

  /** A row sees the keys up to its own. Each token has `perToken` rows; the first token is at position `start`. */
  setLimits(rows: number, at: { keys: number; firstKey: number; perToken: number; start: number }): void {
    const limits = this.state.attention.limits / 4;
    const { keys, firstKey, perToken, start } = at;
    for (let row = 0; row < rows; ) {
      const seen = Math.min(Math.max(start + row / perToken + 1 - firstKey, 0), keys);
      for (const end = row + perToken; row < end; row++) this.#ints[limits + row] = seen;
    }
  }

  /** Ends an online softmax: outputs by their sums. */
  divide({ from, count }: { from: number; count: number }, width: number): void {
    const { attention } = this.state;
    const { floats } = this.kernels;
    for (let row = from; row < from + count; row++) {
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
