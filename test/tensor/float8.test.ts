import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  E4M3_MAX,
  E4M3_VALUES,
  E5M2_VALUES,
  encodeE4m3,
  encodeE5m2,
  encodeUe8m0Ceil,
  UE8M0_VALUES,
} from "../../src/tensor/float8.ts";
import { bitsOfFloat, floatOfBits, sweep, withNeighbours } from "./golden.ts";

const { fround } = Math;

// Vectors of model.md 11.1 to 11.3: [value, code].
const E4M3_VECTORS: [number, number][] = [
  [0, 0x00],
  [-0, 0x80],
  [1, 0x38],
  [-1, 0xb8],
  [0.5, 0x30],
  [1.0625, 0x38],
  [1.125, 0x39],
  [1.1875, 0x3a],
  [17, 0x58],
  [19, 0x5a],
  [0.1, 0x1d],
  [-0.3, 0xaa],
  [240, 0x77],
  [448, 0x7e],
  [464, 0x7e],
  [464.01, 0x7e],
  [1e9, 0x7e],
  [Infinity, 0x7e],
  [-Infinity, 0xfe],
  [2 ** -6, 0x08],
  [0.0155, 0x08],
  [2 ** -9, 0x01],
  [2 ** -10, 0x00],
  [2 ** -10 * 1.0001, 0x01],
  [3 * 2 ** -10, 0x02],
  [0.001, 0x01],
];
const E4M3_DECODED: [number, number][] = [
  [0x00, 0],
  [0x01, 0.001953125],
  [0x07, 0.013671875],
  [0x08, 0.015625],
  [0x1d, 0.1015625],
  [0x30, 0.5],
  [0x38, 1],
  [0x40, 2],
  [0x50, 8],
  [0x70, 128],
  [0x78, 256],
  [0x7d, 416],
  [0x7e, 448],
  [0x80, -0],
  [0xaa, -0.3125],
];
const E5M2_VECTORS: [number, number][] = [
  [1, 0x3c],
  [1.125, 0x3c],
  [1.375, 0x3e],
  [-0.3, 0xb5],
  [0.1, 0x2e],
  [57344, 0x7b],
  [61439, 0x7b],
  [1e9, 0x7b],
  [-Infinity, 0xfb],
  [2 ** -16, 0x01],
  [2 ** -17, 0x00],
  [3 * 2 ** -17, 0x02],
];
const UE8M0_VECTORS: [number, number][] = [
  [1, 127],
  [1.0001, 128],
  [0.75, 127],
  [0.5, 126],
  [448, 136],
  [2 ** -9, 118],
  [1e-4 / 448, 105],
];

// The formulas of model.md 11, on bits: another way to the codes than the reference's arithmetic.
const magnitudeOf = (value: number) => bitsOfFloat(value) & 0x7fffffff;
const signOf = (value: number) => (bitsOfFloat(value) >>> 24) & 0x80;
function e4m3ByBits(value: number): number {
  const [a, sign] = [magnitudeOf(value), signOf(value)];
  if (a > 0x7f800000) return sign | 0x7f;
  if (a >= 0x43e00000) return sign | 0x7e;
  if (a < 0x3c800000) return sign | (bitsOfFloat(fround(floatOfBits(a) + 16384)) - 0x46800000);
  return sign | (((a + 0x7ffff + ((a >> 20) & 1)) >> 20) - 960);
}
function e5m2ByBits(value: number): number {
  const [a, sign] = [magnitudeOf(value), signOf(value)];
  if (a > 0x7f800000) return sign | 0x7f;
  if (a >= 0x47600000) return sign | 0x7b;
  if (a < 0x38800000) return sign | (bitsOfFloat(fround(floatOfBits(a) + 128)) - 0x43000000);
  return sign | (((a + 0xfffff + ((a >> 21) & 1)) >> 21) - 448);
}

interface Format {
  name: string;
  encode: (value: number, overflow?: "saturate" | "format") => number;
  byBits: (value: number) => number;
  values: Float32Array;
  vectors: [number, number][];
  largestCode: number;
}
const FORMATS: Format[] = [
  {
    name: "encodeE4m3()",
    encode: encodeE4m3,
    byBits: e4m3ByBits,
    values: E4M3_VALUES,
    vectors: E4M3_VECTORS,
    largestCode: 0x7e,
  },
  {
    name: "encodeE5m2()",
    encode: encodeE5m2,
    byBits: e5m2ByBits,
    values: E5M2_VALUES,
    vectors: E5M2_VECTORS,
    largestCode: 0x7b,
  },
];

