/**
 * Random numbers for one purpose of one trial: a stream that depends on nothing but (seed, trial, purpose).
 *
 * So a search that is resumed draws for trial 41 what it would have drawn without the interruption. The generator
 * is sfc32 (Doty-Humphrey, "Small Fast Counting", PractRand): 128 bits of state, here filled from the three numbers.
 */

/** What numbers are drawn for: each gets streams of its own. */
export const PURPOSE = { uniform: 0, design: 1, candidates: 2 } as const;
export type Purpose = (typeof PURPOSE)[keyof typeof PURPOSE];

/** Draws a number in [0, 1) with 53 random bits. */
export type Draw = () => number;

export function randomStream(seed: number, trial: number, purpose: Purpose): Draw {
  let a = (seed >>> 0) ^ Math.imul(purpose + 1, 0x9e3779b9);
  let b = Math.floor(seed / 2 ** 32) ^ 0x6a09e667;
  let c = trial ^ 0xbb67ae85;
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 20; round++) next(); // until every bit of the three has reached every word
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

/** A standard normal number (Box and Muller 1958; the second one is thrown away). */
export function normal(draw: Draw): number {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

/** The numbers 0 … count − 1 in random order (Fisher and Yates). */
export function permutation(count: number, draw: Draw): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(draw() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
