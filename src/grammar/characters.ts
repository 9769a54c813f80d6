/**
 * Sets of characters: ranges of code points, and the bytes of their UTF-8.
 *
 * A range is cut where the number of bytes changes and where the bytes after the first do not run through all of
 * 80 to BF; each part is then a sequence of byte ranges. Surrogates are no characters and never match.
 */
import { byteOf, choice, type Grammar, type Range, sequence } from "./grammar.ts";

export const ANY_CHARACTER: readonly Range[] = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** In order, without overlaps or gaps of nothing between neighbours. */
export function normalised(ranges: readonly Range[]): Range[] {
  const result: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = result.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else result.push([first, last]);
  }
  return result;
}

/** What lies in both. */
export function intersection(a: readonly Range[], b: readonly Range[]): Range[] {
  const parts = a.flatMap(([first, last]) =>
    b.map(([from, to]): Range => [Math.max(first, from), Math.min(last, to)]),
  );
  return normalised(parts.filter(([first, last]) => first <= last));
}

/** All characters but these. */
export function complement(ranges: readonly Range[]): Range[] {
  const gaps: Range[] = [];
  let next = 0;
  for (const [first, last] of normalised(ranges)) {
    if (first > next) gaps.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= 0x10ffff) gaps.push([next, 0x10ffff]);
  return intersection(gaps, ANY_CHARACTER);
}

/** The ranges of single code points. */
export function pointsOf(text: string): Range[] {
  return Array.from(text, (c): Range => [c.codePointAt(0)!, c.codePointAt(0)!]);
}

/** One character out of ranges of code points, in UTF-8. */
export function character(ranges: readonly Range[]): Grammar {
  const ascii: Range[] = [];
  const longer: Grammar[] = [];
  for (const range of intersection(ranges, ANY_CHARACTER)) {
    for (const bytes of byteRanges(range)) {
      if (bytes.length === 1) ascii.push(bytes[0]!);
      else longer.push(sequence(...bytes.map((part) => byteOf(part))));
    }
  }
  if (longer.length === 0) return byteOf(...ascii);
  return choice(...(ascii.length > 0 ? [byteOf(...ascii)] : []), ...longer);
}

/** Sequences of byte ranges that together are the UTF-8 of all code points from first to last. */
export function byteRanges([first, last]: Range): Range[][] {
  for (const limit of [0x7f, 0x7ff, 0xffff]) {
    if (first <= limit && last > limit)
      return [...byteRanges([first, limit]), ...byteRanges([limit + 1, last])];
  }
  if (last <= 0x7f) return [[[first, last]]];
  // Cut so that below the place where first and last differ, all six bits of each byte run from 0 to 63.
  for (let bits = 6; bits <= 18; bits += 6) {
    const mask = (1 << bits) - 1;
    if (first >> bits === last >> bits) continue;
    if ((first & mask) !== 0) {
      const end = first | mask;
      return [...byteRanges([first, end]), ...byteRanges([end + 1, last])];
    }
    if ((last & mask) !== mask) {
      const start = last & ~mask;
      return [...byteRanges([first, start - 1]), ...byteRanges([start, last])];
    }
  }
  const from = utf8(first);
  const to = utf8(last);
  return [from.map((byte, i): Range => [byte, to[i]!])];
}

function utf8(point: number): number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(point))];
}
