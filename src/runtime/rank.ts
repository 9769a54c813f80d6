/**
 * One rank's way through the model (model.md sections 6 to 10): its rows of every product, its heads, and
 * all of what is small. The order of the file is the order of a pass.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { INNER_EPSILON } from "../arch/model-config.ts";
import { type InferenceKernels, paddedCols, type Weight } from "../kernels/inference.ts";
import { Attention, cheaperForm } from "./attention.ts";
import type { Exchange } from "./exchange.ts";
import type { ExpertStore } from "./expert-store.ts";
import { FeedForward } from "./feed-forward.ts";
import { type LatentCache, PAGE_TOKENS } from "./latent-cache.ts";
import type { Pass } from "./pass.ts";
import { ropeAmplitude, ropeFrequencies, writeAngles } from "./rope.ts";
import type { RunState } from "./run-state.ts";
import { type LayerWeights, type ModelWeights, type Share, shareOf } from "./weights.ts";

/** Activations that are not finite: names the layer. */
export class NotFinite extends Error {
  override name = "NotFinite";
}

export interface RankParts {
  kernels: InferenceKernels;
  config: ModelConfig;
  weights: ModelWeights;
  state: RunState;
  cache: LatentCache;
  exchange: Exchange;
  share: Share;
  /** Where routed experts are read on demand. */
  experts?: ExpertStore | undefined;
}

export class Rank {
  readonly #parts: RankParts;
  readonly #attention: Attention;
  readonly #feedForward: FeedForward;
  readonly #frequencies: Float64Array;
  readonly #amplitude: number;
  readonly #numHeads: number;

  constructor(parts: RankParts) {
    this.#parts = parts;
    const { kernels, config, share } = parts;
    const { from, to } = shareOf(config.sizes.numHeads, share);
    this.#numHeads = to - from;
    this.#attention = new Attention(kernels, { ...parts, numHeads: this.#numHeads });
    this.#feedForward = new FeedForward(kernels, parts);
    this.#frequencies = ropeFrequencies(config.rope, config.sizes.ropeDim);
    this.#amplitude = ropeAmplitude(config.rope);
  }

  /** Runs a pass; results are in the exchange when all ranks are done. */
  async run(pass: Pass): Promise<void> {
    const { config, weights, exchange, state } = this.#parts;
    const { numLayers } = config.sizes;
    const count = pass.tokens.length;
    this.#prepareAngles(pass);
    if (pass.kind === "main") {
      this.#embed(pass.tokens, weights.embedding);
      this.#toResidual(count, "replace");
      this.#trace(0, state.x, count);
      for (const [index, layer] of weights.layers.entries()) {
        await this.#layer(layer, { index, pass, next: weights.layers[index + 1] });
        this.#trace(index + 1, state.x, count);
      }
      this.#finish(pass, { norm: weights.finalNorm, head: weights.head });
      this.#trace(numLayers + 1, state.normed, count);
    } else {
      const mtp = weights.mtp[0]!;
      this.#embed(pass.tokens, mtp.embedding);
      this.#joinMtp(count);
      await this.#layer(mtp, { index: numLayers, pass, next: undefined });
      this.#trace(0, state.x, count);
      this.#finish(pass, { norm: mtp.headNorm, head: mtp.head });
      this.#trace(1, state.normed, count);
    }
    this.#parts.experts?.age(count);
    exchange.barrier();
  }

