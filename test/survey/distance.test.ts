import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDistance } from "../../src/survey/distance.ts";
import { sparkline } from "../../src/survey/sparkline.ts";

test("formatDistance() gives three significant digits", () => {
  const cases: [number | null, string][] = [
    ...([
      [0, "0"],
      [null, "∞"],
      [Number.POSITIVE_INFINITY, "∞"],
    ] as [number | null, string][]),
    ...([
      [1, "1.00"],
      [0.5, "0.500"],
      [0.0001234, "0.000123"],
      [0.00009999, "1.00e-4"],
    ] as [number, string][]),
    ...([
      [4.5678e-5, "4.57e-5"],
      [123.4, "123"],
      [1234, "1.23e3"],
      [1.5e7, "1.50e7"],
    ] as [number, string][]),
  ];
  for (const [value, text] of cases) assert.equal(formatDistance(value), text);
});

test("sparkline() goes from 0 to the largest; a dot is 0 and a space is nothing", () => {
  assert.equal(sparkline([0, 1, 2, 4, 8, undefined, 0.001]), "·▁▂▄█ ▁");
  assert.equal(sparkline([]), "");
  assert.equal(sparkline([0, undefined]), "· ");
  assert.equal(sparkline([1, Number.POSITIVE_INFINITY]), "██");
  assert.equal(sparkline([Number.POSITIVE_INFINITY]), "█");
});
