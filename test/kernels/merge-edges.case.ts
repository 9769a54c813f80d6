/** mergeBand() where rounding, zeros, limits and values that are not finite decide. Literal expectations. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kernels } from "../../src/kernels/kernels.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import { floatSize } from "../../src/tensor/dtype.ts";
import { bitsOfFloat, floatOfBits } from "../tensor/golden.ts";
import { type BandData, codesOf, makeBand, type OperandData } from "./band-data.ts";
import { checkMerge, runMerge } from "./run-band.ts";

const ZERO_BLOCK_SCALE = 0x2720d7c5; // 1e-12 / 448

function codes(list: readonly number[], weight: number, scales?: readonly number[]): OperandData {
  const operand: OperandData = { dtype: "F8_E4M3", bytes: Uint8Array.from(list), weight };
  return scales ? { ...operand, scales: Float32Array.from(scales) } : operand;
}

function floats(list: readonly number[], weight = 1): OperandData {
  return { dtype: "F32", bytes: new Uint8Array(Float32Array.from(list).buffer), weight };
}

/** One row, one block. */
function line(inputs: OperandData[], output: BandData["output"] = "F8_E4M3"): BandData {
  const cols = inputs[0]!.bytes.length / floatSize(inputs[0]!.dtype);
  return { rows: 1, cols, blockCols: cols, inputs, output, powerOfTwo: false };
}

const floatsOf = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];
const filled = (code: number) => Array<number>(21).fill(code); // a vector of 16, one of 4, and one

