/**
 * Split decode attention (FlashMLA's scheme, model.md section 16): who attends to which pages.
 *
 * Requests differ in length, so their blocks are dealt to equal parts; a long request is split over several.
 * What the parts leave is made one by join-splits.ts.
 * The number of parts fixes the order of sums: keep it and the output is the same bit for bit.
 */

/** What a request costs beyond its blocks, in blocks. */
const OVERHEAD_BLOCKS = 5;

/** A stretch of the requests' blocks. Ends: the request inclusive, its block exclusive. */
export interface SchedulePart {
  beginRequest: number;
  beginBlock: number;
  endRequest: number;
  endBlock: number;
  /** Which split of beginRequest this part begins with. */
  beginSplit: number;
}

export interface SplitSchedule {
  /** Blocks, overhead included, that a part may take. */
  payload: number;
  /** Where each request's splits begin among all splits, and their number at the end. */
  splitOffsets: Uint32Array;
  /** undefined for a part that has nothing to do. */
  parts: (SchedulePart | undefined)[];
}

export function scheduleSplits(
  lengths: ArrayLike<number>,
  numParts: number,
  { blockSize = 64 }: { blockSize?: number } = {},
): SplitSchedule {
  if (!Number.isInteger(numParts) || numParts < 1)
    throw new RangeError(`Cannot schedule ${numParts} parts, wanted a whole number from 1 on`);
  // A request of length 0 has a block too: its output must be written.
  const numBlocks = Array.from(lengths, (length) => Math.max(1, Math.ceil(length / blockSize)));
  const total = numBlocks.reduce((sum, blocks) => sum + blocks + OVERHEAD_BLOCKS, 0);
  const payload = Math.ceil(total / numParts) + OVERHEAD_BLOCKS;

  const splitOffsets = new Uint32Array(lengths.length + 1);
  let [request, block, split] = [0, 0, 0];
  const parts = Array.from({ length: numParts }, (): SchedulePart | undefined => {
    if (request === lengths.length) return undefined;
    const begin = { beginRequest: request, beginBlock: block, beginSplit: split };
    let left = payload;
    while (request < lengths.length) {
      const rest = numBlocks[request]! - block;
      if (left < rest + OVERHEAD_BLOCKS) {
        if (left > OVERHEAD_BLOCKS) {
          block += left - OVERHEAD_BLOCKS;
          split++;
        }
        break;
      }
      left -= rest + OVERHEAD_BLOCKS;
      splitOffsets[request + 1] = splitOffsets[request]! + split + 1;
      [request, block, split] = [request + 1, 0, 0];
    }
    const isInside = block > 0;
    const endRequest = isInside ? request : request - 1;
    return { ...begin, endRequest, endBlock: isInside ? block : numBlocks[endRequest]! };
  });
  return { payload, splitOffsets, parts };
}
