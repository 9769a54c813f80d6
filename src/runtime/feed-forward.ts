/**
 * The MLPs of a layer (model.md sections 7 and 8) for the rows of one rank: dense, or routed and shared
 * experts. Tokens are grouped by expert, so that an expert's weights are read once a pass; each token's
 * experts are added in ascending order.
 *
 * Two halves with a barrier between: gate and up give some columns of the middle, which all ranks need whole
 * before down gives some columns of the output.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { type InferenceKernels, paddedCols, type WeightDtype } from "../kernels/inference.ts";
import type { Exchange } from "./exchange.ts";
import { type Routing, route } from "./router.ts";
import type { RunState } from "./run-state.ts";
import type { LayerWeights, MoeWeights, Swiglu } from "./weights.ts";

/** Tokens that go through one MLP together. */
interface Group {
  mlp: Swiglu;
  /** Rows of the pass; all of them when undefined. */
  rows: number[] | undefined;
  count: number;
  /** Weight of each row's result; 1 when undefined. */
  weights: number[] | undefined;
  /** Where its middle begins in the shared buffer, in float32, and its width. */
  middle: number;
  width: number;
}

export class FeedForward {
  readonly #kernels: InferenceKernels;
  readonly #config: ModelConfig;
  readonly #state: RunState;
  readonly #exchange: Exchange;

  constructor(
    kernels: InferenceKernels,
    options: { config: ModelConfig; state: RunState; exchange: Exchange },
  ) {
    this.#kernels = kernels;
    this.#config = options.config;
    this.#state = options.state;
    this.#exchange = options.exchange;
  }

  /** First half: state.normed (count, hidden) -> this rank's columns of the shared middle. */
  firstHalf({ mlp }: LayerWeights, count: number): Group[] {
    const groups = mlp.kind === "moe" ? this.#routedGroups(mlp, count) : [this.#all(mlp.dense, count, 0)];
    const { arranged, part, part2, normed } = this.#state;
    const { hidden } = this.#config.sizes;
    const kernels = this.#kernels;
    for (const group of groups) {
      const { gate, up } = group.mlp;
      if (gate.rows === 0) continue;
      const x = { data: arranged, count: group.count };
      this.#gather(group, { from: normed, cols: hidden, dtype: gate.dtype });
      kernels.linear(gate, x, { data: part, count: group.count, stride: gate.rows });
      if (up.dtype !== gate.dtype) this.#gather(group, { from: normed, cols: hidden, dtype: up.dtype });
      kernels.linear(up, x, { data: part2, count: group.count, stride: up.rows });
      const half = { data: part, count: group.count, stride: gate.rows };
      kernels.siluMul(half, { ...half, data: part2 }, gate.rows, half);
      this.#share(group, half);
    }
    return groups;
  }

  /** Second half: the shared middle -> this rank's columns of the output, in state.normed (count, rows of down). */
  secondHalf(groups: readonly Group[], count: number): { data: number; width: number } {
    const { arranged, part, normed, middle } = this.#state;
    const kernels = this.#kernels;
    const width = groups[0]!.mlp.down.rows;
    kernels.floats.fill(0, normed / 4, normed / 4 + count * width);
    for (const group of groups) {
      const { down } = group.mlp;
      if (down.rows === 0) continue;
      const shared = this.#exchange.middle.subarray(group.middle, group.middle + group.count * group.width);
      kernels.floats.set(shared, middle / 4);
      const x = { data: middle, count: group.count, stride: group.width };
      kernels.arrange(down.dtype, x, group.width, arranged);
      kernels.linear(
        down,
        { data: arranged, count: group.count },
        { data: part, count: group.count, stride: width },
      );
      for (let i = 0; i < group.count; i++) {
        const row = group.rows ? group.rows[i]! : i;
        kernels.addScaled(normed + 4 * row * width, part + 4 * i * width, group.weights?.[i] ?? 1, width);
      }
    }
    return { data: normed, width };
  }

  #all(mlp: Swiglu, count: number, middle: number): Group {
    return { mlp, rows: undefined, count, weights: undefined, middle, width: mlp.down.cols };
  }

  #routedGroups(moe: MoeWeights, count: number): Group[] {
    const byExpert = new Map<number, { rows: number[]; weights: number[] }>();
    for (const [row, { experts, weights }] of this.routings(moe, count).entries()) {
      for (const [i, expert] of experts.entries()) {
        const tokens = byExpert.get(expert) ?? { rows: [], weights: [] };
        tokens.rows.push(row);
        tokens.weights.push(weights[i]!);
        byExpert.set(expert, tokens);
      }
    }
    const width = this.#config.sizes.expertWidth;
    const groups: Group[] = [];
    let middle = 0;
    for (const expert of [...byExpert.keys()].sort((a, b) => a - b)) {
      const { rows, weights } = byExpert.get(expert)!;
      groups.push({ mlp: moe.experts[expert]!, rows, count: rows.length, weights, middle, width });
      middle += rows.length * width;
    }
    if (moe.shared) groups.push(this.#all(moe.shared, count, middle));
    return groups;
  }

  /** Every rank routes for itself: the router is small, and a barrier would cost more. */
  routings(moe: MoeWeights, count: number): Routing[] {
    const { routing, arranged, normed } = this.#state;
    const { hidden, numExperts } = this.#config.sizes;
    const kernels = this.#kernels;
    const { floats } = kernels;
    kernels.arrange(moe.router.dtype, { data: normed, count, stride: hidden }, hidden, arranged);
    kernels.linear(moe.router, { data: arranged, count }, { data: routing, count, stride: numExperts });
    const bias = moe.routerBias
      ? floats.subarray(moe.routerBias / 4, moe.routerBias / 4 + numExperts)
      : undefined;
    return Array.from({ length: count }, (_, row) => {
      const at = routing / 4 + row * numExperts;
      return route(floats.subarray(at, at + numExperts), bias, this.#config.router!);
    });
  }

  /** Lays out the rows of a group for a product. */
  #gather(
    { rows, count }: Group,
    { from, cols, dtype }: { from: number; cols: number; dtype: WeightDtype },
  ): void {
    const { arranged } = this.#state;
    if (rows === undefined) {
      this.#kernels.arrange(dtype, { data: from, count, stride: cols }, cols, arranged);
      return;
    }
    for (const [i, row] of rows.entries()) {
      const x = { data: from + 4 * row * cols, count: 1, stride: cols };
      this.#kernels.arrange(dtype, x, cols, arranged + 4 * i * paddedCols(cols));
    }
  }

  /** This rank's columns of a group's middle to their place in the shared one. */
  #share({ mlp, count, middle, width }: Group, part: { data: number; stride: number }): void {
    const { floats } = this.#kernels;
    for (let i = 0; i < count; i++) {
      const from = part.data / 4 + i * part.stride;
      const to = middle + i * width + mlp.gate.firstRow;
      this.#exchange.middle.set(floats.subarray(from, from + part.stride), to);
    }
  }
}
