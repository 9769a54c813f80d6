import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  bitsOf,
  byteLengthOf,
  DTYPES,
  floatSize,
  formatShape,
  isDtype,
  isFloat,
  isFloat8,
  numElements,
} from "../../src/tensor/dtype.ts";

test("isDtype() takes the names of safetensors and nothing else", () => {
  for (const dtype of DTYPES) assert.ok(isDtype(dtype));
  for (const text of ["f32", "FP8", "F8_E4M3FN", "", "toString", "__proto__", "constructor"]) {
    assert.ok(!isDtype(text), text);
  }
});

test("isFloat() holds for the five types that take part in arithmetic, FNUZ not among them", () => {
  assert.deepEqual(DTYPES.filter(isFloat), ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]);
  assert.deepEqual(DTYPES.filter(isFloat8), ["F8_E4M3", "F8_E5M2"]);
});

test("floatSize() and bitsOf() agree", () => {
  for (const dtype of DTYPES.filter(isFloat)) assert.equal(8 * floatSize(dtype), bitsOf(dtype));
});

test("numElements() multiplies, takes [] for a scalar and gives NaN past 2^53", () => {
  assert.equal(numElements([]), 1);
  assert.equal(numElements([7168, 2048]), 14_680_064);
  assert.equal(numElements([2 ** 30, 2 ** 30, 0, 2 ** 30]), 0);
  assert.ok(Number.isNaN(numElements([2 ** 27, 2 ** 26])));
  assert.equal(numElements([2 ** 27, 2 ** 26 - 1]), 2 ** 53 - 2 ** 27);
});

test("byteLengthOf() counts bytes; NaN when they are not whole", () => {
  assert.equal(byteLengthOf("F8_E4M3", [3, 5]), 15);
  assert.equal(byteLengthOf("BF16", []), 2);
  assert.equal(byteLengthOf("C64", [2]), 16);
  assert.equal(byteLengthOf("F4", [3, 2]), 3);
  assert.ok(Number.isNaN(byteLengthOf("F4", [3])));
  assert.equal(byteLengthOf("F6_E2M3", [4]), 3);
  assert.ok(Number.isNaN(byteLengthOf("F6_E2M3", [5])));
  assert.equal(byteLengthOf("F64", [0, 3]), 0);
});

test("byteLengthOf() is exact as long as the bytes are a safe integer, whatever the bits are", () => {
  assert.equal(byteLengthOf("F8_E4M3", [2 ** 52]), 2 ** 52); // 2^55 bits
  assert.equal(byteLengthOf("F4", [2 ** 52]), 2 ** 51); // 2^54 bits
  assert.equal(byteLengthOf("F64", [2 ** 50 - 1]), 2 ** 53 - 8);
  assert.ok(Number.isNaN(byteLengthOf("F64", [2 ** 50])));
  assert.ok(Number.isNaN(byteLengthOf("F6_E2M3", [2 ** 53 - 1])));
});

test("byteLengthOf() equals whole numbers of any size", () => {
  const dim = fc.oneof(
    fc.nat(9),
    fc.nat(2 ** 31 - 1),
    fc.nat(51).map((k) => 2 ** k),
  );
  const shape = fc.array(dim, { maxLength: 4 });
  fc.assert(
    fc.property(fc.constantFrom(...DTYPES), shape, (dtype, dims) => {
      const elements = dims.reduce((product, d) => product * BigInt(d), 1n);
      const bits = elements * BigInt(bitsOf(dtype));
      const safe = elements < 2n ** 53n && bits % 8n === 0n && bits / 8n < 2n ** 53n;
      assert.equal(byteLengthOf(dtype, dims), safe ? Number(bits / 8n) : Number.NaN);
    }),
    { seed: 1, numRuns: 2000 },
  );
});

test("formatShape() writes a shape as messages show it", () => {
  assert.equal(formatShape([2048, 7168]), "[2048, 7168]");
  assert.equal(formatShape([]), "[]");
});
