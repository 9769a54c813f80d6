/**
 * Latent attention (model.md section 6) over the paged cache, for the heads of one rank, in two forms that
 * are equal in real arithmetic.
 *
 * Absorbed: queries go through the keys' half of kv_b_proj, so that scores and outputs are taken on the
 * cached latents themselves; one key serves all heads. Expanded: keys and values of every head are computed
 * from the latents. Per query and key the absorbed form costs 2·latent + rope products and the expanded one
 * nope + rope + value; the expanded one pays (nope + value)·latent for each key, the absorbed one for each
 * query: behind a long context it is the cheaper from some 170 queries at once (section 6.3).
 *
 * Both take the softmax online, page by page or block by block (section 16). Contexts longer than
 * SPLIT_PAGES are attended part by part and joined by their log-sum-exp; where parts end depends on the
 * context alone, so a result does not depend on the number of ranks.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import type { InferenceKernels, Weight } from "../kernels/inference.ts";
import { paddedCols } from "../kernels/inference.ts";
import { FP8_GROUP, type LatentCache, PAGE_TOKENS } from "./latent-cache.ts";
import type { Segment } from "./pass.ts";
import { softmaxScale } from "./rope.ts";
import { HEAD_GROUP, KEY_BLOCK, type RunState } from "./run-state.ts";

/** Pages of a part: 4,096 tokens. */
export const SPLIT_PAGES = 64;
/** A running maximum before the first score: finite, so that differences are numbers. */
const NO_SCORE = -1e30;

/** Decoding and the check of drafts never expand: their sums keep one order, however many rows they have. */
const LEAST_EXPANDED = 16;

/** The cheaper form for `count` queries behind `start` cached tokens, by the products of one head. */
export function cheaperForm(
  { sizes }: Pick<ModelConfig, "sizes">,
  { count, start }: Pick<Segment, "count" | "start">,
): "absorbed" | "expanded" {
  const { latent, nopeDim, ropeDim, valueDim } = sizes;
  const keys = start + count;
  const throughLatent = (nopeDim + valueDim) * latent;
  const absorbed = count * keys * (2 * latent + ropeDim) + count * throughLatent;
  const expanded = count * keys * (nopeDim + ropeDim + valueDim) + keys * throughLatent;
  return count >= LEAST_EXPANDED && expanded < absorbed ? "expanded" : "absorbed";
}

export class Attention {
  readonly #kernels: InferenceKernels;
  readonly #config: ModelConfig;
  readonly #state: RunState;
  readonly #cache: LatentCache;
  readonly #numHeads: number;
  readonly #scale: number;
  readonly #ints: Int32Array;

  constructor(
    kernels: InferenceKernels,
    options: { config: ModelConfig; state: RunState; cache: LatentCache; numHeads: number },
  ) {
    this.#kernels = kernels;
    this.#config = options.config;
    this.#state = options.state;
    this.#cache = options.cache;
    this.#numHeads = options.numHeads;
    this.#scale = softmaxScale(options.config) * Math.LOG2E;
    this.#ints = new Int32Array(kernels.bytes.buffer, kernels.bytes.byteOffset);
  }

  /** state.queries and the cache -> state.heads, for the rows of a segment. */
  run(
    segment: Segment,
    { layer, keyValueUp, form }: { layer: number; keyValueUp: Weight; form: "absorbed" | "expanded" },
  ): void {
    if (this.#numHeads === 0) return;
    if (form === "expanded") this.#expanded(segment, { layer, keyValueUp });
    else this.#absorbed(segment, { layer, keyValueUp });
  }

  // (rows, heads, nope + rope): the query of a row and head.
  #query(row: number, head: number): number {
    const { nopeDim, ropeDim } = this.#config.sizes;
    return this.#state.queries + 4 * (row * this.#numHeads + head) * (nopeDim + ropeDim);
  }

