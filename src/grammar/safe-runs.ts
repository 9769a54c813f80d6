/**
 * Which characters may follow a state in any order, and how many of them: the inside of a string, bounded or not.
 *
 * Where most characters lead to one state, that is the next of a run; a run goes on while the same characters do. So
 * a whole branch of the vocabulary is let in by one look, where it has only such characters and is short enough.
 * Characters are taken by groups of bytes (token-trie.ts), those of several bytes all together.
 */
import { type Automaton, DEAD } from "./automaton.ts";
import { ANY_CHARACTER, byteRanges, intersection } from "./characters.ts";
import type { Range } from "./grammar.ts";
import { groupOf, WIDE_GROUPS } from "./token-trie.ts";

const WIDE_CHARACTERS = intersection(ANY_CHARACTER, [[0x80, 0x10ffff]]).flatMap((range) => byteRanges(range));
const ASCII_GROUPS = (1 << 25) - 1;
/** A bit that is no group's, so that no answer is 0. */
const KNOWN = 1 << 30;
/** To answer takes hundreds of looks into the table: only for states that are met often. */
const OFTEN = 64;
/** Characters that a run is followed for. Hardly a word is longer, and each step finds some 20 states. */
const LONGEST = 24;

export class SafeRuns {
  readonly #automaton: Automaton;
  #met = new Uint8Array(1024);
  /** By row: the next of its run, and the groups that lead there; 0 when not known. */
  #next = new Int32Array(1024);
  #leading = new Int32Array(1024);
  /** By row: the answer, of the whole run. */
  #groups = new Int32Array(1024);
  #steps = new Float64Array(1024);

  /** Rows are those of the automaton until it forgets. */
  constructor(automaton: Automaton) {
    this.#automaton = automaton;
  }

  /** Groups of bytes as bits, never 0 once it is known, and 0 for a row that was not met often. */
  groupsAfter(row: number): number {
    const known = this.#groups[row];
    if (known) return known;
    if (row >= this.#met.length) this.#grow(2 * row);
    if (++this.#met[row]! < OFTEN) return 0;
    return this.#find(row);
  }

  /** How many characters of these groups may follow; after groupsAfter(). */
  stepsAfter(row: number): number {
    return this.#steps[row]!;
  }

  #find(row: number): number {
    let groups = this.#look(row);
    let steps = groups === 0 ? 0 : 1;
    for (let at = this.#next[row]!; steps > 0 && steps < LONGEST; at = this.#next[at]!) {
      const more = this.#look(at) & groups;
      if (more === 0) break;
      // Fewer kinds of characters for a longer run only where it goes on for ever, as after the first of a name.
      if (more !== groups && this.#next[at] !== at) break;
      groups = more;
      steps = this.#next[at] === at ? Number.POSITIVE_INFINITY : steps + 1;
    }
    this.#groups[row] = groups | KNOWN;
    this.#steps[row] = steps;
    return groups | KNOWN;
  }

  /** The groups that lead to the next of a run, which is where most ASCII characters lead. */
  #look(row: number): number {
    if (row >= this.#met.length) this.#grow(2 * row);
    if (this.#next[row] !== 0) return this.#leading[row]!;
    const { classOf } = this.#automaton.network;
    const counts = new Map<number, number>();
    const after = Array.from({ length: 0x80 }, (_, byte) => this.#automaton.nextRow(row, classOf[byte]!));
    for (const next of after) if (next !== DEAD) counts.set(next, (counts.get(next) ?? 0) + 1);
    const [next = -1] = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), [-1, 0]);
    let groups = next === -1 ? 0 : ASCII_GROUPS;
    for (const [byte, to] of after.entries()) if (to !== next) groups &= ~(1 << groupOf(byte));
    if (groups !== 0 && WIDE_CHARACTERS.every((parts) => this.#leadsTo(row, parts, next)))
      groups |= WIDE_GROUPS;
    if (row >= this.#met.length) this.#grow(2 * row);
    this.#next[row] = next;
    this.#leading[row] = groups;
    return groups;
  }

  /** Whether all bytes of these ranges, one after the other, lead to one row. */
  #leadsTo(row: number, parts: readonly Range[], to: number): boolean {
    let rows = new Set([row]);
    for (const [first, last] of parts) {
      const next = new Set<number>();
      const classes = new Set(this.#automaton.network.classOf.subarray(first, last + 1));
      for (const from of rows) for (const one of classes) next.add(this.#automaton.nextRow(from, one));
      rows = next;
    }
    return rows.size === 1 && rows.has(to);
  }

  #grow(size: number): void {
    const grown = new Uint8Array(size);
    grown.set(this.#met);
    this.#met = grown;
    const larger = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(size);
      to.set(from);
      return to;
    };
    this.#next = larger(this.#next);
    this.#leading = larger(this.#leading);
    this.#groups = larger(this.#groups);
    const steps = new Float64Array(size);
    steps.set(this.#steps);
    this.#steps = steps;
  }
}
