/**
 * The buffers of a rank: activations of one pass, in its heap, each with its shape. Sized for `rows` rows.
 * Whatever is computed for some rows of a product lies here until it is shared.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import { paddedCols } from "../kernels/inference.ts";
import type { Arena } from "./arena.ts";
import { PAGE_TOKENS } from "./latent-cache.ts";
import { type Share, shareOf } from "./weights.ts";

/** Heads that attend together: a page is converted once for all of them (model.md section 16.2). */
export const HEAD_GROUP = 16;
/** Rows that attend together: a chunk of more takes the forms that chunks of so many take, to the same bits. */
export const ATTENDED_ROWS = 256;
/** Keys that the expanded form computes at a time. */
export const KEY_BLOCK: number = 16 * PAGE_TOKENS;

/** Rows of logits that are computed together: the head is read once for all of them. */
const LOGIT_GROUP = 16;

export interface RunState {
  rows: number;
  /** Rows of logits that go together: as many of them as fit in part. */
  logitGroup: number;
  /** Residual stream: (rows, hidden). */
  x: number;
  /** After a norm, or a sum that goes to x: (rows, hidden); and one row of all heads' outputs at the least. */
  normed: number;
  /** Activations laid out for a product: (rows, widest input). */
  arranged: number;
  /** Query latent, latent, rope key: (rows, queryRank + latent + ropeDim). */
  low: number;
  /** Cache rows of this pass: (rows, latent + ropeDim). */
  latents: number;
  /** Queries of this rank's heads: (rows, heads, nope + rope). */
  queries: number;
  /** Outputs of this rank's heads: (rows, heads, value). */
  heads: number;
  /**
   * Rows of a product before they are shared: (rows, the most that a rank computes) and (logitGroup, its part of
   * the vocabulary); and one row of the embedding.
   */
  part: number;
  /** A second one, for up beside gate. */
  part2: number;
  /** cos and sin of each row: (rows, ropeDim). */
  angles: number;
  /** A page as float32: (PAGE_TOKENS, latent + ropeDim), and room for arranging it. */
  page: number;
  pageArranged: number;
  /** Bytes of a page as they are cached. */
  pageBytes: number;
  /** Attention of a group of heads; see attention.ts. */
  attention: {
    /** Absorbed queries: (HEAD_GROUP · attended rows, latent + ropeDim), and laid out for the scores. */
    queries: number;
    arranged: number;
    /** (HEAD_GROUP · attended rows, PAGE_TOKENS), or (attended rows, KEY_BLOCK). */
    scores: number;
    /** (HEAD_GROUP · attended rows, latent), or (heads, attended rows, value). */
    out: number;
    maxima: number;
    sums: number;
    limits: number;
    /** One head's keys' half of keyValueUp: (nope, latent). */
    matrix: number;
    /** Keys and values of a block: (KEY_BLOCK, nope + value), keys complete: (KEY_BLOCK, nope + rope). */
    keyValues: number;
    keys: number;
    keysArranged: number;
    /** Latents of a block laid out: (KEY_BLOCK, latent). */
    latents: number;
  };
  /** Between the halves of an MLP: (rows, widest). */
  middle: number;
  /** Router's scores: (rows, experts). */
  routing: number;
}

export function placeRunState(
  { sizes }: ModelConfig,
  { arena, share, rows }: { arena: Arena; share: Share; rows: number },
): RunState {
  const { hidden, queryRank, latent, ropeDim, nopeDim, valueDim, numHeads, vocab } = sizes;
  const heads = shareOf(numHeads, share);
  const numOwn = heads.to - heads.from;
  const group = Math.min(HEAD_GROUP, Math.max(1, numOwn));
  const row = latent + ropeDim;
  const widths = [sizes.denseWidth, sizes.expertWidth * Math.max(1, sizes.numSharedExperts)];
  const widest = Math.max(2 * hidden, queryRank, latent, numHeads * valueDim, ...widths);
  const most = (count: number) => Math.ceil(count / share.numRanks);
  const part = Math.max(hidden, queryRank + row, ...widths) / share.numRanks + 1;
  const logitGroup = Math.min(LOGIT_GROUP, rows);
  const floats = (count: number) => arena.floats(Math.ceil(count));
  const attended = Math.min(rows, ATTENDED_ROWS);
  const perHead = group * attended;
  return {
    rows,
    logitGroup,
    x: floats(rows * hidden),
    normed: floats(Math.max(rows * 2 * hidden, numHeads * valueDim)),
    arranged: floats(rows * (paddedCols(widest) + 16)),
    low: floats(rows * (queryRank + row)),
    latents: floats(rows * row),
    queries: floats(rows * numOwn * (nopeDim + ropeDim)),
    heads: floats(rows * numOwn * valueDim),
    part: floats(Math.max(rows * part, logitGroup * most(vocab), hidden)),
    part2: floats(rows * part),
    angles: floats(rows * ropeDim),
    page: floats(PAGE_TOKENS * row),
    pageArranged: floats(PAGE_TOKENS * paddedCols(row)),
    pageBytes: floats(PAGE_TOKENS * row),
    attention: {
      queries: floats(perHead * row),
      arranged: floats(Math.max(perHead * paddedCols(row), attended * paddedCols(nopeDim + ropeDim))),
      scores: floats(Math.max(perHead * PAGE_TOKENS, attended * KEY_BLOCK)),
      out: floats(Math.max(perHead * latent, numOwn * attended * valueDim)),
      maxima: floats(Math.max(perHead, numOwn * attended)),
      sums: floats(Math.max(perHead, numOwn * attended)),
      limits: floats(Math.max(perHead, attended)),
      matrix: floats(nopeDim * latent),
      keyValues: floats(KEY_BLOCK * (nopeDim + valueDim)),
      keys: floats(KEY_BLOCK * (nopeDim + ropeDim)),
      keysArranged: floats(KEY_BLOCK * paddedCols(nopeDim + ropeDim)),
      latents: floats(KEY_BLOCK * paddedCols(latent)),
    },
    middle: floats(rows * Math.max(...widths)),
    routing: floats(rows * Math.max(1, sizes.numExperts)),
  };
}
