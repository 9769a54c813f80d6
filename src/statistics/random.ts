/**
 * Random numbers that are the same on every machine: a seed from names and numbers, and a generator from a
 * seed. A result that names its seed can be had again.
 *
 * The generator is xoshiro128** of Blackman and Vigna, Scrambled Linear Pseudorandom Number Generators (ACM
 * Transactions on Mathematical Software 47, 2021), which needs 32-bit integers only. Its state, and seeds,
 * are mixed by the finalizer of Appleby's MurmurHash3. Not for secrets.
 */

export interface SeededRandom {
  /** At least 0, less than 1, a multiple of 2⁻⁵³. */
  nextFloat(): number;
  /** An integer from 0 to n − 1, all alike; n to 2³². */
  nextInt(n: number): number;
  /** Fisher and Yates, in place; returns its argument. */
  shuffle<T>(items: T[]): T[];
}

const GOLDEN = 0x9e3779b9;

/** Each bit of the result depends on each bit of x. */
function mix(x: number): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A seed of 53 bits for a thing that has these names: ("a", "b") is not ("ab"), 1 is not "1". */
export function seedOf(...parts: (string | number)[]): number {
  let high = 0;
  let low = GOLDEN;
  for (const part of parts) {
    const text = String(part);
    for (const unit of [typeof part === "number" ? 1 : 2, text.length]) add(unit);
    for (let i = 0; i < text.length; i++) add(text.charCodeAt(i));
  }
  return (mix(high) >>> 11) * 2 ** 32 + mix(low ^ high);

  function add(unit: number): void {
    high = mix(high ^ unit) + GOLDEN;
    low = mix(low + Math.imul(unit + 1, GOLDEN));
  }
}

/** A generator whose numbers follow from the seed, a non-negative safe integer. */
export function seededRandom(seed: number): SeededRandom {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Cannot seed with "${seed}": wanted an integer from 0 to 2^53 - 1`);
  }
  const low = seed % 2 ** 32;
  const high = Math.floor(seed / 2 ** 32);
  // mix() is one-to-one: s0 and s1 together differ for all seeds, and s1 is never 0, as high has 21 bits.
  let s0 = mix(low);
  let s1 = mix(high ^ GOLDEN);
  let s2 = mix(low + GOLDEN);
  let s3 = mix(high ^ low ^ 0x7f4a7c15);
  // Near seeds give near states in part: the first outputs are thrown away.
  for (let i = 0; i < 16; i++) next();

  function next(): number {
    const scrambled = Math.imul(s1, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9);
    const shifted = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= shifted;
    s3 = (s3 << 11) | (s3 >>> 21);
    return result >>> 0;
  }

  function nextInt(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`Cannot draw below "${n}": wanted an integer from 1 to 2^32`);
    }
    if (n === 1) return 0;
    // As many bits as n − 1 has, drawn again where they are too many: a remainder would favour small numbers.
    const shift = Math.clz32(n - 1);
    for (;;) {
      const value = next() >>> shift;
      if (value < n) return value;
    }
  }

  return {
    nextFloat: () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53,
    nextInt,
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = nextInt(i + 1);
        const item = items[i]!;
        items[i] = items[j]!;
        items[j] = item;
      }
      return items;
    },
  };
}
