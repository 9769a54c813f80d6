/**
 * Random numbers by counter: Philox 4×32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * A number depends on nothing but (seed, position, purpose). So a generation that is resumed, or that drafts
 * tokens and throws some away, draws at each position what it would have drawn anyway.
 */

/** What a number at a position is for: each gets a stream of its own. */
export const DRAW = { token: 0, accept: 1, residual: 2, draft: 3 } as const;
export type Draw = (typeof DRAW)[keyof typeof DRAW];

export type Seed = number | bigint;

const ROUNDS = 10;

/** Four 32-bit words from a counter of four and a key of two. */
export function philox(
  [c0, c1, c2, c3]: readonly [number, number, number, number],
  [k0, k1]: readonly [number, number],
): [number, number, number, number] {
  let [x0, x1, x2, x3, key0, key1] = [c0, c1, c2, c3, k0, k1];
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = mulHigh(0xd2511f53, x0);
    const low0 = Math.imul(0xd2511f53, x0);
    const high1 = mulHigh(0xcd9e8d57, x2);
    const low1 = Math.imul(0xcd9e8d57, x2);
    [x0, x1, x2, x3] = [high1 ^ x1 ^ key0, low1, high0 ^ x3 ^ key1, low0];
    key0 = (key0 + 0x9e3779b9) | 0;
    key1 = (key1 + 0xbb67ae85) | 0;
  }
  return [x0 >>> 0, x1 >>> 0, x2 >>> 0, x3 >>> 0];
}

/** The upper 32 bits of a product of two 32-bit numbers. */
function mulHigh(a: number, b: number): number {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const rest = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(rest / 0x10000)) | 0;
}

/** A number in [0, 1) with 53 random bits. */
export function uniform(seed: Seed, position: number, draw: Draw): number {
  const key = BigInt.asUintN(64, BigInt(seed));
  const low = position % 2 ** 32;
  const words = philox(
    [low, Math.floor(position / 2 ** 32), draw, 0],
    [Number(key & 0xffffffffn) | 0, Number(key >> 32n) | 0],
  );
  return ((words[0] >>> 5) * 2 ** 26 + (words[1] >>> 6)) / 2 ** 53;
}
