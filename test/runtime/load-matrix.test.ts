/** Finding what is not finite among weights, wherever it stands. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstBad } from "../../src/runtime/load-matrix.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";

/** Type, element size, codes that are finite (the largest of each sign among them), codes that are not. */
const TYPES: [FloatDtype, 1 | 2 | 4, number[], number[]][] = [
  ["F8_E4M3", 1, [0, 0x7e, 0xfe, 0x80, 0x78], [0x7f, 0xff]],
  ["F8_E5M2", 1, [0, 0x7b, 0xfb, 0x80], [0x7c, 0xfc, 0x7d, 0xff]],
  ["BF16", 2, [0, 0x7f7f, 0xff7f, 0x8000], [0x7f80, 0xff80, 0x7fc0, 0xffff]],
  ["F16", 2, [0, 0x7bff, 0xfbff, 0x8000], [0x7c00, 0xfc00, 0x7e00, 0xffff]],
  ["F32", 4, [0, 0x7f7fffff, 0xff7fffff, 0x80000000], [0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff]],
];

for (const [dtype, size, finite, bad] of TYPES) {
  test(`firstBad() of ${dtype} at every place, of every length, at every alignment`, () => {
    for (const offset of [0, size]) {
      for (const count of [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17]) {
        const bytes = new Uint8Array(new ArrayBuffer(offset + count * size + 8), offset, count * size);
        const view = new DataView(bytes.buffer, offset, count * size);
        const set = (i: number, code: number) => {
          if (size === 1) view.setUint8(i, code);
          else if (size === 2) view.setUint16(2 * i, code, true);
          else view.setUint32(4 * i, code, true);
        };
        for (let i = 0; i < count; i++) set(i, finite[i % finite.length]!);
        assert.equal(firstBad(bytes, dtype), -1);
        for (let i = 0; i < count; i++) {
          for (const code of bad) {
            set(i, code);
            assert.equal(firstBad(bytes, dtype), i, `${code.toString(16)} at ${i} of ${count}`);
          }
          set(i, finite[0]!);
        }
      }
    }
  });
}
