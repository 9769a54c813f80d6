/**
 * The absorbed form of latent attention (model.md section 6.2): queries go through the keys' half of kv_b_proj,
 * scores and outputs are taken on the cached latents, page by page, and outputs go through the values' half.
 *
 * kv_b_proj is read once for all sequences of a pass; only the pages are gone through for each by itself. Rows lie
 * (token, head of the group), so that those of a sequence are next to each other.
 */
import { paddedCols, type Weight } from "../kernels/inference.ts";
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

/** Tokens of a pass that are next to each other, at most ATTENDED_ROWS. */
interface Tokens {
  row: number;
  count: number;
}

export class AbsorbedAttention {
  readonly #heads: AttentionHeads;
  readonly #pages: PageReader;

  constructor(heads: AttentionHeads, pages: PageReader) {
    this.#heads = heads;
    this.#pages = pages;
  }

  /** Segments that follow each other in the pass, of at most ATTENDED_ROWS rows together. */
  run(segments: readonly Segment[], { layer, keyValueUp }: { layer: number; keyValueUp: Weight }): void {
    const { row } = segments[0]!;
    const tokens = { row, count: segments.reduce((sum, { count }) => sum + count, 0) };
    const { numHeads } = this.#heads;
    for (let head = 0; head < numHeads; head += HEAD_GROUP) {
      const heads = { from: head, to: Math.min(head + HEAD_GROUP, numHeads) };
      const perToken = heads.to - heads.from;
      this.#absorbQueries(tokens, { heads, keyValueUp });
      this.#heads.begin({ from: 0, count: tokens.count * perToken }, this.#heads.sizes.latent);
      for (const segment of segments)
        this.#attendPages(segment, { firstRow: (segment.row - row) * perToken, perToken, layer });
      this.#valueOutputs(tokens, { heads, keyValueUp });
    }
  }

  /** q·U for each head: (count, group, latent), the roped part behind it; laid out for the scores. */
  #absorbQueries({ row, count }: Tokens, { heads, keyValueUp }: { heads: Range; keyValueUp: Weight }): void {
    const { attention } = this.#heads.state;
    const { nopeDim, ropeDim, latent } = this.#heads.sizes;
    const kernels = this.#heads.kernels;
    const width = latent + ropeDim;
    const perToken = heads.to - heads.from;
    const step = this.#heads.numHeads * (nopeDim + ropeDim);
    for (let head = heads.from; head < heads.to; head++) {
      const keys = this.#heads.headRows(keyValueUp, head, "keys"); // (nope, latent)
      kernels.dequantise(keys, { from: 0, count: nopeDim }, attention.matrix);
      const out = attention.queries + 4 * (head - heads.from) * width;
      kernels.combine(
        { data: this.#heads.query(row, head), count, stride: step },
        { data: attention.matrix, count: nopeDim, stride: latent },
        latent,
        { data: out, count, stride: perToken * width },
        false,
      );
      let from = this.#heads.query(row, head) / 4 + nopeDim;
      let to = out / 4 + latent;
      for (let i = 0; i < count; i++, from += step, to += perToken * width)
        kernels.floats.copyWithin(to, from, from + ropeDim);
    }
    const all = { data: attention.queries, count: perToken * count, stride: width };
    kernels.arrange("F32", all, width, attention.arranged);
  }

  #attendPages(
    { count, start, pages }: Segment,
    { firstRow, perToken, layer }: { firstRow: number; perToken: number; layer: number },
  ): void {
    const { latent } = this.#heads.sizes;
    const rows = { from: firstRow, count: count * perToken };
    const numKeys = start + count;
    const numPages = Math.ceil(numKeys / PAGE_TOKENS);
    let joined: JoinedRows | undefined;
    for (let first = 0; first < numPages; first += SPLIT_PAGES) {
      if (first > 0) {
        joined = this.#join(joined, rows);
        this.#heads.begin(rows, latent);
      }
      for (let page = first; page < Math.min(first + SPLIT_PAGES, numPages); page++) {
        const keys = Math.min(PAGE_TOKENS, numKeys - page * PAGE_TOKENS);
        this.#attendPage(pages[page]!, { keys, firstKey: page * PAGE_TOKENS, rows, perToken, start, layer });
      }
    }
    if (joined) this.#writeJoined(this.#join(joined, rows), rows.from);
    else this.#heads.divide(rows, latent);
  }

  #attendPage(
    page: number,
    at: {
      keys: number;
      firstKey: number;
      rows: { from: number; count: number };
      perToken: number;
      start: number;
      layer: number;
    },
  ): void {
    const { attention, page: pageAt } = this.#heads.state;
    const { latent, ropeDim } = this.#heads.sizes;
    const { keys, rows } = at;
    const kernels = this.#heads.kernels;
    const width = latent + ropeDim;
    this.#pages.read(page, { layer: at.layer, count: keys }, pageAt);
    kernels.linear(
      floatRows(pageAt, keys, width),
      { data: attention.arranged + 4 * rows.from * paddedCols(width), count: rows.count },
      { data: attention.scores, count: rows.count, stride: keys },
    );
    this.#heads.setLimits(rows.count, at);
    const out = attention.out + 4 * rows.from * latent;
    kernels.softmaxStep({
      scores: attention.scores,
      rows: rows.count,
      keys,
      limits: attention.limits,
      scale: this.#heads.scale,
      maxima: attention.maxima + 4 * rows.from,
      sums: attention.sums + 4 * rows.from,
      out,
      outCols: latent,
    });
    kernels.combine(
      { data: attention.scores, count: rows.count, stride: keys },
      { data: pageAt, count: keys, stride: width },
      latent,
      { data: out, count: rows.count, stride: latent },
      true,
    );
  }

  /** Adds the part that was just attended to what was joined before. */
  #join(before: JoinedRows | undefined, rows: { from: number; count: number }): JoinedRows {
    const { attention } = this.#heads.state;
    const { latent } = this.#heads.sizes;
    const { floats } = this.#heads.kernels;
    const joined = before ?? new JoinedRows(rows.count, latent);
    for (let i = 0; i < rows.count; i++) {
      const row = rows.from + i;
      const sum = floats[attention.sums / 4 + row]!;
      const logSum = Math.log2(sum) + floats[attention.maxima / 4 + row]!; // -Infinity: it sees no key of this part
      joined.add(i, { logSum, sum }, floats, attention.out / 4 + row * latent);
    }
    return joined;
  }

  #writeJoined({ outputs }: JoinedRows, firstRow: number): void {
    const at = this.#heads.state.attention.out / 4 + firstRow * this.#heads.sizes.latent;
    this.#heads.kernels.floats.set(outputs, at);
  }

  /** (count, group, latent) -> state.heads through the values' half of each head. */
  #valueOutputs({ row, count }: Tokens, { heads, keyValueUp }: { heads: Range; keyValueUp: Weight }): void {
    const { attention, heads: headsAt, arranged } = this.#heads.state;
    const { latent, valueDim } = this.#heads.sizes;
    const { numHeads, kernels } = this.#heads;
    const stride = (heads.to - heads.from) * latent;
    for (let head = heads.from; head < heads.to; head++) {
      const values = this.#heads.headRows(keyValueUp, head, "values"); // (value, latent)
      const data = attention.out + 4 * (head - heads.from) * latent;
      kernels.arrange(values.dtype, { data, count, stride }, latent, arranged);
      const to = headsAt + 4 * (row * numHeads + head) * valueDim;
      kernels.linear(values, { data: arranged, count }, { data: to, count, stride: numHeads * valueDim });
    }
  }
}
