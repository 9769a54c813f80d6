/**
 * Bytes that a grammar never tells apart, as one class: an automaton keeps a column for each class, not for each
 * of 256 bytes. JSON has about 30 of them.
 */
import type { Range } from "./grammar.ts";

export interface ByteClasses {
  classOf: Uint8Array;
  numClasses: number;
  /** By class, 1 where the ranges have its bytes. The same array for the same ranges; do not change it. */
  membersOf(ranges: readonly Range[]): Uint8Array;
}

/** The coarsest classes that each of the sets of bytes is made of. */
export function byteClassesOf(sets: Iterable<readonly Range[]>): ByteClasses {
  const distinct = new Map<string, readonly Range[]>();
  for (const ranges of sets) distinct.set(ranges.join(), ranges);

  const classOf = new Uint8Array(256);
  let numClasses = 1;
  for (const ranges of distinct.values()) {
    if (numClasses === 256) break;
    const parts = new Map<number, number>();
    const isIn = new Uint8Array(256);
    for (const [first, last] of ranges) isIn.fill(1, first, last + 1);
    numClasses = 0;
    for (let byte = 0; byte < 256; byte++) {
      const key = classOf[byte]! * 2 + isIn[byte]!;
      const part = parts.get(key) ?? numClasses++;
      parts.set(key, part);
      classOf[byte] = part;
    }
  }

  const known = new Map<string, Uint8Array>();
  const membersOf = (ranges: readonly Range[]): Uint8Array => {
    const key = ranges.join();
    let members = known.get(key);
    if (!members) {
      members = new Uint8Array(numClasses);
      for (const [first, last] of ranges)
        for (let byte = first; byte <= last; byte++) members[classOf[byte]!] = 1;
      known.set(key, members);
    }
    return members;
  };
  return { classOf, numClasses, membersOf };
}
