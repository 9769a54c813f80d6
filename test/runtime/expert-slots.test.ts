/** Which experts stay in memory. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EXPECTED, ExpertSlots, READING, WANTED } from "../../src/runtime/expert-slots.ts";

function filled(worths: readonly number[], options: { numExperts?: number; halfLife?: number } = {}) {
  const slots = new ExpertSlots({ numExperts: 8, numSlots: worths.length, halfLife: 256, ...options });
  for (const [expert, worth] of worths.entries()) {
    assert.ok(slots.claim(expert) >= 0);
    slots.use(expert, worth);
  }
  return slots;
}

describe("slots of experts", () => {
  test("empty ones are taken first, then that of the least used expert", () => {
    const slots = filled([3, 1, 2]);
    assert.deepEqual(
      [0, 1, 2, 3].map((expert) => slots.slotOf(expert)),
      [0, 1, 2, -1],
    );
    assert.equal(slots.claim(7), 1);
    assert.deepEqual([slots.slotOf(7), slots.slotOf(1)], [1, -1]);
  });

  test("who is held does not give way, unless the hold does not count", () => {
    const slots = filled([3, 1, 2]);
    slots.hold(1, EXPECTED);
    assert.equal(slots.claim(7), 2);
    slots.use(7, 9);
    slots.hold(0, WANTED);
    slots.hold(7, READING);
    assert.equal(slots.claim(6), -1);
    assert.equal(slots.claim(6, { despite: EXPECTED }), 1);
    slots.letGo(0, WANTED);
    assert.equal(slots.claim(5), 1, "an expert that was never used goes before one that was");
  });

  test("a slot that was evicted is free of its expert's holds", () => {
    const slots = filled([1]);
    slots.hold(0, EXPECTED);
    assert.equal(slots.claim(1, { despite: EXPECTED }), 0);
    assert.equal(slots.claim(0), 0);
    assert.equal(slots.isHeld(0, EXPECTED), false);
  });

  test("uses age: after a half-life one use weighs as two did", () => {
    const slots = filled([0, 0, 9], { halfLife: 10 });
    slots.use(0, 3);
    slots.age(10);
    slots.use(1, 2); // 4 of before
    assert.equal(slots.claim(5), 0);
  });

  test("worths stay finite and in order over millions of tokens", () => {
    const slots = filled([1, 2, 3], { halfLife: 16 });
    for (let i = 0; i < 20_000; i++) {
      slots.use(i % 2, 1);
      slots.age(64);
    }
    slots.use(0, 2);
    slots.use(1, 1);
    assert.equal(slots.claim(5), 2);
    slots.use(5, 9);
    assert.equal(slots.claim(6), 1);
  });

  test("a dropped expert leaves its slot empty", () => {
    const slots = filled([5, 5]);
    slots.drop(0);
    assert.deepEqual([slots.slotOf(0), slots.claim(4)], [-1, 0]);
  });
});
