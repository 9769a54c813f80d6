/**
 * The absorbed form of latent attention (model.md section 6.2): queries go through the keys' half of kv_b_proj,
 * scores and outputs are taken on the cached latents, page by page, and outputs go through the values' half.
 */
import type { Weight } from "../kernels/inference.ts";
import { type AttentionHeads, floatRows } from "./attention-heads.ts";
import { JoinedRows } from "./join-splits.ts";
import { PAGE_TOKENS } from "./latent-cache.ts";
import type { PageReader } from "./page-reader.ts";
import type { Segment } from "./pass.ts";
import { HEAD_GROUP } from "./run-state.ts";

/** Pages of a part: 4,096 tokens. */
const SPLIT_PAGES = 64;

interface Range {
  from: number;
  to: number;
}

export class AbsorbedAttention {
  readonly #heads: AttentionHeads;
  readonly #pages: PageReader;

  constructor(heads: AttentionHeads, pages: PageReader) {
    this.#heads = heads;
    this.#pages = pages;
  }

  run(segment: Segment, { layer, keyValueUp }: { layer: number; keyValueUp: Weight }): void {
    for (let head = 0; head < this.#heads.numHeads; head += HEAD_GROUP) {
      const heads = { from: head, to: Math.min(head + HEAD_GROUP, this.#heads.numHeads) };
      this.#absorbQueries(segment, { heads, keyValueUp });
      this.#attendPages(segment, { heads, layer });
      this.#valueOutputs(segment, { heads, keyValueUp });
    }
  }

  /** q·U for each head: (group · count, latent), the roped part behind it; laid out for the scores. */
  #absorbQueries({ row, count }: Segment, { heads, keyValueUp }: { heads: Range; keyValueUp: Weight }): void {
    const { attention } = this.#heads.state;
    const { nopeDim, ropeDim, latent } = this.#heads.sizes;
    const kernels = this.#heads.kernels;
    const width = latent + ropeDim;
    for (let head = heads.from; head < heads.to; head++) {
      const keys = this.#heads.headRows(keyValueUp, head, "keys"); // (nope, latent)
      kernels.dequantise(keys, { from: 0, count: nopeDim }, attention.matrix);
      const out = attention.queries + 4 * (head - heads.from) * count * width;
      const stride = this.#heads.numHeads * (nopeDim + ropeDim);
      kernels.combine(
        { data: this.#heads.query(row, head), count, stride },
        { data: attention.matrix, count: nopeDim, stride: latent },
        latent,
        { data: out, count, stride: width },
        false,
      );
      for (let i = 0; i < count; i++) {
        const from = this.#heads.query(row + i, head) / 4 + nopeDim;
        kernels.floats.copyWithin(out / 4 + i * width + latent, from, from + ropeDim);
      }
    }
    const all = (heads.to - heads.from) * count;
    kernels.arrange("F32", { data: attention.queries, count: all, stride: width }, width, attention.arranged);
  }

  #attendPages({ count, start, pages }: Segment, { heads, layer }: { heads: Range; layer: number }): void {
    const { latent } = this.#heads.sizes;
    const rows = (heads.to - heads.from) * count;
    const numKeys = start + count;
    this.#heads.begin(rows, latent);
    const numPages = Math.ceil(numKeys / PAGE_TOKENS);
    let joined: JoinedRows | undefined;
    for (let first = 0; first < numPages; first += SPLIT_PAGES) {
      if (first > 0) {
        joined = this.#join(joined, rows);
        this.#heads.begin(rows, latent);
      }
      for (let page = first; page < Math.min(first + SPLIT_PAGES, numPages); page++) {
        const keys = Math.min(PAGE_TOKENS, numKeys - page * PAGE_TOKENS);
        this.#attendPage(pages[page]!, { keys, firstKey: page * PAGE_TOKENS, rows, count, start, layer });
      }
    }
    if (joined) this.#writeJoined(this.#join(joined, rows));
    else this.#heads.divide(rows, latent);
  }

  #attendPage(
    page: number,
    at: { keys: number; firstKey: number; rows: number; count: number; start: number; layer: number },
  ): void {
    const { attention, page: pageAt } = this.#heads.state;
    const { latent, ropeDim } = this.#heads.sizes;
    const { keys, rows } = at;
    const kernels = this.#heads.kernels;
    const width = latent + ropeDim;
    this.#pages.read(page, { layer: at.layer, count: keys }, pageAt);
    kernels.linear(
      floatRows(pageAt, keys, width),
      { data: attention.arranged, count: rows },
      {
        data: attention.scores,
        count: rows,
        stride: keys,
      },
    );
    this.#heads.setLimits(rows, at);
    kernels.softmaxStep({
      scores: attention.scores,
      rows,
      keys,
      limits: attention.limits,
      scale: this.#heads.scale,
      maxima: attention.maxima,
      sums: attention.sums,
      out: attention.out,
      outCols: latent,
    });
    kernels.combine(
      { data: attention.scores, count: rows, stride: keys },
      { data: pageAt, count: keys, stride: width },
      latent,
      { data: attention.out, count: rows, stride: latent },
      true,
    );
  }

  /** Adds the part that was just attended to what was joined before. */
  #join(before: JoinedRows | undefined, rows: number): JoinedRows {
    const { attention } = this.#heads.state;
    const { latent } = this.#heads.sizes;
    const { floats } = this.#heads.kernels;
    const joined = before ?? new JoinedRows(rows, latent);
    for (let row = 0; row < rows; row++) {
      const sum = floats[attention.sums / 4 + row]!;
      const logSum = Math.log2(sum) + floats[attention.maxima / 4 + row]!; // -Infinity: it sees no key of this part
      joined.add(row, { logSum, sum }, floats, attention.out / 4 + row * latent);
    }
    return joined;
  }

  #writeJoined({ outputs }: JoinedRows): void {
    this.#heads.kernels.floats.set(outputs, this.#heads.state.attention.out / 4);
  }

  /** (group · count, latent) -> state.heads through the values' half of each head. */
  #valueOutputs({ row, count }: Segment, { heads, keyValueUp }: { heads: Range; keyValueUp: Weight }): void {
    const { attention, heads: headsAt, arranged } = this.#heads.state;
    const { latent, valueDim } = this.#heads.sizes;
    for (let head = heads.from; head < heads.to; head++) {
      const values = this.#heads.headRows(keyValueUp, head, "values"); // (value, latent)
      const data = attention.out + 4 * (head - heads.from) * count * latent;
      this.#heads.kernels.arrange(values.dtype, { data, count, stride: latent }, latent, arranged);
      this.#heads.kernels.linear(
        values,
        { data: arranged, count },
        {
          data: headsAt + 4 * (row * this.#heads.numHeads + head) * valueDim,
          count,
          stride: this.#heads.numHeads * valueDim,
        },
      );
    }
  }
}
