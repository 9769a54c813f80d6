/** widen(), narrow() and the UE8M0 pair: golden codes, every code, every midpoint, every length. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kernels } from "../../src/kernels/kernels.ts";
import { type FloatDtype, floatSize } from "../../src/tensor/dtype.ts";
import { encodeE4m3, encodeE5m2, encodeUe8m0Ceil, UE8M0_VALUES } from "../../src/tensor/float8.ts";
import { encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import {
  assertSameFloats,
  floatOfBits,
  goldenBytes,
  goldenFloats,
  goldenWords,
  sweep,
  withNeighbours,
} from "../tensor/golden.ts";
import { codesOf, makeBand, randomFrom } from "./band-data.ts";
import { decodeAll } from "./definition.ts";
import { HeapLayout, type Place } from "./heap-layout.ts";
import { WIDTHS } from "./merge.case.ts";

type Narrow = Exclude<FloatDtype, "F32">;
const ENCODE: Record<Narrow, (value: number, overflow: "saturate" | "format") => number> = {
  BF16: encodeBf16,
  F16: encodeF16,
  F8_E4M3: encodeE4m3,
  F8_E5M2: encodeE5m2,
};
const NARROW = Object.keys(ENCODE) as Narrow[];
const INFINITY: Record<Narrow, number> = { BF16: 0x7f80, F16: 0x7c00, F8_E4M3: 0x7f, F8_E5M2: 0x7c };

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);
const allCodes = (dtype: Narrow) =>
  floatSize(dtype) === 2
    ? bytesOf(Uint16Array.from({ length: 65536 }, (_, i) => i))
    : Uint8Array.from({ length: 256 }, (_, i) => i);

function isNan(dtype: Narrow, code: number): boolean {
  const magnitude = code & (floatSize(dtype) === 1 ? 0x7f : 0x7fff);
  return dtype === "F8_E4M3" ? magnitude === 0x7f : magnitude > INFINITY[dtype];
}

/** Largest finite code is one below infinity; the value one step above it is where infinity begins. */
function midpoints(dtype: Narrow): Float32Array {
  const values = decodeAll(dtype, allCodes(dtype)).subarray(0, INFINITY[dtype]);
  const middles = [...values].slice(1).map((value, i) => values[i]! + (value - values[i]!) / 2);
  const positive = withNeighbours(middles);
  return Float32Array.from([...positive, ...positive.map((value) => -value)]);
}

