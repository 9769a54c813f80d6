/**
 * The MLPs of a layer (model.md sections 7 and 8) for the rows of one rank: dense, or routed and shared
 * experts. Tokens are grouped by expert, so that an expert's weights are read once a pass; each token's
 * experts are added in ascending order.
 *
 * Two halves with a barrier between: gate and up give some columns of the middle, which all ranks need whole
 * before down gives some columns of the output. Each group has a place of its own in the middle, so between
 * waves of groups nobody waits for those who still read it.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { type InferenceKernels, paddedCols, type WeightDtype } from "../kernels/inference.ts";
import type { Exchange } from "./exchange.ts";
import type { ExpertStore, ExpertWish } from "./expert-store.ts";
import { type Routing, route } from "./router.ts";
import type { RunState } from "./run-state.ts";
import type { LayerWeights, MoeWeights, Swiglu } from "./weights.ts";

/** Tokens that go through one MLP together. */
interface Group {
  mlp: Swiglu;
  /** Number of an expert that is read on demand. */
  streamed: number | undefined;
  /** Rows of the pass; all of them when undefined. */
  rows: number[] | undefined;
  count: number;
  /** Weight of each row's result; 1 when undefined. */
  weights: number[] | undefined;
  /** Where its middle begins in the shared buffer, in float32, and its width. */
  middle: number;
  width: number;
}

/** So many tokens together go to most of the experts that the router names one layer ahead. */
const SURE_TOKENS = 16;

function wishesOf(groups: readonly Group[]): ExpertWish[] {
  return groups.flatMap(({ streamed, count }) =>
    streamed === undefined ? [] : [{ expert: streamed, tokens: count }],
  );
}

export class FeedForward {
  readonly #kernels: InferenceKernels;
  readonly #config: ModelConfig;
  readonly #state: RunState;
  readonly #exchange: Exchange;
  readonly #experts: ExpertStore | undefined;

  constructor(
    kernels: InferenceKernels,
    options: {
      config: ModelConfig;
      state: RunState;
      exchange: Exchange;
      /** Where experts are read on demand. */
      experts?: ExpertStore | undefined;
    },
  ) {
    this.#kernels = kernels;
    this.#config = options.config;
    this.#state = options.state;
    this.#exchange = options.exchange;
    this.#experts = options.experts;
  }

  /**
   * state.normed (count, hidden) -> this rank's columns of the output (count, rows of down), somewhere in the
   * heap. The layer that comes next is for reading its experts ahead.
   */
  async run(
    { mlp }: LayerWeights,
    { count, next }: { count: number; next: LayerWeights | undefined },
  ): Promise<{ data: number; width: number }> {
    const { normed } = this.#state;
    const { hidden } = this.#config.sizes;
    const groups = mlp.kind === "moe" ? this.#routedGroups(mlp, count) : [this.#all(mlp.dense, count, 0)];
    const store = this.#experts;
    const waves = this.#wavesOf(groups);
    await store?.poll();
    store?.want(wishesOf(waves[0]!));
    // Behind the input, which is needed until the last wave: the next layer's input, then the output.
    const out = { data: normed + 4 * count * hidden, width: groups[0]!.mlp.down.rows };
    const likely = store && next ? this.#likely(next, { count, room: out.data }) : [];
    this.#kernels.floats.fill(0, out.data / 4, out.data / 4 + count * out.width);
    for (const [i, wave] of waves.entries()) {
      const following = waves[i + 1];
      if (following && this.#holdsTwo) store?.want(wishesOf(following));
      // Not before the last wave: what is read ahead would keep the others waiting, and then give way to them.
      if (!following) store?.expect(likely, { sure: count >= SURE_TOKENS });
      await this.#firstHalves(wave);
      this.#exchange.barrier();
      for (const group of wave) this.#secondHalf(group, out);
      store?.release(wishesOf(wave));
      if (following && !this.#holdsTwo) store?.want(wishesOf(following));
    }
    return out;
  }

  /** Whether there is room for the experts of two waves: while one is computed, the next is read. */
  get #holdsTwo(): boolean {
    return (this.#experts?.numSlots ?? Infinity) > 1;
  }

  /** Groups that go together: all of them, unless their experts do not fit into memory at one time. */
  #wavesOf(groups: Group[]): Group[][] {
    const limit = this.#experts?.numSlots ?? Infinity;
    const numStreamed = groups.filter(({ streamed }) => streamed !== undefined).length;
    if (numStreamed <= limit) return [groups];
    const size = Math.max(1, Math.floor(limit / 2)); // of two waves that are in memory together
    const waves: Group[][] = [];
    for (let from = 0; from < groups.length; from += size) waves.push(groups.slice(from, from + size));
    return waves;
  }

  /** First half of some groups, in the order in which their weights are there: it does not show. */
  async #firstHalves(groups: readonly Group[]): Promise<void> {
    const store = this.#experts;
    let waiting = groups;
    while (waiting.length > 0) {
      const late: Group[] = [];
      for (const group of waiting) {
        if (group.streamed === undefined || store!.isReady(group.streamed)) this.#firstHalf(group);
        else late.push(group);
      }
      // What has arrived meanwhile shows only when this thread waits.
      if (late.length > 0) await store!.arrival();
      waiting = late;
    }
  }