  /** Rows of keyValueUp: `count` of a head, the keys' (nope) first and the values' after them. */
  #headRows(weight: Weight, head: number, part: "keys" | "values" | "both"): Weight {
    const { nopeDim, valueDim } = this.#config.sizes;
    const from = head * (nopeDim + valueDim) + (part === "values" ? nopeDim : 0);
    const count = part === "both" ? nopeDim + valueDim : part === "keys" ? nopeDim : valueDim;
    return rowsOf(weight, from, count);
  }

  #absorbed(segment: Segment, { layer, keyValueUp }: { layer: number; keyValueUp: Weight }): void {
    for (let head = 0; head < this.#numHeads; head += HEAD_GROUP) {
      const heads = { from: head, to: Math.min(head + HEAD_GROUP, this.#numHeads) };
      this.#absorbQueries(segment, { heads, keyValueUp });
      this.#attendPages(segment, { heads, layer });
      this.#valueOutputs(segment, { heads, keyValueUp });
    }
  }

  /** q·U for each head: (group · count, latent), the roped part behind it; laid out for the scores. */
  #absorbQueries({ row, count }: Segment, { heads, keyValueUp }: { heads: Range; keyValueUp: Weight }): void {
    const { attention } = this.#state;
    const { nopeDim, ropeDim, latent } = this.#config.sizes;
    const kernels = this.#kernels;
    const width = latent + ropeDim;
    for (let head = heads.from; head < heads.to; head++) {
      const keys = this.#headRows(keyValueUp, head, "keys"); // (nope, latent)
      kernels.dequantise(keys, { from: 0, count: nopeDim }, attention.matrix);
      const out = attention.queries + 4 * (head - heads.from) * count * width;
      const stride = this.#numHeads * (nopeDim + ropeDim);
      kernels.combine(
        { data: this.#query(row, head), count, stride },
        { data: attention.matrix, count: nopeDim, stride: latent },
        latent,
        { data: out, count, stride: width },
        false,
      );
      for (let i = 0; i < count; i++) {
        const from = this.#query(row + i, head) / 4 + nopeDim;
        kernels.floats.copyWithin(out / 4 + i * width + latent, from, from + ropeDim);
      }
    }
    const all = (heads.to - heads.from) * count;
    kernels.arrange("F32", { data: attention.queries, count: all, stride: width }, width, attention.arranged);
  }

  #attendPages({ count, start, pages }: Segment, { heads, layer }: { heads: Range; layer: number }): void {
    const { latent } = this.#config.sizes;
    const rows = (heads.to - heads.from) * count;
    const numKeys = start + count;
    this.#begin(rows, latent);
    const numPages = Math.ceil(numKeys / PAGE_TOKENS);
    let joined: Joined | undefined;
    for (let first = 0; first < numPages; first += SPLIT_PAGES) {
      if (first > 0) {
        joined = this.#join(joined, rows);
        this.#begin(rows, latent);
      }
      for (let page = first; page < Math.min(first + SPLIT_PAGES, numPages); page++) {
        const keys = Math.min(PAGE_TOKENS, numKeys - page * PAGE_TOKENS);
        this.#attendPage(pages[page]!, { keys, firstKey: page * PAGE_TOKENS, rows, count, start, layer });
      }
    }
    if (joined) this.#writeJoined(this.#join(joined, rows), rows);
    else this.#divide(rows, latent);
  }

  /** Empty running state of an online softmax: (rows), (rows, width). */
  #begin(rows: number, width: number): void {
    const { attention } = this.#state;
    const { floats } = this.#kernels;
    floats.fill(NO_SCORE, attention.maxima / 4, attention.maxima / 4 + rows);
    floats.fill(0, attention.sums / 4, attention.sums / 4 + rows);
    floats.fill(0, attention.out / 4, attention.out / 4 + rows * width);
  }

  #attendPage(
    page: number,
    at: { keys: number; firstKey: number; rows: number; count: number; start: number; layer: number },
  ): void {
    const { attention, page: pageAt } = this.#state;
    const { latent, ropeDim } = this.#config.sizes;
    const { keys, rows } = at;
    const kernels = this.#kernels;
    const width = latent + ropeDim;
    this.readPage(page, { layer: at.layer, count: keys }, pageAt);
    kernels.linear(
      floatRows(pageAt, keys, width),
      { data: attention.arranged, count: rows },
      {
        data: attention.scores,
        count: rows,
        stride: keys,
      },
    );
    this.#setLimits(rows, at);
    kernels.softmaxStep({
      scores: attention.scores,
      rows,
      keys,
      limits: attention.limits,
      scale: this.#scale,
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

  /** Row i of a segment, at position start + i, sees the keys up to its own. Rows repeat with each head. */
  #setLimits(rows: number, at: { keys: number; firstKey: number; count: number; start: number }): void {
    const { limits } = this.#state.attention;
    for (let row = 0; row < rows; row++) {
      const position = at.start + (row % at.count);
      this.#ints[limits / 4 + row] = Math.min(Math.max(position + 1 - at.firstKey, 0), at.keys);
    }
  }

  #divide(rows: number, width: number): void {
    const { attention } = this.#state;
    const { floats } = this.#kernels;
    for (let row = 0; row < rows; row++) {
      const sum = floats[attention.sums / 4 + row]!;
      const at = attention.out / 4 + row * width;
      for (let i = at; i < at + width; i++) floats[i] = floats[i]! / sum;
    }
  }

  /** Adds the part that was just attended to what was joined before (section 16.6), in float64. */
  #join(before: Joined | undefined, rows: number): Joined {
    const { attention } = this.#state;
    const { latent } = this.#config.sizes;
    const { floats } = this.#kernels;
    const joined = before ?? {
      lse: new Float64Array(rows).fill(-Infinity),
      out: new Float64Array(rows * latent),
    };
    for (let row = 0; row < rows; row++) {
      const sum = floats[attention.sums / 4 + row]!;
      if (sum === 0) continue; // it sees no key of this part
      const lse = Math.log2(sum) + floats[attention.maxima / 4 + row]!;
      const old = joined.lse[row]!;
      const most = Math.max(old, lse);
      const total = Math.log2(2 ** (old - most) + 2 ** (lse - most)) + most;
      const [keep, add] = [2 ** (old - total), 2 ** (lse - total) / sum];
      for (let i = 0; i < latent; i++) {
        const at = row * latent + i;
        joined.out[at] = joined.out[at]! * keep + floats[attention.out / 4 + at]! * add;
      }
      joined.lse[row] = total;
    }
    return joined;
  }

  #writeJoined({ out }: Joined, rows: number): void {
    const { latent } = this.#config.sizes;
    this.#kernels.floats.set(out.subarray(0, rows * latent), this.#state.attention.out / 4);
  }

  /** (group · count, latent) -> state.heads through the values' half of each head. */
  #valueOutputs({ row, count }: Segment, { heads, keyValueUp }: { heads: Range; keyValueUp: Weight }): void {
    const { attention, heads: headsAt, arranged } = this.#state;
    const { latent, valueDim } = this.#config.sizes;
    for (let head = heads.from; head < heads.to; head++) {
      const values = this.#headRows(keyValueUp, head, "values"); // (value, latent)
      const data = attention.out + 4 * (head - heads.from) * count * latent;
      this.#kernels.arrange(values.dtype, { data, count, stride: latent }, latent, arranged);
      this.#kernels.linear(
        values,
        { data: arranged, count },
        {
          data: headsAt + 4 * (row * this.#numHeads + head) * valueDim,
          count,
          stride: this.#numHeads * valueDim,
        },
      );
    }
  }

  #expanded(segment: Segment, { layer, keyValueUp }: { layer: number; keyValueUp: Weight }): void {
    const { row, count, start, pages } = segment;
    const { attention, heads: headsAt } = this.#state;
    const { latent, ropeDim, nopeDim, valueDim } = this.#config.sizes;
    const kernels = this.#kernels;
    const numKeys = start + count;
    const width = latent + ropeDim;
    const keyWidth = nopeDim + ropeDim;
    this.#begin(this.#numHeads * count, valueDim);
    for (let first = 0; first < numKeys; first += KEY_BLOCK) {
      const keys = Math.min(KEY_BLOCK, numKeys - first);
      // Latents of the block, laid out; rope keys go to their place behind the keys' own part.
      for (let at = 0; at < keys; at += PAGE_TOKENS) {
        const inPage = Math.min(PAGE_TOKENS, keys - at);
        const page = this.#state.page;
        this.readPage(pages[(first + at) / PAGE_TOKENS]!, { layer, count: inPage }, page);
        const to = attention.latents + 4 * at * paddedCols(latent);
        kernels.arrange(keyValueUp.dtype, { data: page, count: inPage, stride: width }, latent, to);
        for (let i = 0; i < inPage; i++) {
          const from = page / 4 + i * width + latent;
          kernels.floats.copyWithin(attention.keys / 4 + (at + i) * keyWidth + nopeDim, from, from + ropeDim);
        }
      }
      for (let head = 0; head < this.#numHeads; head++) {
        const both = this.#headRows(keyValueUp, head, "both");
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
        const query = { data: this.#query(row, head), count, stride: this.#numHeads * keyWidth };
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
        this.#setLimits(count, { keys, firstKey: first, count, start });
        const out = attention.out + 4 * head * count * valueDim;
        kernels.softmaxStep({
          scores: attention.scores,
          rows: count,
          keys,
          limits: attention.limits,
          scale: this.#scale,
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
    this.#divide(this.#numHeads * count, valueDim);
    for (let head = 0; head < this.#numHeads; head++) {
      for (let i = 0; i < count; i++) {
        const from = attention.out / 4 + (head * count + i) * valueDim;
        const to = headsAt / 4 + ((row + i) * this.#numHeads + head) * valueDim;
        kernels.floats.copyWithin(to, from, from + valueDim);
      }
    }
  }

  /** The first rows of a page as float32: (count, latent + rope). */
  readPage(page: number, { layer, count }: { layer: number; count: number }, to: number): void {
    const { latent, ropeDim } = this.#config.sizes;
    const { dtype } = this.#cache.shape;
    const kernels = this.#kernels;
    const bytes = this.#cache.rows(page, { layer, count });
    if (dtype === "f32") {
      kernels.bytes.set(bytes, to);
      return;
    }
    const { pageBytes } = this.#state;
    const width = latent + ropeDim;
    kernels.bytes.set(bytes, pageBytes);
    if (dtype === "bf16") {
      kernels.dequantise({ ...floatRows(pageBytes, count, width), dtype: "BF16" }, { from: 0, count }, to);
      return;
    }
    this.#decodeFp8(count, to);
  }

  /** Rows of the FP8 layout in pageBytes -> float32. */
  #decodeFp8(count: number, to: number): void {
    const { latent, ropeDim } = this.#config.sizes;
    const { rowBytes, scales, rope } = this.#cache.layout;
    const { pageBytes, pageArranged } = this.#state;
    const kernels = this.#kernels;
    const width = latent + ropeDim;
    for (let row = 0; row < count; row++) {
      const at = pageBytes + row * rowBytes;
      kernels.bytes.copyWithin(pageArranged, at, at + rowBytes); // vectors of scales lie on multiples of 16
      const aligned = pageArranged + 16 * Math.ceil(rowBytes / 16);
      kernels.bytes.copyWithin(aligned, at + scales, at + rope);
      const codes: Weight = {
        ...floatRows(pageArranged, 1, latent),
        dtype: "F8_E4M3",
        scales: aligned,
        blockRows: 1,
        blockCols: FP8_GROUP,
      };
      kernels.dequantise(codes, { from: 0, count: 1 }, to + 4 * row * width);
      for (let i = 0; i < ropeDim; i++) {
        const low = at + rope + 2 * i;
        const bits = kernels.bytes[low]! | (kernels.bytes[low + 1]! << 8);
        this.#ints[(to + 4 * (row * width + latent + i)) / 4] = bits << 16;
      }
    }
  }
}

interface Range {
  from: number;
  to: number;
}

/** Running join of parts: base-2 log-sum-exp and output of each row. */
interface Joined {
  lse: Float64Array;
  out: Float64Array;
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
function floatRows(data: number, rows: number, cols: number): Weight {
  return { dtype: "F32", data, rows, cols, scales: 0, blockRows: 1, blockCols: 128, firstRow: 0 };
}
