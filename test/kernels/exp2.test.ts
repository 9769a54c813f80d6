/** The powers that softmax and SiLU take: their error, and their ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { exp, exp2 } from "../../src/kernels/exp2.ts";

const { fround } = Math;

/** float32 from `from` to `to`, evenly, and the nearest ones to whole numbers and halves. */
function* arguments_(from: number, to: number): Generator<number> {
  for (let i = 0; i <= 400_000; i++) yield fround(from + ((to - from) * i) / 400_000);
  for (let half = 2 * from; half <= 2 * to; half++) {
    for (const step of [-1, 0, 1]) yield fround((half / 2) * (1 + step * 2 ** -23));
  }
}

test("exp2() has relative error < 1.2e-7 from -126 to 128", () => {
  for (const x of arguments_(-126, 128)) {
    if (x < -126 || x >= 128) continue;
    const expected = 2 ** x;
    assert.ok(Math.abs(exp2(x) - expected) <= 1.2e-7 * expected, `2^${x} is ${exp2(x)}, wanted ${expected}`);
    assert.equal(fround(exp2(x)), exp2(x));
  }
});

test("exp() has relative error < 2.5e-7 from -86.9 to 88.3", () => {
  for (const x of arguments_(-86.9, 88.3)) {
    const expected = Math.exp(x);
    assert.ok(Math.abs(exp(x) - expected) <= 2.5e-7 * expected, `e^${x} is ${exp(x)}, wanted ${expected}`);
    assert.equal(fround(exp(x)), exp(x));
  }
});

test("exp2() of whole numbers is exact, 0 below -126, infinite from 128, NaN of NaN", () => {
  for (let n = -126; n < 128; n++) assert.equal(exp2(n), 2 ** n);
  assert.deepEqual([-126.00001, -127, -1e30, -Infinity].map(fround).map(exp2), [0, 0, 0, 0]);
  assert.deepEqual([128, 1e30, Infinity, Number.NaN].map(fround).map(exp2), [
    Infinity,
    Infinity,
    Infinity,
    Number.NaN,
  ]);
  assert.deepEqual([0, -0].map(exp2), [1, 1]);
});

test("exp() is 0 far below, infinite far above, NaN of NaN, 1 at ±0", () => {
  assert.deepEqual([-88, -1e30, -Infinity].map(fround).map(exp), [0, 0, 0]);
  assert.deepEqual([89, 3e38, Infinity, Number.NaN].map(fround).map(exp), [
    Infinity,
    Infinity,
    Infinity,
    Number.NaN,
  ]);
  assert.deepEqual([0, -0].map(exp), [1, 1]);
});
