import assert from "node:assert/strict";
import { test } from "node:test";
import { asConfig, ConfigReader, countAt, own, show } from "../../src/arch/config.ts";

test("own() does not see inherited properties", () => {
  assert.equal(own({}, "constructor"), undefined);
  assert.equal(own({ constructor: 1 }, "constructor"), 1);
});

test("asConfig() takes objects only", () => {
  for (const value of [undefined, null, 1, "a", [], true]) assert.equal(asConfig(value), undefined);
  assert.deepEqual(asConfig({ a: 1 }), { a: 1 });
});

test("countAt() takes whole numbers that are exact, from the least on", () => {
  const values = [0, 1, 2 ** 53 - 1, 2 ** 53, -1, 0.5, "1", null, Number.NaN];
  assert.deepEqual(
    values.map((value) => countAt({ value }, "value", 1)),
    [undefined, 1, 2 ** 53 - 1, ...Array(6).fill(undefined)],
  );
  assert.equal(countAt({ value: 0 }, "value"), 0);
});

test("show() is short, quotes strings and never shows control characters", () => {
  const cases: [value: unknown, shown: string][] = [
    ["a\n", '"a\\n"'],
    ["\u0085\u007f", '"??"'],
    ["x".repeat(41), `"${"x".repeat(40)}…"`],
    [[1, "b", [2], { c: 3 }], '[1, "b", a list, an object]'],
    [[1, 2, 3, 4, 5], "a list"],
    [["x".repeat(41)], "[a string]"],
    [{}, "an object"],
    [null, "null"],
    [1e300, "1e+300"],
  ];
  for (const [value, shown] of cases) assert.equal(show(value), shown);
});

test("ConfigReader.count() tells a missing key from null", () => {
  const reader = new ConfigReader({ none: null });
  assert.equal(reader.count("none", 1, { none: 7 }), 7);
  assert.equal(reader.count("missing", 1, { absent: 8 }), 8);
  assert.deepEqual(reader.problems, []);
  assert.equal(reader.count("none", 1, { absent: 8 }), 0);
  assert.equal(reader.count("missing", 1, { none: 7 }), 0);
  assert.deepEqual(
    reader.problems.map(({ code }) => code),
    ["config-bad-value", "config-missing-key"],
  );
});
