/** measureBand(): the scalar order of sums bit for bit, and an independent sum within 1e-12. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Kernels, Squares } from "../../src/kernels/kernels.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import { type BandData, makeBand, SCALE_KINDS, VALUE_KINDS } from "./band-data.ts";
import { dequantise } from "./definition.ts";
import { WIDTHS } from "./merge.case.ts";
import { runMeasure } from "./run-band.ts";

const DTYPES: FloatDtype[] = ["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"];

/** Sums in the order that the interface promises: four lanes per row, then the rest, row by row. */
function inOrder(data: BandData, start: Squares): Squares {
  const { rows, cols } = data;
  const [base, other] = data.inputs.map((input) => dequantise(data, input)) as [Float32Array, Float32Array];
  const sums = { ...start };
  const whole = cols - (cols % 4);
  for (let row = 0; row < rows; row++) {
    const rowSum = (square: (i: number) => number) => {
      const lanes = [0, 0, 0, 0];
      for (let col = 0; col < whole; col++) lanes[col % 4]! += square(row * cols + col);
      let sum = lanes[0]! + lanes[1]! + (lanes[2]! + lanes[3]!);
      for (let col = whole; col < cols; col++) sum += square(row * cols + col);
      return sum;
    };
    sums.difference += rowSum((i) => (other[i]! - base[i]!) ** 2);
    sums.base += rowSum((i) => base[i]! ** 2);
  }
  return sums;
}

/** The same sums without an order: Neumaier's, whose error does not grow with the number of terms. */
function exact(data: BandData): Squares {
  const [base, other] = data.inputs.map((input) => dequantise(data, input)) as [Float32Array, Float32Array];
  const sum = (term: (i: number) => number) => {
    let [total, lost] = [0, 0];
    for (let i = 0; i < base.length; i++) {
      const x = term(i);
      const next = total + x;
      lost += Math.abs(total) >= Math.abs(x) ? total - next + x : x - next + total;
      total = next;
    }
    return total + lost;
  };
  return { difference: sum((i) => (other[i]! - base[i]!) ** 2), base: sum((i) => base[i]! ** 2) };
}

function assertNear(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= 1e-12 * expected, `${actual}, expected ${expected}: ${what}`);
}

export function measureSuite(name: string, create: (heapBytes: number) => Kernels): void {
  const kernels = create(4 << 20);

  describe(`measureBand() on ${name}`, () => {
    for (const baseDtype of DTYPES) {
      test(`measureBand() on ${name} from ${baseDtype}: bits in order, 1e-12 of the exact sums`, () => {
        let seed = 0;
        for (const otherDtype of DTYPES) {
          for (const cols of [...WIDTHS, 64, 2048]) {
            seed++;
            const rows = [1, 2, 3, 64][seed % 4]!;
            const blockCols = [128, 16, 100, 5, Math.max(1, cols)][seed % 5]!;
            const values = VALUE_KINDS[seed % VALUE_KINDS.length]!;
            const kinds = [undefined, ...SCALE_KINDS];
            const [a, b] = [kinds[seed % kinds.length], kinds[(seed * 3 + 1) % kinds.length]];
            const inputs = [
              { dtype: baseDtype, scales: a, values, weight: 0.5 },
              { dtype: otherDtype, scales: b, values, weight: 0.5 },
            ];
            const spec = { rows, cols, blockCols, inputs, output: "F32", powerOfTwo: false, seed } as const;
            const data = makeBand(spec as typeof spec & { inputs: typeof inputs });
            const what = JSON.stringify(spec);
            const zero = { difference: 0, base: 0 };
            const sums = runMeasure(kernels, data, zero);
            assert.deepEqual(sums, inOrder(data, zero), what);
            const { difference, base } = exact(data);
            if (!Number.isFinite(difference + base)) continue;
            assertNear(sums.difference, difference, what);
            assertNear(sums.base, base, what);
          }
        }
      });
    }

    const twice = { dtype: "F8_E4M3", values: "random", scales: "normal", weight: 1 } as const;
    const spec = { rows: 3, cols: 37, blockCols: 16, output: "F32", powerOfTwo: false, seed: 3 } as const;

    test(`measureBand() on ${name} adds to the sums it is given`, () => {
      const data = makeBand({ ...spec, inputs: [twice, twice] });
      const start = { difference: 1e-3, base: 12345.678 };
      assert.deepEqual(runMeasure(kernels, data, start), inOrder(data, start));
    });

    test(`measureBand() on ${name} gives a difference of 0 for equal bands, -0 and +0 being equal`, () => {
      const data = makeBand({ ...spec, inputs: [twice, twice] });
      data.inputs[1] = { ...data.inputs[0]!, bytes: data.inputs[0]!.bytes.slice() };
      data.inputs[0]!.bytes[5] = 0x80;
      data.inputs[1].bytes[5] = 0x00;
      const { difference, base } = runMeasure(kernels, data, { difference: 0, base: 0 });
      assert.equal(difference, 0);
      assert.ok(base > 0);
    });

    test(`measureBand() on ${name} makes the sums NaN or infinite for a NaN or infinity`, () => {
      for (const [index, code] of [0x7f, 0xff].entries()) {
        const data = makeBand({ ...spec, inputs: [twice, twice] });
        data.inputs[index]!.bytes[36] = code;
        assert.ok(!Number.isFinite(runMeasure(kernels, data, { difference: 0, base: 0 }).difference));
      }
    });

    test(`measureBand() on ${name} reads and writes nothing beyond the end of the heap`, () => {
      for (const [seed, dtype] of DTYPES.entries()) {
        for (const scales of [undefined, "normal"] as const) {
          const input = { dtype, values: "random", scales, weight: 1 } as const;
          const data = makeBand({ ...spec, seed, inputs: [input, input] });
          const zero = { difference: 0, base: 0 };
          for (let last = 0; last < (scales ? 5 : 3); last++) {
            assert.deepEqual(runMeasure(kernels, data, zero, { last }), inOrder(data, zero));
          }
        }
      }
    });
  });
}
