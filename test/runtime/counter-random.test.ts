/** Random numbers by seed and position: the same ones again, and evenly spread. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DRAW, philox, uniform } from "../../src/runtime/counter-random.ts";
import { chiSquare, chiSquareLimit } from "./chi-square.ts";

/** Known answers of the authors' Random123 library. */
const KNOWN: [counter: number[], key: number[], words: number[]][] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

test("philox() gives the known answers", () => {
  for (const [counter, key, words] of KNOWN) assert.deepEqual(philox(counter as never, key as never), words);
});

test("uniform() depends on seed, position and purpose, and on nothing else", () => {
  const numbers = [
    uniform(1, 5, DRAW.token),
    uniform(2, 5, DRAW.token),
    uniform(1, 6, DRAW.token),
    uniform(1, 5, DRAW.accept),
    uniform(1, 5 + 2 ** 32, DRAW.token),
    uniform(1n + (1n << 32n), 5, DRAW.token),
    uniform(-1, 5, DRAW.token),
  ];
  assert.equal(new Set(numbers).size, numbers.length);
  assert.equal(uniform(1n, 5, DRAW.token), numbers[0]);
  assert.equal(uniform(1, 5, DRAW.token), numbers[0]);
});

test("uniform() fills [0, 1) evenly (chi-square, 100 bins, 100,000 numbers)", () => {
  for (const seed of [0, 12345]) {
    const counts = new Uint32Array(100);
    for (let position = 0; position < 100_000; position++) {
      counts[Math.floor(uniform(seed, position, DRAW.token) * 100)]!++;
    }
    assert.ok(chiSquare(counts, new Float64Array(100).fill(0.01)) < chiSquareLimit(99));
  }
});