export function codecSuite(name: string, create: (heapBytes: number) => Kernels): void {
  const kernels = create(8 << 20);

  /** Puts `input` on the heap, converts, and returns what was written. */
  function convert(
    input: Uint8Array,
    align: [from: number, to: number],
    outLength: number,
    { action, ...place }: Place & { action: (from: number, to: number) => void },
  ): Uint8Array {
    const layout = new HeapLayout(kernels, place);
    const from = layout.place(input, align[0]);
    const to = layout.allocate(outLength, align[1]);
    layout.mayWrite(to, outLength);
    layout.guarded(() => action(from, to));
    return layout.bytes.slice(to, to + outLength);
  }

  function widen(dtype: FloatDtype, bytes: Uint8Array, place: Place = {}): Float32Array {
    const size = floatSize(dtype);
    const count = bytes.length / size;
    const action = (from: number, to: number) => kernels.widen(dtype, from, to, count);
    return new Float32Array(convert(bytes, [size, 4], 4 * count, { ...place, action }).buffer);
  }

  function narrow(
    dtype: FloatDtype,
    values: Float32Array,
    saturate?: boolean,
    place: Place = {},
  ): Uint8Array {
    const size = floatSize(dtype);
    const action = (from: number, to: number) => kernels.narrow(dtype, from, to, values.length, saturate);
    return convert(bytesOf(values), [4, size], size * values.length, { ...place, action });
  }

  function widenUe8m0(codes: Uint8Array, place: Place = {}): Float32Array {
    const action = (from: number, to: number) => kernels.widenUe8m0(from, to, codes.length);
    return new Float32Array(convert(codes, [1, 4], 4 * codes.length, { ...place, action }).buffer);
  }

  function narrowUe8m0(values: Float32Array, place: Place = {}): Uint8Array {
    const action = (from: number, to: number) => kernels.narrowUe8m0(from, to, values.length);
    return convert(bytesOf(values), [4, 1], values.length, { ...place, action });
  }

  /** Codes equal; where the input is NaN any NaN, but in FP8 of the same sign. */
  function assertCodes(
    dtype: Narrow,
    actual: Uint8Array,
    expected: ArrayLike<number>,
    inputs: Float32Array,
  ): void {
    const codes = codesOf(dtype, actual);
    const bits = new Uint32Array(inputs.buffer, inputs.byteOffset, inputs.length);
    assert.equal(codes.length, expected.length);
    for (let i = 0; i < codes.length; i++) {
      const code = codes[i]!;
      if (Number.isNaN(inputs[i])) {
        assert.ok(isNan(dtype, code), `${dtype} of NaN is ${code}`);
        if (floatSize(dtype) === 1) assert.equal(code >>> 7, bits[i]! >>> 31, `sign of NaN, ${dtype}`);
      } else if (code !== expected[i]) {
        assert.equal(code, expected[i], `${dtype} of ${inputs[i]} (element ${i})`);
      }
    }
  }

  describe(`conversions on ${name}`, () => {
    test(`widen() and narrow() on ${name} give the golden values and codes`, () => {
      const bytes256 = Uint8Array.from({ length: 256 }, (_, i) => i);
      assertSameFloats(widen("F8_E4M3", bytes256), goldenFloats("e4m3.decode"), "E4M3");
      assertSameFloats(widen("F8_E5M2", bytes256), goldenFloats("e5m2.decode"), "E5M2");
      assertSameFloats(widenUe8m0(bytes256), goldenFloats("ue8m0.decode"), "UE8M0");
      const halves = bytesOf(goldenWords("f16.decode.codes"));
      assertSameFloats(widen("F16", halves), goldenFloats("f16.decode.output"), "F16");

      const e4m3 = goldenFloats("e4m3.encode.input");
      assertCodes("F8_E4M3", narrow("F8_E4M3", e4m3), goldenBytes("e4m3.encode.saturating"), e4m3);
      assertCodes("F8_E4M3", narrow("F8_E4M3", e4m3, false), goldenBytes("e4m3.encode.nonsaturating"), e4m3);
      const e5m2 = goldenFloats("e5m2.encode.input");
      assertCodes("F8_E5M2", narrow("F8_E5M2", e5m2, true), goldenBytes("e5m2.encode.saturating"), e5m2);
      assertCodes("F8_E5M2", narrow("F8_E5M2", e5m2, false), goldenBytes("e5m2.encode.ieee"), e5m2);
      const bf16 = goldenFloats("bf16.encode.input");
      assertCodes("BF16", narrow("BF16", bf16), goldenWords("bf16.encode.output"), bf16);
      const f16 = goldenFloats("f16.encode.input");
      assertCodes("F16", narrow("F16", f16), goldenWords("f16.encode.output"), f16);
      const ue8m0 = narrowUe8m0(goldenFloats("ue8m0.ceil.input"));
      assert.deepEqual(ue8m0, goldenBytes("ue8m0.ceil.output"));
    });

    for (const dtype of NARROW) {
      test(`widen() on ${name} decodes every ${dtype} code, and narrow() inverts it`, () => {
        const codes = allCodes(dtype);
        const values = widen(dtype, codes);
        assertSameFloats(values, decodeAll(dtype, codes), dtype);
        assertCodes(dtype, narrow(dtype, values, false), codesOf(dtype, codes), values);
      });

      test(`narrow() on ${name} rounds ${dtype} midpoints and their neighbours as the reference`, () => {
        const inputs = midpoints(dtype);
        for (const [saturate, overflow] of [
          [true, "saturate"],
          [false, "format"],
        ] as const) {
          const expected = Array.from(inputs, (value) => ENCODE[dtype](value, overflow));
          assertCodes(dtype, narrow(dtype, inputs, saturate), expected, inputs);
        }
      });

      test(`narrow() on ${name} to ${dtype} equals the reference for 262,000 patterns`, () => {
        const inputs = sweep(16411);
        for (const [saturate, overflow] of [
          [true, "saturate"],
          [false, "format"],
        ] as const) {
          const expected = Array.from(inputs, (value) => ENCODE[dtype](value, overflow));
          assertCodes(dtype, narrow(dtype, inputs, saturate), expected, inputs);
        }
      });
    }

    test(`widenUe8m0() and narrowUe8m0() on ${name} agree with the reference on positive input`, () => {
      const codes = Uint8Array.from({ length: 256 }, (_, i) => i);
      assertSameFloats(widenUe8m0(codes), UE8M0_VALUES, "UE8M0");
      const special = [
        0,
        1e-45,
        floatOfBits(0x400000),
        floatOfBits(0x400001),
        2 ** 127,
        3.4e38,
        Infinity,
        NaN,
      ];
      const inputs = Float32Array.from([...special, ...sweep(200_003).filter((value) => value > 0)]);
      assert.deepEqual(narrowUe8m0(inputs), Uint8Array.from(inputs, encodeUe8m0Ceil));
    });

    test(`conversions on ${name}: every length, from and to the end of the heap`, () => {
      for (const count of [...WIDTHS, 2, 7, 8, 9, 31, 33]) {
        for (const place of [{}, { last: 0 }, { last: 1 }]) {
          for (const dtype of ["F32", ...NARROW] as const) {
            const inputs = [{ dtype, values: "any" as const, weight: 1 }];
            const shape = { rows: 1, cols: count, blockCols: 128, output: "F32", powerOfTwo: false } as const;
            const { bytes } = makeBand({ ...shape, inputs, seed: count }).inputs[0]!;
            const values = decodeAll(dtype, bytes);
            assertSameFloats(widen(dtype, bytes, place), values, `${count} × ${dtype}`);
            assert.deepEqual(narrow(dtype, values, true, place), bytes);
          }
          const random = randomFrom(count);
          const codes = Uint8Array.from({ length: count }, () => random(255));
          const scales = widenUe8m0(codes, place);
          assertSameFloats(
            scales,
            Float32Array.from(codes, (code) => UE8M0_VALUES[code]!),
            `${count} × UE8M0`,
          );
          assert.deepEqual(narrowUe8m0(scales, place), codes);
        }
      }
    });
  });
}
