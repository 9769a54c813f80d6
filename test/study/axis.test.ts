/** Values along an axis: decimals as people write them, and what is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseValues, shortNumber } from "../../src/study/axis.ts";

test("parseValues() steps in exact decimals", () => {
  assert.deepEqual(parseValues("0:1:0.1"), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]);
  assert.deepEqual(parseValues("0:1"), parseValues("0:1:0.1"));
  assert.deepEqual(parseValues("0:0.3:0.1"), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(
    parseValues("0:1:0.4"),
    [0, 0.4, 0.8],
    "a step that does not meet the end stops before it",
  );
  assert.deepEqual(parseValues("0.5:0.5:0.1"), [0.5]);
  assert.equal(parseValues("0:1:0.001").length, 1001);
  for (const value of parseValues("0:1:0.001")) assert.ok(String(value).length <= 5, String(value));
});

test("parseValues() runs downwards and through 0", () => {
  assert.deepEqual(parseValues("1:0:-0.25"), [1, 0.75, 0.5, 0.25, 0]);
  assert.deepEqual(parseValues("0.3:-0.3:-0.1"), [0.3, 0.2, 0.1, 0, -0.1, -0.2, -0.3]);
  assert.deepEqual(parseValues("-0.3:0.3:0.1"), [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]);
  assert.deepEqual(parseValues("1:0").length, 11);
});

test("parseValues() keeps steps that are very small or very large apart", () => {
  assert.deepEqual(parseValues("0:3e-11:1e-11"), [0, 1e-11, 2e-11, 3e-11]);
  assert.deepEqual(parseValues("0:3e15:1e15"), [0, 1e15, 2e15, 3e15]);
});

test("parseValues() takes lists, each value once, in their order", () => {
  assert.deepEqual(parseValues("0.3"), [0.3]);
  assert.deepEqual(parseValues("1, 0,0.5 ,1"), [1, 0, 0.5]);
  assert.deepEqual(parseValues("-1,1e-3"), [-1, 0.001]);
});

test("parseValues() refuses what is no list and no range, and says what it wants", () => {
  const cases: [string, RegExp][] = [
    ["", /"" is no number/],
    ["0,,1", /"" is no number/],
    ["0,a", /"a" is no number/],
    ["0:x:1", /"x" is no number/],
    [":", /no number/],
    ["0:1:", /no number/],
    ["0:1:2:3", /4 parts/],
    ["0:1:-0.1", /a step of -0.1 does not lead from 0 to 1/],
    ["1:0:0.1", /does not lead/],
    ["0:1:0", /a step of 0 does not lead/],
    ["0:1:1e-9", /at most 1001/],
    ["NaN", /no number/],
    ["0:Infinity:1", /no number/],
  ];
  for (const [text, message] of cases) {
    const isIt = (error: unknown) => error instanceof RangeError && message.test(error.message);
    assert.throws(() => parseValues(text), isIt, text);
  }
  assert.throws(
    () => parseValues("a"),
    /^RangeError: Cannot read the values "a": .*, wanted a list as 0,0\.5,1/,
  );
});

test("shortNumber() writes numbers as people do", () => {
  assert.deepEqual([0.3, 0.1 + 0.2, 1, -0, 1e-7].map(shortNumber), ["0.3", "0.3", "1", "0", "1e-7"]);
});
