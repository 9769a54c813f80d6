/**
 * Split decode attention (FlashMLA's scheme, model.md section 16): who attends to which pages, and how the
 * partial results become one.
 *
 * Requests differ in length, so their blocks are dealt to equal parts; a long request is split over several.
 * Each part leaves a normalised output and the base-2 logarithm of its sum; both are combined at the end.
 * The number of parts fixes the order of sums: keep it and the output is the same bit for bit.
 */

/** What a request costs beyond its blocks, in blocks. */
const OVERHEAD_BLOCKS = 5;
export const MAX_SPLITS = 160;

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

/**
 * Combines the splits of one row: `outputs` holds one row of `width` numbers per split, each normalised,
 * `logSums` their base-2 log-sum-exp (-Infinity for a split without keys). Writes the row to `into`, returns
 * the natural log-sum-exp (+Infinity when no split had a key). An attention sink lowers the output only.
 */
export function combineSplits(
  logSums: Float32Array,
  outputs: Float32Array,
  into: Float32Array,
  { sink }: { sink?: number } = {},
): number {
  const numSplits = logSums.length;
  const width = into.length;
  if (numSplits > MAX_SPLITS)
    throw new RangeError(`Cannot combine ${numSplits} splits, wanted at most ${MAX_SPLITS}`);
  let largest = -Infinity;
  for (const logSum of logSums) largest = Math.max(largest, logSum);
  if (largest === -Infinity) largest = 0;
  let sum = 0;
  for (const logSum of logSums) sum += 2 ** (logSum - largest);
  const whole = sum === 0 ? Infinity : Math.log2(sum) + largest;
  const scale = sink === undefined ? whole : whole + Math.log2(1 + 2 ** (sink * Math.LOG2E - whole));

  into.fill(0);
  for (let split = 0; split < numSplits; split++) {
    const factor = 2 ** (logSums[split]! - scale);
    if (factor === 0) continue; // the row of a split without keys may hold anything
    const start = split * width;
    for (let at = 0; at < width; at++) into[at]! += factor * outputs[start + at]!;
  }
  return whole / Math.LOG2E;
}
