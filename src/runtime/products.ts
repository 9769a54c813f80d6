/** Products with a rank's rows of a weight, and their way to the buffers that all ranks share. */
import type { InferenceKernels, Weight } from "../kernels/inference.ts";
import type { RunState } from "./run-state.ts";

export class Products {
  readonly #kernels: InferenceKernels;
  readonly #state: RunState;

  constructor(kernels: InferenceKernels, state: RunState) {
    this.#kernels = kernels;
    this.#state = state;
  }

  /** Rows of this rank of a product, and their bias, in state.part: (count, weight.rows). */
  multiply(weight: Weight, x: { data: number; count: number; stride: number }, bias = 0): void {
    const [kernels, state] = [this.#kernels, this.#state];
    if (weight.rows === 0) return;
    kernels.arrange(weight.dtype, x, weight.cols, state.arranged);
    const out = { data: state.part, count: x.count, stride: weight.rows };
    kernels.linear(weight, { data: state.arranged, count: x.count }, out);
    if (!bias) return;
    for (let row = 0; row < x.count; row++) {
      kernels.addScaled(state.part + 4 * row * weight.rows, bias + 4 * weight.firstRow, 1, weight.rows);
    }
  }

  /** state.part to its columns of a shared buffer whose rows are `width` wide. */
  share(
    { rows, firstRow }: Weight,
    { count, to, width, at }: { count: number; to: Float32Array; width: number; at: number },
  ): void {
    const { floats } = this.#kernels;
    const part = this.#state.part / 4;
    for (let row = 0; row < count; row++) {
      to.set(floats.subarray(part + row * rows, part + (row + 1) * rows), row * width + at + firstRow);
    }
  }
}
