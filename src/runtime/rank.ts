/**
 * One rank's way through the model (model.md sections 6 to 10): its rows of every product, its heads
 * (self-attention.ts), and all of what is small. The order of the file is the order of a pass.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { type InferenceKernels, paddedCols, type Weight } from "../kernels/inference.ts";
import type { FormedSegment } from "./attention.ts";
import type { Exchange } from "./exchange.ts";
import type { ExpertStore } from "./expert-store.ts";
import { FeedForward } from "./feed-forward.ts";
import type { LatentCache } from "./latent-cache.ts";
import type { Pass } from "./pass.ts";
import { Products } from "./products.ts";
import { ropeAmplitude, ropeFrequencies, writeAngles } from "./rope.ts";
import type { RunState } from "./run-state.ts";
import { attendedParts, SelfAttention } from "./self-attention.ts";
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

/** What a layer is told of the pass. */
interface LayerPass {
  index: number;
  pass: Pass;
  parts: readonly FormedSegment[];
  next: LayerWeights | undefined;
}

export class Rank {
  readonly #parts: RankParts;
  readonly #products: Products;
  readonly #selfAttention: SelfAttention;
  readonly #feedForward: FeedForward;
  readonly #frequencies: Float64Array;
  readonly #amplitude: number;

  constructor(parts: RankParts) {
    this.#parts = parts;
    const { kernels, config, state } = parts;
    this.#products = new Products(kernels, state);
    this.#selfAttention = new SelfAttention(parts);
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
    const parts = attendedParts(config, pass);
    if (pass.kind === "main") {
      this.#embed(pass.tokens, weights.embedding);
      this.#toResidual(count, "replace");
      this.#trace(0, state.x, count);
      for (const [index, layer] of weights.layers.entries()) {
        await this.#layer(layer, { index, pass, parts, next: weights.layers[index + 1] });
        this.#trace(index + 1, state.x, count);
      }
      this.#finish(pass, { norm: weights.finalNorm, head: weights.head });
      this.#trace(numLayers + 1, state.normed, count);
    } else {
      const mtp = weights.mtp[0]!;
      this.#embed(pass.tokens, mtp.embedding);
      this.#joinMtp(count);
      await this.#layer(mtp, { index: numLayers, pass, parts, next: undefined });
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
    kernels.floats.set(exchange.place.normed.subarray(0, count * hidden), state.x / 4);
    kernels.rmsNorm(plain, mtp.hiddenNorm, hidden, config.epsilon, half(state.normed + 4 * hidden));
    exchange.barrier(); // everyone has read the delta
    this.#products.multiply(mtp.join, { data: state.normed, count, stride: 2 * hidden });
    this.#products.share(mtp.join, { count, to: exchange.delta, width: hidden, at: 0 });
    exchange.barrier();
    this.#toResidual(count, "replace");
  }

  async #layer(layer: LayerWeights, { index, pass, parts, next }: LayerPass): Promise<void> {
    const { kernels, config, state, exchange } = this.#parts;
    const { hidden } = config.sizes;
    const count = pass.tokens.length;
    const x = { data: state.x, count, stride: hidden };
    const normed = { data: state.normed, count, stride: hidden };

    kernels.rmsNorm(x, layer.inputNorm, hidden, config.epsilon, normed);
    this.#selfAttention.run(layer, { index, pass, parts });
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

  /** Final norm, for all rows, and logits of those that are asked for. */
  #finish(pass: Pass, { norm, head }: { norm: number; head: Weight }): void {
    const { kernels, config, state, exchange, share } = this.#parts;
    const { hidden, vocab } = config.sizes;
    const count = pass.tokens.length;
    const x = { data: state.x, count, stride: hidden };
    kernels.rmsNorm(x, norm, hidden, config.epsilon, { ...x, data: state.normed });
    this.#requireFinite(state.normed, count * hidden, "the final norm");
    if (share.rank === 0) {
      exchange.place.normed.set(kernels.floats.subarray(state.normed / 4, state.normed / 4 + count * hidden));
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
      const to = exchange.place.logits.subarray(done * vocab);
      this.#products.share(head, { count: group.length, to, width: vocab, at: 0 });
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
    if (share.rank !== 0 || exchange.place.traces.length < (slot + 1) * size) return;
    exchange.place.traces.set(kernels.floats.subarray(from / 4, from / 4 + count * hidden), slot * size);
  }
}