  #prepareAngles({ segments }: Pass): void {
    const { kernels, state, config } = this.#parts;
    for (const { row, count, start } of segments) {
      for (let i = 0; i < count; i++) {
        writeAngles(kernels.floats, state.angles / 4 + (row + i) * config.sizes.ropeDim, {
          position: start + i,
          frequencies: this.#frequencies,
          amplitude: this.#amplitude,
        });
      }
    }
  }

  /** Rows of the embedding that are with this rank -> the shared delta. */
  #embed(tokens: readonly number[], embedding: Weight): void {
    const { kernels, state, exchange } = this.#parts;
    const { hidden } = this.#parts.config.sizes;
    for (const [row, token] of tokens.entries()) {
      const from = token - embedding.firstRow;
      if (from < 0 || from >= embedding.rows) continue;
      kernels.dequantise(embedding, { from, count: 1 }, state.part);
      exchange.delta.set(kernels.floats.subarray(state.part / 4, state.part / 4 + hidden), row * hidden);
    }
    exchange.barrier();
  }

  /** Adds the shared delta to the residual stream, or starts it with that. */
  #toResidual(count: number, how: "add" | "replace"): void {
    const { kernels, state, exchange, config } = this.#parts;
    const size = count * config.sizes.hidden;
    const to = how === "replace" ? state.x : state.normed;
    kernels.floats.set(exchange.delta.subarray(0, size), to / 4);
    if (how === "add") kernels.addScaled(state.x, state.normed, 1, size);
  }

  /** u = eh_proj · [norm of the next token's embedding ; norm of the hidden state]: model.md section 10.1. */
  #joinMtp(count: number): void {
    const { kernels, state, exchange, config, weights } = this.#parts;
    const { hidden } = config.sizes;
    const mtp = weights.mtp[0]!;
    const half = (data: number) => ({ data, count, stride: 2 * hidden });
    const plain = { data: state.x, count, stride: hidden };
    this.#toResidual(count, "replace");
    kernels.rmsNorm(plain, mtp.embeddingNorm, hidden, config.epsilon, half(state.normed));
    kernels.floats.set(exchange.normed.subarray(0, count * hidden), state.x / 4);
    kernels.rmsNorm(plain, mtp.hiddenNorm, hidden, config.epsilon, half(state.normed + 4 * hidden));
    exchange.barrier(); // everyone has read the delta
    this.#product(mtp.join, { data: state.normed, count, stride: 2 * hidden });
    this.#share(mtp.join, { count, to: exchange.delta, width: hidden, at: 0 });
    exchange.barrier();
    this.#toResidual(count, "replace");
  }

  async #layer(
    layer: LayerWeights,
    { index, pass, next }: { index: number; pass: Pass; next: LayerWeights | undefined },
  ): Promise<void> {
    const { kernels, config, state, exchange } = this.#parts;
    const { hidden } = config.sizes;
    const count = pass.tokens.length;
    const x = { data: state.x, count, stride: hidden };
    const normed = { data: state.normed, count, stride: hidden };

    kernels.rmsNorm(x, layer.inputNorm, hidden, config.epsilon, normed);
    this.#attend(layer, { index, pass });
    exchange.barrier();
    this.#toResidual(count, "add");

    kernels.rmsNorm(x, layer.outputNorm, hidden, config.epsilon, normed);
    const { data, width } = await this.#feedForward.run(layer, { count, next });
    const first = shareOf(hidden, this.#parts.share).from;
    for (let row = 0; row < count; row++) {
      const from = data / 4 + row * width;
      exchange.delta.set(kernels.floats.subarray(from, from + width), row * hidden + first);
    }
    exchange.barrier();
    this.#toResidual(count, "add");

    this.#requireFinite(state.x, count * hidden, `layer ${index}`);
  }

  /** The residual stream goes through all of a layer: what overflows within comes out here. */
  #requireFinite(data: number, size: number, what: string): void {
    const { hidden } = this.#parts.config.sizes;
    const bad = this.#parts.kernels.firstNonFinite(data, size);
    if (bad < 0) return;
    const place = `token ${Math.floor(bad / hidden)} of the pass, element ${bad % hidden}`;
    throw new NotFinite(
      `Cannot go on: the output of ${what} holds a number that is not finite (${place}), wanted finite activations`,
    );
  }

  /** state.normed -> attention's output in the shared delta. */
  #attend(layer: LayerWeights, { index, pass }: { index: number; pass: Pass }): void {
    const { kernels, config, state, exchange } = this.#parts;
    const { hidden, queryRank, latent, ropeDim, nopeDim, valueDim, numHeads } = config.sizes;
    const count = pass.tokens.length;
    const normed = { data: state.normed, count, stride: hidden };
    const lowWidth = queryRank + latent + ropeDim;

    // Down to the query latent and to the cache row.
    if (layer.queryDown) {
      this.#product(layer.queryDown, normed, layer.queryDownBias);
      this.#share(layer.queryDown, { count, to: exchange.low, width: lowWidth, at: 0 });
    }
    this.#product(layer.keyValueDown, normed, layer.keyValueDownBias);
    this.#share(layer.keyValueDown, { count, to: exchange.low, width: lowWidth, at: queryRank });
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

    for (const segment of pass.segments) {
      const form = pass.attention ?? cheaperForm(config, segment);
      this.#attention.run(segment, { layer: index, keyValueUp: layer.keyValueUp, form });
    }
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
      this.#product(layer.output, { data: state.normed, count: some, stride: width }, layer.outputBias);
      const to = exchange.delta.subarray(row * hidden);
      this.#share(layer.output, { count: some, to, width: hidden, at: 0 });
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

  /** Rows of this rank of a product, and their bias, in state.part: (count, weight.rows). */
  #product(weight: Weight, x: { data: number; count: number; stride: number }, bias = 0): void {
    const { kernels, state } = this.#parts;
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
  #share(
    { rows, firstRow }: Weight,
    { count, to, width, at }: { count: number; to: Float32Array; width: number; at: number },
  ): void {
    const { floats } = this.#parts.kernels;
    const part = this.#parts.state.part / 4;
    for (let row = 0; row < count; row++) {
      to.set(floats.subarray(part + row * rows, part + (row + 1) * rows), row * width + at + firstRow);
    }
  }

  /** Final norm, for all rows, and logits of those that are asked for. */
  #finish(pass: Pass, { norm, head }: { norm: number; head: Weight }): void {
    const { kernels, config, state, exchange, share } = this.#parts;
    const { hidden, vocab } = config.sizes;
    const count = pass.tokens.length;
    const x = { data: state.x, count, stride: hidden };
    kernels.rmsNorm(x, norm, hidden, config.epsilon, { ...x, data: state.normed });
    this.#requireFinite(state.normed, count * hidden, "the final norm");
    if (share.rank === 0) {
      exchange.normed.set(kernels.floats.subarray(state.normed / 4, state.normed / 4 + count * hidden));
    }
    if (head.rows === 0) return;
    for (let done = 0; done < pass.logitRows.length; done += state.logitGroup) {
      const group = pass.logitRows.slice(done, done + state.logitGroup);
      for (const [i, row] of group.entries()) {
        const one = { data: state.normed + 4 * row * hidden, count: 1, stride: hidden };
        kernels.arrange(head.dtype, one, hidden, state.arranged + 4 * i * paddedCols(hidden));
      }
      const x = { data: state.arranged, count: group.length };
      kernels.linear(head, x, { data: state.part, count: group.length, stride: head.rows });
      this.#requireFiniteLogits(head, group);
      const to = exchange.logits.subarray(done * vocab);
      this.#share(head, { count: group.length, to, width: vocab, at: 0 });
    }
  }

  /** state.part, this rank's logits of some rows: finite states may still overflow in the head. */
  #requireFiniteLogits({ rows, firstRow }: Weight, of: readonly number[]): void {
    const { kernels, state } = this.#parts;
    const bad = kernels.firstNonFinite(state.part, of.length * rows);
    if (bad < 0) return;
    const row = of[Math.floor(bad / rows)]!;
    throw new NotFinite(
      `Cannot go on: the logit of id ${firstRow + (bad % rows)} is not finite (token ${row} of the pass), wanted finite logits`,
    );
  }

  /** Keeps a hidden state for the caller: after the embedding, after each layer, after the final norm. */
  #trace(slot: number, from: number, count: number): void {
    const { kernels, config, state, exchange, share } = this.#parts;
    const { hidden } = config.sizes;
    const size = state.rows * hidden;
    if (share.rank !== 0 || exchange.traces.length < (slot + 1) * size) return;
    exchange.traces.set(kernels.floats.subarray(from / 4, from / 4 + count * hidden), slot * size);
  }
}
