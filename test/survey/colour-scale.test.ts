import assert from "node:assert/strict";
import { test } from "node:test";
import { colourAt, colourScale } from "../../src/survey/colour-scale.ts";

/** Relative luminance of #rrggbb, from the definition of sRGB. */
function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

test("colourAt() grows lighter from end to end", () => {
  const lights = Array.from({ length: 101 }, (_, percent) => luminance(colourAt(percent / 100)));
  for (const [index, light] of lights.entries())
    if (index > 0) assert.ok(light > lights[index - 1]!, `${index} %`);
  assert.ok(lights[0]! < 0.03 && lights[100]! > 0.8);
});

test("colourScale() is linear within a factor of 8 and logarithmic beyond", () => {
  const linear = colourScale([2, 0, 10])!;
  assert.deepEqual(
    [linear.isLogarithmic, linear.ticks.map(({ label }) => label)],
    [false, ["2.00", "6.00", "10.0"]],
  );
  assert.deepEqual([2, 5.99, 6.01, 10, 1, 11, Infinity].map(linear.levelOf), [0, 15, 16, 31, 0, 31, 31]);
  const logarithmic = colourScale([0.001, 1000])!;
  assert.deepEqual(
    [logarithmic.isLogarithmic, logarithmic.ticks.map(({ label }) => label)],
    [true, ["0.00100", "1.00", "1.00e3"]],
  );
  assert.deepEqual([0.001, 0.99, 1.01, 1000].map(logarithmic.levelOf), [0, 15, 16, 31]);
});

test("colourScale() has one colour for one value and none where nothing differs", () => {
  const scale = colourScale([0, 3, 3])!;
  assert.deepEqual([scale.colours.length, scale.levelOf(3), scale.ticks.length], [1, 0, 1]);
  assert.equal(colourScale([]), undefined);
  assert.equal(colourScale([0, 0]), undefined);
  assert.deepEqual(colourScale([Infinity, 0])!.ticks, [{ position: 0.5, label: "∞" }]);
});
