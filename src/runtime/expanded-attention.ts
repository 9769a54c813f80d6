/**
 * The expanded form of latent attention (model.md section 6.1): keys and values of every head are computed from
 * the cached latents, a block of keys at a time.
 */
import { paddedCols, type Weight } from "../kernels/inference.ts";
import { type AttentionHeads, floatRows } from "./attention-heads.ts";
import { PAGE_TOKENS } from "./latent-cache.ts";
import type { PageReader } from "./page-reader.ts";
import type { Segment } from "./pass.ts";
import { KEY_BLOCK } from "./run-state.ts";

export class ExpandedAttention {
  readonly #heads: AttentionHeads;
  readonly #pages: PageReader;

  constructor(heads: AttentionHeads, pages: PageReader) {
    this.#heads = heads;
    this.#pages = pages;
  }

  run(segment: Segment, { layer, keyValueUp }: { layer: number; keyValueUp: Weight }): void {
    const { row, count, start, pages } = segment;
    const { attention, heads: headsAt } = this.#heads.state;
    const { latent, ropeDim, nopeDim, valueDim } = this.#heads.sizes;
    const kernels = this.#heads.kernels;
    const numKeys = start + count;
    const width = latent + ropeDim;
    const keyWidth = nopeDim + ropeDim;
    const rows = { from: 0, count: this.#heads.numHeads * count };
    this.#heads.begin(rows, valueDim);
    for (let first = 0; first < numKeys; first += KEY_BLOCK) {
      const keys = Math.min(KEY_BLOCK, numKeys - first);
      // Latents of the block, laid out; rope keys go to their place behind the keys' own part.
      for (let at = 0; at < keys; at += PAGE_TOKENS) {
        const inPage = Math.min(PAGE_TOKENS, keys - at);
        const page = this.#heads.state.page;
        this.#pages.read(pages[(first + at) / PAGE_TOKENS]!, { layer, count: inPage }, page);
        const to = attention.latents + 4 * at * paddedCols(latent);
        kernels.arrange(keyValueUp.dtype, { data: page, count: inPage, stride: width }, latent, to);
        for (let i = 0; i < inPage; i++) {
          const from = page / 4 + i * width + latent;
          kernels.floats.copyWithin(attention.keys / 4 + (at + i) * keyWidth + nopeDim, from, from + ropeDim);
        }
      }
      for (let head = 0; head < this.#heads.numHeads; head++) {
        const both = this.#heads.headRows(keyValueUp, head, "both");
        const kvWidth = nopeDim + valueDim;
        kernels.linear(
          both,
          { data: attention.latents, count: keys },
          {
            data: attention.keyValues,
            count: keys,
            stride: kvWidth,
          },
        );
        for (let i = 0; i < keys; i++) {
          const from = attention.keyValues / 4 + i * kvWidth;
          kernels.floats.copyWithin(attention.keys / 4 + i * keyWidth, from, from + nopeDim);
        }
        const query = { data: this.#heads.query(row, head), count, stride: this.#heads.numHeads * keyWidth };
        kernels.arrange("F32", query, keyWidth, attention.arranged);
        kernels.linear(
          floatRows(attention.keys, keys, keyWidth),
          { data: attention.arranged, count },
          {
            data: attention.scores,
            count,
            stride: keys,
          },
        );
        this.#heads.setLimits(count, { keys, firstKey: first, perToken: 1, start });
        const out = attention.out + 4 * head * count * valueDim;
        kernels.softmaxStep({
          scores: attention.scores,
          rows: count,
          keys,
          limits: attention.limits,
          scale: this.#heads.scale,
          maxima: attention.maxima + 4 * head * count,
          sums: attention.sums + 4 * head * count,
          out,
          outCols: valueDim,
        });
        kernels.combine(
          { data: attention.scores, count, stride: keys },
          { data: attention.keyValues + 4 * nopeDim, count: keys, stride: kvWidth },
          valueDim,
          { data: out, count, stride: valueDim },
          true,
        );
      }
    }
    this.#heads.divide(rows, valueDim);
    for (let head = 0; head < this.#heads.numHeads; head++) {
      for (let i = 0; i < count; i++) {
        const from = attention.out / 4 + (head * count + i) * valueDim;
        const to = headsAt / 4 + ((row + i) * this.#heads.numHeads + head) * valueDim;
        kernels.floats.copyWithin(to, from, from + valueDim);
      }
    }
  }
}
