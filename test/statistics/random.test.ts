/** Seeded numbers: the same for ever, without bias. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seededRandom, seedOf } from "../../src/statistics/random.ts";

test("seedOf() and seededRandom() give what the oracle in Python gives, on every machine", () => {
  assert.equal(seedOf(), 2462723854);
  assert.equal(seedOf("a"), 3304071325767872);
  assert.equal(seedOf("task", "child-α😀", 7), 316537170001180);
  for (const [seed, wanted] of [
    [0, [2835919804, 2181346433, 2056436171, 1412829774]],
    [42, [1150488769, 1839010520, 593059535, 4003064734]],
    [Number.MAX_SAFE_INTEGER, [205749292, 3582511197, 931248691, 2093877072]],
  ] as const) {
    const random = seededRandom(seed);
    assert.deepEqual(
      wanted.map(() => random.nextInt(2 ** 32)),
      wanted,
    );
  }
});

test("seedOf() tells parts, order and kinds apart", () => {
  const seeds = [
    seedOf("a", "b"),
    seedOf("ab"),
    seedOf("b", "a"),
    seedOf("ab", ""),
    seedOf("", "ab"),
    seedOf("1"),
    seedOf(1),
    seedOf(-1),
    seedOf(0.1),
  ];
  assert.equal(new Set(seeds).size, seeds.length);
});

test("seedOf() is a safe integer from 0, and does not collide over 100,000 near names", () => {
  const seeds = new Set<number>();
  for (let i = 0; i < 100_000; i++) {
    const seed = seedOf("task", i);
    assert.ok(Number.isSafeInteger(seed) && seed >= 0);
    seeds.add(seed);
  }
  assert.equal(seeds.size, 100_000);
});

test("seedOf() sets each of its 53 bits in half of the seeds", () => {
  const ones = new Array<number>(53).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const seed = BigInt(seedOf(i));
    for (const bit of ones.keys()) ones[bit]! += Number((seed >> BigInt(bit)) & 1n);
  }
  for (const count of ones) assert.ok(Math.abs(count - 5000) < 5 * 50, `${count}`);
});

test("nextInt() draws each of n values alike", () => {
  for (const n of [2, 3, 6, 10, 100]) {
    const random = seededRandom(n);
    const counts = new Array<number>(n).fill(0);
    const draws = 1000 * n;
    for (let i = 0; i < draws; i++) counts[random.nextInt(n)]!++;
    const chiSquare = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    // Mean n − 1, standard deviation √(2n − 2): five of them off would be a fault.
    assert.ok(chiSquare < n - 1 + 5 * Math.sqrt(2 * n - 2), `${n}: ${chiSquare}`);
  }
});

test("nextInt() has no bias towards small numbers where n does not divide 2^32", () => {
  const random = seededRandom(9);
  let small = 0;
  // A remainder of 32 bits would fall below 2^30 in half of the draws.
  for (let i = 0; i < 30_000; i++) if (random.nextInt(3 * 2 ** 30) < 2 ** 30) small++;
  assert.ok(Math.abs(small - 10_000) < 500, `${small}`);
});

test("nextInt() below 1 is 0; what is no range is refused", () => {
  assert.equal(seededRandom(1).nextInt(1), 0);
  for (const n of [0, -1, 1.5, Number.NaN, 2 ** 32 + 1]) {
    assert.throws(() => seededRandom(1).nextInt(n), { name: "RangeError", message: /^Cannot draw below/ });
  }
});

test("nextFloat() is at least 0, less than 1, and uniform", () => {
  const random = seededRandom(5);
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < 100_000; i++) {
    const value = random.nextFloat();
    assert.ok(value >= 0 && value < 1);
    sum += value;
    squares += value * value;
  }
  assert.ok(Math.abs(sum / 100_000 - 1 / 2) < 0.005);
  assert.ok(Math.abs(squares / 100_000 - 1 / 3) < 0.005);
});

test("shuffle() keeps what is there, works in place and follows from the seed", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), fc.maxSafeNat(), (items, seed) => {
      const shuffled = [...items];
      assert.equal(seededRandom(seed).shuffle(shuffled), shuffled);
      assert.deepEqual(
        shuffled.toSorted((a, b) => a - b),
        items.toSorted((a, b) => a - b),
      );
      assert.deepEqual(seededRandom(seed).shuffle([...items]), shuffled);
    }),
    { seed: 6 },
  );
});

test("shuffle() gives all orders alike", () => {
  const counts = new Map<string, number>();
  for (let seed = 0; seed < 24_000; seed++) {
    const order = seededRandom(seed).shuffle(["a", "b", "c", "d"]).join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 24);
  for (const [order, count] of counts) assert.ok(Math.abs(count - 1000) < 160, `${order}: ${count}`);
});

test("seededRandom() of what is no seed is refused", () => {
  for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) {
    assert.throws(() => seededRandom(seed), { name: "RangeError", message: /^Cannot seed/ });
  }
});
