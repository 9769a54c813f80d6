/**
 * The attention half of a layer (model.md section 6) for the rows of one rank: down to the latents, which all ranks
 * need whole, up to the queries of its heads, over the cache, and its rows of the output.
 */
import { INNER_EPSILON, type ModelConfig } from "../arch/model-config.ts";
import type { InferenceKernels } from "../kernels/inference.ts";
import { Attention, cheaperForm, type FormedSegment } from "./attention.ts";
import type { Exchange } from "./exchange.ts";
import { type LatentCache, PAGE_TOKENS } from "./latent-cache.ts";
import type { Pass } from "./pass.ts";
import { Products } from "./products.ts";
import { ATTENDED_ROWS, type RunState } from "./run-state.ts";
import { type LayerWeights, type Share, shareOf } from "./weights.ts";

interface Parts {
  kernels: InferenceKernels;
  config: ModelConfig;
  state: RunState;
  cache: LatentCache;
  exchange: Exchange;
  share: Share;
}

/** The segments of a pass in parts that attend together, each in its form: that which the segment or the pass says. */
export function attendedParts(config: ModelConfig, { segments, attention }: Pass): FormedSegment[] {
  const parts: FormedSegment[] = [];
  for (const { row, count, start, pages, form } of segments) {
    for (let at = 0; at < count; at += ATTENDED_ROWS) {
      const part = { row: row + at, count: Math.min(ATTENDED_ROWS, count - at), start: start + at, pages };
      parts.push({ ...part, form: form ?? attention ?? cheaperForm(config, part) });
    }
  }
  return parts;
}

export class SelfAttention {
  readonly #parts: Parts;
  readonly #products: Products;
  readonly #heads: Attention;
  readonly #numHeads: number;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { kernels, config, share, state } = parts;
    const { from, to } = shareOf(config.sizes.numHeads, share);
    this.#numHeads = to - from;
    this.#products = new Products(kernels, state);
    this.#heads = new Attention(kernels, { ...parts, numHeads: this.#numHeads });
  }

  /** state.normed -> attention's output in the shared delta. */
  run(
    layer: LayerWeights,
    { index, pass, parts }: { index: number; pass: Pass; parts: readonly FormedSegment[] },
  ): void {
    const { kernels, config, state, exchange } = this.#parts;
    const { hidden, queryRank, latent, ropeDim, nopeDim, valueDim, numHeads } = config.sizes;
    const count = pass.tokens.length;
    const normed = { data: state.normed, count, stride: hidden };
    const lowWidth = queryRank + latent + ropeDim;

    // Down to the query latent and to the cache row.
    if (layer.queryDown) {
      this.#products.multiply(layer.queryDown, normed, layer.queryDownBias);
      this.#products.share(layer.queryDown, { count, to: exchange.low, width: lowWidth, at: 0 });
    }
    this.#products.multiply(layer.keyValueDown, normed, layer.keyValueDownBias);
    this.#products.share(layer.keyValueDown, { count, to: exchange.low, width: lowWidth, at: queryRank });
    exchange.barrier();
    kernels.floats.set(exchange.low.subarray(0, count * lowWidth), state.low / 4);

    // Up to the queries of this rank's heads.
    const low = { data: state.low, count, stride: lowWidth };
    if (layer.queryDown) kernels.rmsNorm(low, layer.queryNorm, queryRank, INNER_EPSILON, low);
    const queryWidth = nopeDim + ropeDim;
    if (this.#numHeads > 0) {
      const { queryUp } = layer;
      kernels.arrange(queryUp.dtype, layer.queryDown ? low : normed, queryUp.cols, state.arranged);
      const stride = this.#numHeads * queryWidth;
      kernels.linear(queryUp, { data: state.arranged, count }, { data: state.queries, count, stride });
    }

    // Norm and rotation of the cache rows, rotation of the queries.
    const rowWidth = latent + ropeDim;
    const rows = { data: state.latents, count, stride: rowWidth };
    const down = { ...low, data: state.low + 4 * queryRank };
    kernels.rmsNorm(down, layer.keyValueNorm, latent, INNER_EPSILON, rows);
    for (let row = 0; row < count; row++) {
      const from = state.low / 4 + row * lowWidth + queryRank + latent;
      const to = state.latents / 4 + row * rowWidth + latent;
      kernels.floats.copyWithin(to, from, from + ropeDim);
      const cos = state.angles + 4 * row * ropeDim;
      const angles = { cos, sin: cos + 2 * ropeDim, pairs: ropeDim / 2 };
      const { interleaved } = config.rope;
      kernels.rotate({ data: 4 * to, count: 1, stride: ropeDim }, angles, interleaved);
      const queries = state.queries + 4 * (row * this.#numHeads * queryWidth + nopeDim);
      kernels.rotate({ data: queries, count: this.#numHeads, stride: queryWidth }, angles, interleaved);
    }
    this.#cacheRows(pass, index);
    exchange.barrier();

    this.#heads.run(parts, { layer: index, keyValueUp: layer.keyValueUp });
    const width = numHeads * valueDim;
    const own = this.#numHeads * valueDim;
    const first = shareOf(numHeads, this.#parts.share).from * valueDim;
    for (let row = 0; row < count; row++) {
      const from = state.heads / 4 + row * own;
      exchange.heads.set(kernels.floats.subarray(from, from + own), row * width + first);
    }
    exchange.barrier();
    this.#outputProduct(layer, count);
  }

  /** All heads -> this rank's columns of the attention's output. */
  #outputProduct(layer: LayerWeights, count: number): void {
    const { kernels, config, state, exchange } = this.#parts;
    const { hidden, numHeads, valueDim } = config.sizes;
    const width = numHeads * valueDim;
    // The whole of the heads' outputs goes through the room of arranged rows, as many at a time as fit.
    const step = Math.max(1, Math.min(count, Math.floor((state.rows * 2 * hidden) / width)));
    for (let row = 0; row < count; row += step) {
      const some = Math.min(step, count - row);
      kernels.floats.set(exchange.heads.subarray(row * width, (row + some) * width), state.normed / 4);
      this.#products.multiply(
        layer.output,
        { data: state.normed, count: some, stride: width },
        layer.outputBias,
      );
      const to = exchange.delta.subarray(row * hidden);
      this.#products.share(layer.output, { count: some, to, width: hidden, at: 0 });
    }
  }

  /** Each rank stores some of the pass's rows in the cache. */
  #cacheRows({ segments }: Pass, layer: number): void {
    const { kernels, config, state, cache, share } = this.#parts;
    const width = config.sizes.latent + config.sizes.ropeDim;
    for (const { row, count, start, pages } of segments) {
      for (let i = 0; i < count; i++) {
        if ((row + i) % share.numRanks !== share.rank) continue;
        const position = start + i;
        const at = state.latents / 4 + (row + i) * width;
        cache.write(
          pages[Math.floor(position / PAGE_TOKENS)]!,
          { layer, row: position % PAGE_TOKENS },
          kernels.floats.subarray(at, at + width),
        );
      }
    }
  }
}
