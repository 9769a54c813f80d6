/** firstNonFinite() and firstDifference(): every length, every position, guards that would be found. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kernels } from "../../src/kernels/kernels.ts";
import { type FloatDtype, floatSize } from "../../src/tensor/dtype.ts";
import { codesOf, makeBand, randomFrom } from "./band-data.ts";
import { HeapLayout, type Place } from "./heap-layout.ts";
import { WIDTHS } from "./merge.case.ts";

const LENGTHS = [...WIDTHS.filter((length) => length < 1000), 2, 7, 8, 9, 31, 32, 33];
// The least and the largest bits that are not finite, both signs, and the bits just below.
const LIMITS: Record<FloatDtype, { bad: number[]; good: number[] }> = {
  F32: { bad: [0x7f800000, 0xff800000, 0x7f800001, 0xffffffff], good: [0x7f7fffff, 0xff7fffff] },
  BF16: { bad: [0x7f80, 0xff80, 0x7f81, 0xffff], good: [0x7f7f, 0xff7f] },
  F16: { bad: [0x7c00, 0xfc00, 0x7c01, 0xffff], good: [0x7bff, 0xfbff] },
  F8_E4M3: { bad: [0x7f, 0xff], good: [0x7e, 0xfe] },
  F8_E5M2: { bad: [0x7c, 0xfc, 0x7d, 0xff], good: [0x7b, 0xfb] },
};
const DTYPES = Object.keys(LIMITS) as FloatDtype[];

function finiteCodes(dtype: FloatDtype, count: number): ReturnType<typeof codesOf> {
  const inputs = [{ dtype, values: "any" as const, weight: 1 }];
  const shape = { rows: 1, cols: count, blockCols: 128, output: "F32", powerOfTwo: false } as const;
  return codesOf(dtype, makeBand({ ...shape, inputs, seed: count }).inputs[0]!.bytes);
}

export function scanSuite(name: string, create: (heapBytes: number) => Kernels): void {
  const kernels = create(1 << 17);

  function firstNonFinite(dtype: FloatDtype, codes: ReturnType<typeof codesOf>, place: Place = {}): number {
    const layout = new HeapLayout(kernels, place);
    const from = layout.place(new Uint8Array(codes.buffer), floatSize(dtype));
    return layout.guarded(() => kernels.firstNonFinite(dtype, from, codes.length));
  }

  function firstDifference(a: Uint8Array, b: Uint8Array, place: Place = {}): number {
    const layout = new HeapLayout(kernels, place);
    // Unequal bytes on either side must not count.
    const [x, y] = [layout.place(a, 1), layout.place(b, 1)];
    layout.bytes[x - 1] = 1;
    if (place.last !== 0) layout.bytes[x + a.length] = 1;
    return layout.guarded(() => kernels.firstDifference(x, y, a.length));
  }

  describe(`scans on ${name}`, () => {
    for (const dtype of DTYPES) {
      test(`firstNonFinite() on ${name} finds the first of ${dtype} at every position`, () => {
        const { bad, good } = LIMITS[dtype];
        for (const length of LENGTHS) {
          for (const place of [{}, { last: 0 }]) {
            const codes = finiteCodes(dtype, length);
            assert.equal(firstNonFinite(dtype, codes, place), -1, `${length} finite`);
            for (let index = 0; index < length; index++) {
              const code = codes[index]!;
              codes[index] = good[index % good.length]!;
              assert.equal(firstNonFinite(dtype, codes, place), -1, `largest at ${index} of ${length}`);
              codes[index] = bad[(index + length) % bad.length]!;
              assert.equal(firstNonFinite(dtype, codes, place), index, `of ${length}`);
              codes[index] = code;
            }
          }
        }
      });

      test(`firstNonFinite() on ${name} takes the first of two of ${dtype}`, () => {
        const { bad } = LIMITS[dtype];
        const codes = finiteCodes(dtype, 100);
        for (const [first, second] of [
          [3, 2],
          [17, 18],
          [40, 99],
          [98, 99],
        ] as const) {
          const both = codes.slice();
          both[first] = both[second] = bad[0]!;
          assert.equal(firstNonFinite(dtype, both), Math.min(first, second));
        }
      });
    }

    test(`firstDifference() on ${name} finds the first byte at every position`, () => {
      for (const length of LENGTHS) {
        for (const place of [{}, { last: 0 }, { last: 1 }]) {
          const random = randomFrom(length);
          const a = Uint8Array.from({ length }, () => random(256));
          assert.equal(firstDifference(a, a.slice(), place), -1, `${length} equal bytes`);
          for (let index = 0; index < length; index++) {
            const b = a.slice();
            b[index]! ^= 1 << random(8);
            b[length - 1]! ^= index < length - 1 ? 0x80 : 0;
            assert.equal(firstDifference(a, b, place), index, `of ${length}`);
          }
        }
      }
    });
  });
}
