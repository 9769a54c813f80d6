/** Ranges of numbers against comparison. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Automaton } from "../../src/grammar/automaton.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { networkOf } from "../../src/grammar/network.ts";
import { decimalRange, integerRange, nextAbove } from "../../src/grammar/number-range.ts";

function matches(automaton: Automaton, text: string): boolean {
  const matcher = new Matcher(automaton);
  return matcher.advanceAll(Buffer.from(text)) && matcher.canEnd;
}

test("integerRange() takes exactly what lies within, to three digits", () => {
  for (const [min, max] of [
    [-12, 7],
    [0, 0],
    [5, 5],
    [8, 13],
    [99, 101],
    [-205, -199],
    [-1, 0],
    [17, 940],
    [-1000, 1000],
  ] as const) {
    const automaton = new Automaton(networkOf(integerRange(BigInt(min), BigInt(max))));
    for (let n = -1100; n <= 1100; n++)
      assert.equal(matches(automaton, String(n)), n >= min && n <= max, `${n}`);
    for (const text of ["-0", "00", "07", "+7", "", "-", "1.0"]) assert.ok(!matches(automaton, text), text);
  }
});

test("integerRange() takes exactly what lies within, of large numbers", () => {
  const numbers = fc.bigInt({ min: -(10n ** 21n) + 1n, max: 10n ** 21n - 1n });
  fc.assert(
    fc.property(numbers, numbers, fc.array(numbers, { maxLength: 5 }), (a, b, others) => {
      const [min, max] = a < b ? [a, b] : [b, a];
      const automaton = new Automaton(networkOf(integerRange(min, max)));
      for (const n of [min - 1n, min, min + 1n, max - 1n, max, max + 1n, (min + max) / 2n, ...others]) {
        if (String(n).replace("-", "").length <= 21)
          assert.equal(matches(automaton, String(n)), n >= min && n <= max, `${n} of ${min} to ${max}`);
      }
    }),
    { numRuns: 200, seed: 1 },
  );
});

/** As JSON.stringify(), but always in digits; undefined where there are too many. */
function inDigits(value: number): string | undefined {
  const text = String(value);
  return text.includes("e") || Object.is(value, -0) ? undefined : text;
}

test("decimalRange() takes exactly the doubles that lie within", () => {
  const numbers = fc.oneof(
    fc.double({ min: -1000, max: 1000, noNaN: true }),
    fc.integer({ min: -20, max: 20 }),
    fc.integer({ min: -200, max: 200 }).map((n) => n / 10),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  let tried = 0;
  fc.assert(
    fc.property(numbers, numbers, fc.array(numbers, { minLength: 4, maxLength: 8 }), (a, b, others) => {
      const [min, max] = a < b ? [a, b] : [b, a];
      if (min > 1e21 || max < -1e21 || max - min < 1e-29) return; // nothing there has few enough digits
      const automaton = new Automaton(networkOf(decimalRange(min, max)));
      for (const n of [
        min,
        max,
        nextAbove(min),
        nextAbove(max),
        -nextAbove(-min),
        -nextAbove(-max),
        ...others,
      ]) {
        const text = inDigits(n);
        if (text === undefined || !/^-?\d{1,30}(\.\d{1,30})?$/.test(text)) continue;
        tried++;
        assert.equal(matches(automaton, text), n >= min && n <= max, `${text} of ${min} to ${max}`);
      }
    }),
    { numRuns: 300, seed: 2 },
  );
  assert.ok(tried > 1000, `${tried} numbers`);
});

test("decimalRange() takes zeros at the end, and no number that is read as one outside", () => {
  const automaton = new Automaton(networkOf(decimalRange(nextAbove(0), -nextAbove(-1))));
  for (const text of ["0.5", "0.500", "0.0000000000000000001", "0.99999999"])
    assert.ok(matches(automaton, text), text);
  for (const text of ["0", "0.0", "1", "1.0", "0.99999999999999999999", "-0.5", ".5", "0.", "1e-1"])
    assert.ok(!matches(automaton, text), text);
  assert.ok(matches(new Automaton(networkOf(decimalRange(0, 1))), "1.000"));
  assert.ok(matches(new Automaton(networkOf(decimalRange(-1.5))), "-1.50"));
});

test("nextAbove() leaves no double between", () => {
  assert.equal(nextAbove(1), 1 + 2 ** -52);
  assert.equal(nextAbove(-1), -1 + 2 ** -53);
  assert.equal(nextAbove(0), 5e-324);
  assert.equal(nextAbove(-5e-324), -0);
});