for (const { name, encode, byBits, values, vectors, largestCode } of FORMATS) {
  describe(name, () => {
    test(`${name} gives the codes of model.md`, () => {
      for (const [value, code] of vectors) assert.equal(encode(value), code, `${value}`);
    });

    test(`${name} inverts every finite code`, () => {
      for (let code = 0; code < 256; code++) {
        if (Number.isFinite(values[code])) assert.equal(encode(values[code]!), code);
      }
    });

    test(`${name} sends each midpoint to the even code, its neighbours to the nearest`, () => {
      for (let code = 0; code < largestCode; code++) {
        const midpoint = (values[code]! + values[code + 1]!) / 2;
        const even = code % 2 === 0 ? code : code + 1;
        const expected = [code, even, code + 1];
        assert.deepEqual(
          withNeighbours([midpoint]).map((value) => encode(value)),
          expected,
        );
        const negative = withNeighbours([midpoint]).map((value) => encode(-value));
        assert.deepEqual(
          negative,
          expected.map((positive) => positive | 0x80),
        );
      }
    });

    test(`${name} saturates: beyond the largest, infinities included, the largest`, () => {
      const largest = values[largestCode]!;
      for (const value of [largest, largest * 1.01, largest * 2, 3e38, Infinity]) {
        assert.equal(encode(value), largestCode);
        assert.equal(encode(-value), largestCode | 0x80);
      }
    });

    test(`${name} equals the formula on bits for 260,000 patterns`, () => {
      for (const value of sweep(16411)) {
        if (encode(value) !== byBits(value)) assert.equal(encode(value), byBits(value), `${value}`);
      }
    });

    test(`${name} keeps the sign of a NaN`, () => {
      for (const overflow of ["saturate", "format"] as const) {
        assert.equal(encode(floatOfBits(0x7fc00000), overflow), 0x7f);
        assert.equal(encode(floatOfBits(0xffc00000), overflow), 0xff);
      }
    });
  });
}

test("encodeE4m3() not saturating gives NaN above 464, the tie of 448", () => {
  const codes = [448, 464, 464.01, 1e9, Infinity, -465].map((value) => encodeE4m3(value, "format"));
  assert.deepEqual(codes, [0x7e, 0x7e, 0x7f, 0x7f, 0x7f, 0xff]);
});

test("encodeE5m2() not saturating gives infinity from 61440 up", () => {
  const codes = [57344, 61439, 61440, 1e9, Infinity, -61440].map((value) => encodeE5m2(value, "format"));
  assert.deepEqual(codes, [0x7b, 0x7b, 0x7c, 0x7c, 0x7c, 0xfc]);
});

test("E4M3_VALUES holds the values of model.md, NaN for 0x7F and 0xFF only", () => {
  for (const [code, value] of E4M3_DECODED) assert.ok(Object.is(E4M3_VALUES[code], value), `code ${code}`);
  const odd = [...E4M3_VALUES.keys()].filter((code) => !Number.isFinite(E4M3_VALUES[code]));
  assert.deepEqual(odd, [0x7f, 0xff]);
  assert.equal(Math.max(...E4M3_VALUES.filter(Number.isFinite)), E4M3_MAX);
});

test("encodeUe8m0Ceil() gives the codes of model.md and inverts every code", () => {
  for (const [value, code] of UE8M0_VECTORS) assert.equal(encodeUe8m0Ceil(value), code, `${value}`);
  for (const [code, value] of UE8M0_VALUES.entries()) assert.equal(encodeUe8m0Ceil(value), code);
});

test("encodeUe8m0Ceil() never goes below its input, up to 2^127", () => {
  for (const value of sweep(100003)) {
    if (!(value > 0) || value > 2 ** 127) continue;
    const code = encodeUe8m0Ceil(value);
    assert.ok(UE8M0_VALUES[code]! >= value && (code === 0 || UE8M0_VALUES[code - 1]! < value), `${value}`);
    if (value >= 2 ** -126) assert.equal(code, Math.min((bitsOfFloat(value) + 0x7fffff) >>> 23, 254));
  }
  assert.deepEqual([0, -0, 1e-45, 3.4e38, Infinity].map(encodeUe8m0Ceil), [0, 0, 0, 254, 254]);
});