export function mergeEdgeSuite(name: string, create: (heapBytes: number) => Kernels): void {
  const kernels = create(1 << 20);
  const merge = (data: BandData) => runMerge(kernels, data);

  describe(`mergeBand() on ${name}, edges`, () => {
    test(`mergeBand() on ${name} quantises the blocks of model.md 12.1`, () => {
      const blocks = { cols: 3, blockCols: 2, output: "F8_E4M3", powerOfTwo: false } as const;
      const upper = merge({ ...blocks, rows: 2, inputs: [floats([1, -2, 0.5, 3, 4, -0.25])] });
      assert.deepEqual([...upper.scales], [0x3c124925, 0x3a924925]);
      assert.deepEqual([...upper.codes], [0x6e, 0xf6, 0x7e, 0x7a, 0x7e, 0xf6]);
      const lower = merge({ ...blocks, rows: 1, inputs: [floats([0.1, -0.2, 0])] });
      assert.deepEqual([...lower.scales], [0x39ea0ea1, ZERO_BLOCK_SCALE]);
      assert.deepEqual([...lower.codes], [0x76, 0xfe, 0x00]);
    });

    // (v[c] + v[c+1]) / 2 for every c, with 448 among them so that the new scale is exactly 1.
    const below = Array.from({ length: 0x7e }, (_, c) => c);
    const a = [0x7e, ...below, ...below.map((c) => c | 0x80)];
    const b = [0x7e, ...below.map((c) => c + 1), ...below.map((c) => (c + 1) | 0x80)];
    const even = below.map((c) => (c % 2 === 0 ? c : c + 1));
    const expected = [0x7e, ...even, ...even.map((c) => c | 0x80)];
    const zero = a.map(() => 0x00);
    const ties: [string, OperandData[]][] = [
      ["two parents", [codes(a, 0.5, [1]), codes(b, 0.5, [1])]],
      ["two parents, λ not a power of two", [codes(a, 0.75, [2 / 3]), codes(b, 0.5, [1])]],
      ["two parents, scale 512", [codes(a, 0.5, [512]), codes(b, 0.5, [512])]],
      ["three parents", [codes(a, 0.5, [1]), codes(b, 0.5, [1]), codes(zero, 1, [1])]],
      ["three parents, λ = 3", [codes(a, 0.5, [1]), codes(b, 0.5, [1]), codes(zero, 3, [1])]],
      ["a parent without scales", [codes(a, 0.5), codes(b, 0.5, [1])]],
    ];
    for (const [what, inputs] of ties) {
      test(`mergeBand() on ${name} sends every midpoint to the even code: ${what}`, () => {
        const data = line(inputs);
        checkMerge(kernels, data, what);
        if (!what.includes("not a power")) assert.deepEqual([...merge(data).codes], expected);
      });
    }

    test(`mergeBand() on ${name} keeps -0 from the first parent and adds zeros as IEEE does`, () => {
      // The columns: -0 and -0, -0 and +0, +0 and -0, +0 and +0.
      const pair = [
        [0x80, 0x80, 0, 0],
        [0x80, 0, 0x80, 0],
      ] as const;
      const wide = (list: readonly number[]) => Array.from({ length: 21 }, (_, i) => list[i % 4]!);
      const [first, second] = pair.map(wide) as [number[], number[]];
      for (const weights of [
        [0.5, 0.5],
        [0.7, 0.3],
        [0.5, 0.5, 1],
      ]) {
        const lists = [first, second, first].slice(0, weights.length);
        const inputs = lists.map((list, i) => codes(list, weights[i]!, [1]));
        assert.deepEqual([...merge(line(inputs)).codes], wide([0x80, 0, 0, 0]), `λ ${weights}`);
        const sums = floatsOf(merge(line(inputs, "F32")).codes);
        assert.deepEqual(sums, wide([-0, 0, 0, 0]), `λ ${weights}, F32`);
      }
      assert.deepEqual([...merge(line([codes(first, 1, [1])])).codes], first);
      assert.deepEqual([...merge(line([codes(filled(0), -0.25, [1])])).codes], filled(0x80));
      assert.deepEqual([...merge(line([codes(filled(0), -0.7, [300])])).codes], filled(0x80));
    });

    test(`mergeBand() on ${name} gives a block below 1e-12 the scale 1e-12 / 448`, () => {
      const tiny = [0, 1e-13, -9.9e-13, 1e-40, -1e-45];
      const { codes: bytes, scales } = merge(line([floats(tiny)]));
      assert.deepEqual([...scales], [ZERO_BLOCK_SCALE]);
      assert.deepEqual([...bytes], [0x00, 0x63, 0xfe, 0x00, 0x80]);
      assert.deepEqual(
        [...merge(line([floats([1.1e-12])])).scales],
        [bitsOfFloat(Math.fround(1.1e-12) / 448)],
      );
      const zeros = [codes(filled(0x80), 0.5, [1e-40]), codes(filled(0), 0.5, [100])];
      assert.deepEqual([...merge(line(zeros)).scales], [ZERO_BLOCK_SCALE]);
      const cancelled = [codes(filled(0x7e), 1, [2]), codes(filled(0x7e), -1, [2])];
      assert.deepEqual([...merge(line(cancelled)).codes], filled(0));
    });

    test(`mergeBand() on ${name} rounds to float32 after each step, subnormal steps included`, () => {
      // 3 · 2^-149 · 0.5 is a tie between 1 and 2 steps; doubled again it shows what was rounded first.
      const data = line(
        [codes(filled(0x44), 0.5, [2 ** -149]), codes(filled(0x44), 0.5, [2 ** -149])],
        "F32",
      );
      assert.deepEqual(floatsOf(merge(data).codes), Array(21).fill(4 * 2 ** -149));
    });

    // Each is a product that λ folded into the scale would give otherwise: one rounding in place of two,
    // seen in the sign of a sum with +0, or an overflow on the way.
    const unfoldable: [what: string, code: number, scale: number, weight: number, expected: number][] = [
      ["1.25 · 2^-149 rounds to 2^-149, and its half to 0", 0x85, 2 ** -142, 0.5, 0x00],
      ["v · s rounds to 2^-1, and 2^-149 of it to 0", 0xb9, Math.fround(8 / 9) / 2, 2 ** -149, 0x00],
      ["λ = 4 at a scale of 100", 0xb8, 100, 4, 0xfe],
      ["λ = 2^20 at a scale of 100", 0xb8, 100, 2 ** 20, 0xfe],
    ];
    for (const [what, code, scale, weight, expected] of unfoldable) {
      test(`mergeBand() on ${name} rounds twice: ${what}`, () => {
        const first = codes(filled(code), weight, [scale]);
        const zero = codes(filled(0x00), 0.5, [1]);
        for (const inputs of [
          [first, zero],
          [first, zero, zero],
        ]) {
          assert.ok(checkMerge(kernels, line(inputs), what));
          assert.deepEqual([...merge(line(inputs)).codes], filled(expected));
        }
      });
    }

    test(`mergeBand() on ${name} keeps blocks apart at scales of 2^7, 2^8 and 1e30`, () => {
      for (const scale of [127.99999, 128, 255.99998, 256, 257, 1e30]) {
        for (const weights of [[0.5, 0.5], [1], [0.7, 0.2, 0.1]]) {
          const inputs = weights.map((weight) => codes([...below, 0x7e, 0xfe], weight, [scale, 1, 1e-40]));
          const data = { ...line(inputs), blockCols: 50 };
          assert.ok(checkMerge(kernels, data, `scale ${scale}, λ ${weights}`));
        }
      }
    });

    // What is not finite, in every format.
    const BAD: Record<FloatDtype, number[]> = {
      F32: [0x7f800000, 0xff800000, 0x7f800001, 0xffc00000],
      BF16: [0x7f80, 0xff80, 0x7f81, 0xffff],
      F16: [0x7c00, 0xfc00, 0x7c01, 0xffff],
      F8_E4M3: [0x7f, 0xff],
      F8_E5M2: [0x7c, 0xfc, 0x7d, 0xff],
    };
    test(`mergeBand() on ${name} is false for any one element of a parent that is not finite`, () => {
      const shapes: FloatDtype[][] = [
        ...(["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"] as const).map((dtype) => [dtype]),
        ["F8_E4M3", "F8_E4M3"],
        ["F8_E4M3", "F8_E4M3", "F8_E4M3"],
        ["F8_E4M3", "BF16"],
      ];
      for (const dtypes of shapes) {
        for (const output of ["F32", "BF16", "F16", "F8_E4M3"] as const) {
          const inputs = dtypes.map((dtype) => {
            const scales = dtype.startsWith("F8") ? ("normal" as const) : undefined;
            return { dtype, scales, values: "subnormal" as const, weight: 0.5 };
          });
          const spec = { rows: 2, cols: 53, blockCols: 32, inputs, output, powerOfTwo: false, seed: 5 };
          for (const [index, dtype] of dtypes.entries()) {
            for (const [step, position] of [0, 15, 16, 31, 35, 51, 52, 53, 105].entries()) {
              const data = makeBand(spec);
              const code = BAD[dtype][step % BAD[dtype].length]!;
              assert.ok(merge(data).ok);
              codesOf(dtype, data.inputs[index]!.bytes)[position] = code;
              assert.equal(
                merge(data).ok,
                false,
                `${dtypes} -> ${output}: ${code} at ${position} of ${index}`,
              );
            }
          }
        }
      }
    });

    test(`mergeBand() on ${name} is false where a result overflows, and only there`, () => {
      const limits: [BandData["output"], finite: number, overflows: number][] = [
        ["F32", 3.4028234663852886e38, Infinity],
        ["BF16", floatOfBits(0x7f7f7fff), floatOfBits(0x7f7f8000)], // the tie goes to infinity
        ["F16", 65519.99609375, 65520],
        ["F8_E4M3", 3.4028234663852886e38, Infinity],
      ];
      for (const [output, finite, overflows] of limits) {
        for (const cols of [1, 4, 21]) {
          const rest = Array<number>(cols - 1).fill(1);
          for (const sign of [1, -1]) {
            assert.ok(merge(line([floats([...rest, sign * finite])], output)).ok, `${output} ${finite}`);
            assert.ok(
              !merge(line([floats([...rest, sign * overflows])], output)).ok,
              `${output} ${overflows}`,
            );
          }
        }
      }
      const large = codes(filled(0x7e), 1, [5e35]);
      assert.ok(merge(line([large])).ok);
      assert.ok(!merge(line([large, { ...large, weight: 1 }])).ok, "sum of two parents");
      assert.ok(!merge(line([large, large, { ...large, weight: -1 }])).ok, "sum on the way");
      assert.ok(!merge(line([codes(filled(0x7e), 0.5, [1e36])])).ok, "product before λ");
    });
  });
}
