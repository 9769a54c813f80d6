import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import { bitsOfFloat, floatOfBits, sweep, withNeighbours } from "./golden.ts";

interface Format {
  name: string;
  decode: (code: number) => number;
  encode: (value: number) => number;
  infinity: number;
  /** Value of a code, by another way than the code under test. */
  value: (code: number) => number;
}

const FORMATS: Format[] = [
  {
    name: "Bf16",
    decode: decodeBf16,
    encode: encodeBf16,
    infinity: 0x7f80,
    value: (code) => floatOfBits(code * 65536),
  },
  {
    name: "F16",
    decode: decodeF16,
    encode: encodeF16,
    infinity: 0x7c00,
    // In a float32 with the same fields the exponent stands 112 too low, subnormals included.
    value: (code) => floatOfBits((code & 0x7fff) << 13) * 2 ** 112 * (code >> 15 ? -1 : 1),
  },
];

for (const { name, decode, encode, infinity, value } of FORMATS) {
  const isNan = (code: number) => (code & 0x7fff) > infinity;

  describe(name, () => {
    test(`decode${name}() is right for all 65,536 codes`, () => {
      for (let code = 0; code < 65536; code++) {
        const magnitude = code & 0x7fff;
        let expected = value(code);
        if (magnitude === infinity) expected = code >> 15 ? -Infinity : Infinity;
        if (magnitude > infinity) expected = Number.NaN;
        if (!Object.is(decode(code), expected)) assert.equal(decode(code), expected, `code ${code}`);
      }
    });

    test(`encode${name}() inverts every code that is not NaN`, () => {
      for (let code = 0; code < 65536; code++) {
        if (!isNan(code) && encode(decode(code)) !== code) assert.equal(encode(decode(code)), code);
      }
    });

    test(`encode${name}() sends each midpoint to the even code, its neighbours to the nearest`, () => {
      for (let code = 0; code < infinity; code++) {
        // One step beyond the largest stands for infinity, as IEEE 754 has it.
        const [low, high] = [decode(code), code + 1 === infinity ? value(code + 1) : decode(code + 1)];
        const midpoint =
          name === "Bf16" && code + 1 === infinity ? floatOfBits(0x7f7f8000) : (low + high) / 2;
        const expected = [code, code % 2 === 0 ? code : code + 1, code + 1];
        for (const [i, near] of withNeighbours([midpoint]).entries()) {
          if (encode(near) !== expected[i]) assert.equal(encode(near), expected[i], `${near}`);
          const negative = expected[i]! | 0x8000;
          if (encode(-near) !== negative) assert.equal(encode(-near), negative, `${-near}`);
        }
      }
    });

    test(`encode${name}() keeps a NaN a NaN and its sign, also when only low bits are set`, () => {
      for (const bits of [0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff, 0xff80ffff]) {
        const code = encode(floatOfBits(bits));
        assert.ok(isNan(code), `bits ${bits.toString(16)} became ${code}`);
        assert.equal(code >> 15, bits >>> 31);
      }
    });

    test(`encode${name}() overflows to infinity and flushes nothing that has a code`, () => {
      assert.equal(encode(Infinity), infinity);
      assert.equal(encode(-3.4028234663852886e38), infinity | 0x8000);
      const least = decode(1);
      assert.deepEqual([least, least / 2, -least, 0, -0].map(encode), [1, 0, 0x8001, 0, 0x8000]);
    });
  });
}

test("encodeBf16() equals bits + 0x7FFF + odd, shifted, for 80,000 patterns", () => {
  for (const value of sweep(53_687)) {
    if (Number.isNaN(value)) continue;
    const bits = bitsOfFloat(value);
    assert.equal(encodeBf16(value), (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
});
