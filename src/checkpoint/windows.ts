/**
 * Which bytes of a remote file are fetched together: a request costs as much as a mebibyte, and servers count requests,
 * so neighbours are joined and what lies between them is read too, as long as that is little; long runs are cut.
 */

export interface Extent {
  offset: number;
  byteLength: number;
}

export interface Window {
  from: number;
  to: number;
}

/** The widest gap that is read rather than left out: about what a request costs. */
const WIDEST_GAP = 1 << 20;
/** Bytes in gaps, at the most, as a part of those that are wanted. */
const MOST_WASTE = 1 / 16;
/** A request at the most. */
export const WINDOW_BYTES: number = 16 << 20;

/** Windows in ascending order that hold all extents, none longer than `most` bytes. */
export function planWindows(extents: readonly Extent[], most: number = WINDOW_BYTES): Window[] {
  const runs = joinedRuns(extents);
  const wanted = runs.reduce((sum, { from, to }) => sum + to - from, 0);
  const gaps = runs.slice(1).map(({ from }, i) => from - runs[i]!.to);
  const isRead = new Set<number>();
  let wasted = 0;
  for (const index of gaps.map((_, i) => i).sort((a, b) => gaps[a]! - gaps[b]! || a - b)) {
    wasted += gaps[index]!;
    if (gaps[index]! > WIDEST_GAP || wasted > wanted * MOST_WASTE) break; // the others are wider still
    isRead.add(index);
  }
  const windows: Window[] = [];
  for (let i = 0; i < runs.length; i++) {
    const { from } = runs[i]!;
    while (isRead.has(i)) i++;
    cut(from, runs[i]!.to, most, windows);
  }
  return windows;
}

/** Runs without gaps, ascending. */
function joinedRuns(extents: readonly Extent[]): Window[] {
  const sorted = extents.filter(({ byteLength }) => byteLength > 0).sort((a, b) => a.offset - b.offset);
  const runs: Window[] = [];
  for (const { offset, byteLength } of sorted) {
    const last = runs.at(-1);
    if (last && offset <= last.to) last.to = Math.max(last.to, offset + byteLength);
    else runs.push({ from: offset, to: offset + byteLength });
  }
  return runs;
}

/** Equal parts: the last one is not a crumb. */
function cut(from: number, to: number, most: number, into: Window[]): void {
  const parts = Math.ceil((to - from) / most);
  for (let i = 0; i < parts; i++) {
    const [start, end] = [i, i + 1].map((k) => from + Math.floor(((to - from) * k) / parts));
    into.push({ from: start!, to: end! });
  }
}