  /** state.normed -> this rank's columns of a group's middle, in the shared buffer. */
  #firstHalf(group: Group): void {
    const { arranged, part, part2, normed } = this.#state;
    const { hidden } = this.#config.sizes;
    const kernels = this.#kernels;
    const { gate, up } = group.mlp;
    if (gate.rows === 0) return;
    const x = { data: arranged, count: group.count };
    this.#gather(group, { from: normed, cols: hidden, dtype: gate.dtype });
    kernels.linear(gate, x, { data: part, count: group.count, stride: gate.rows });
    if (up.dtype !== gate.dtype) this.#gather(group, { from: normed, cols: hidden, dtype: up.dtype });
    kernels.linear(up, x, { data: part2, count: group.count, stride: up.rows });
    const half = { data: part, count: group.count, stride: gate.rows };
    kernels.siluMul(half, { ...half, data: part2 }, gate.rows, half);
    this.#share(group, half);
  }

  /** The shared middle of a group -> added to this rank's columns of the output. */
  #secondHalf(group: Group, out: { data: number; width: number }): void {
    const { arranged, part, middle } = this.#state;
    const kernels = this.#kernels;
    const { down } = group.mlp;
    if (down.rows === 0) return;
    const shared = this.#exchange.middle.subarray(group.middle, group.middle + group.count * group.width);
    kernels.floats.set(shared, middle / 4);
    const x = { data: middle, count: group.count, stride: group.width };
    kernels.arrange(down.dtype, x, group.width, arranged);
    const results = { data: part, count: group.count, stride: out.width };
    kernels.linear(down, { data: arranged, count: group.count }, results);
    for (let i = 0; i < group.count; i++) {
      const row = group.rows ? group.rows[i]! : i;
      const to = out.data + 4 * row * out.width;
      kernels.addScaled(to, part + 4 * i * out.width, group.weights?.[i] ?? 1, out.width);
    }
  }

  /**
   * Experts on demand that the next layer's router chooses for the residual stream as it is now (model.md
   * section 18): those with most weight first, or, of many tokens, in the order in which they will be wanted.
   */
  #likely({ mlp, outputNorm }: LayerWeights, { count, room }: { count: number; room: number }): number[] {
    if (mlp.kind !== "moe" || mlp.firstStreamed === undefined) return [];
    const { hidden } = this.#config.sizes;
    const x = { data: this.#state.x, count, stride: hidden };
    this.#kernels.rmsNorm(x, outputNorm, hidden, this.#config.epsilon, { ...x, data: room });
    const shares = new Map<number, number>();
    for (const { experts, weights } of this.routings(mlp, count, room)) {
      for (const [i, expert] of experts.entries())
        shares.set(expert, (shares.get(expert) ?? 0) + weights[i]!);
    }
    const isSure = count >= SURE_TOKENS;
    const likely = [...shares].sort(([a, m], [b, n]) => (isSure ? 0 : n - m) || a - b);
    return likely.map(([expert]) => mlp.firstStreamed! + expert);
  }

  #all(mlp: Swiglu, count: number, middle: number): Group {
    const all = { rows: undefined, weights: undefined, streamed: undefined };
    return { ...all, mlp, count, middle, width: mlp.down.cols };
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
      const mlp = moe.experts[expert]!;
      const streamed = moe.firstStreamed === undefined ? undefined : moe.firstStreamed + expert;
      groups.push({ mlp, streamed, rows, count: rows.length, weights, middle, width });
      middle += rows.length * width;
    }
    if (moe.shared) groups.push(this.#all(moe.shared, count, middle));
    return groups;
  }

  /** Every rank routes for itself: the router is small, and a barrier would cost more. */
  routings(moe: MoeWeights, count: number, normed: number = this.#state.normed): Routing[] {
    const { routing, arranged } = this.#state;
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
