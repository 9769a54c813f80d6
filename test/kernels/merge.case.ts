/** mergeBand(): one suite for every implementation, held to the definition byte for byte. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type BandOutput, type Kernels, STRIP_ELEMENTS } from "../../src/kernels/kernels.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import {
  type BandData,
  makeBand,
  type OperandSpec,
  randomFrom,
  SCALE_KINDS,
  VALUE_KINDS,
} from "./band-data.ts";
import { checkMerge, runMerge } from "./run-band.ts";

// None, one, each side of a vector of 4 and of 16, each side of a 128 block, and more than one block.
export const WIDTHS: number[] = [0, 1, 3, 4, 5, 15, 16, 17, 127, 128, 129, 1000];
const BLOCKS = [128, 16, 32, 100, 5];
const ROWS = [1, 2, 3];

export const WEIGHTS: number[][] = [
  [0.5],
  [0.7, 0.3],
  [1],
  [-0.25],
  [1.3],
  [1e-30],
  [0.2, 0.5, 0.3],
  [0.25, -0.5, 1, 0.125, 0.0625],
  [0.6, 0.7],
  [2 ** -16, -0.5, 2 ** -17],
  [-2, 3, 1e-42],
  [4, -2, 0.5],
];

type Operands = [dtype: FloatDtype, scaled: boolean][];
const E4M3: Operands[number] = ["F8_E4M3", true];
const E5M2: Operands[number] = ["F8_E5M2", true];
const OPERANDS: Operands[] = [
  [E4M3],
  [E4M3, E4M3],
  [E4M3, E4M3, E4M3],
  [E4M3, E4M3, E4M3, E4M3, E4M3],
  [E5M2, E4M3],
  [
    ["BF16", false],
    ["F16", false],
  ],
  [["F32", false], E4M3, E5M2],
  [["F8_E4M3", false], E4M3],
  [["F8_E5M2", false]],
  [
    ["F32", true],
    ["BF16", true],
    ["F16", true],
  ],
  [["BF16", false], ["BF16", false], ["BF16", false], ["F32", false], E4M3],
];
const OUTPUTS: [BandOutput["dtype"], powerOfTwo: boolean][] = [
  ["F32", false],
  ["BF16", false],
  ["F16", false],
  ["F8_E4M3", false],
  ["F8_E4M3", true],
];

const nameOf = (operands: Operands) =>
  operands.map(([dtype, scaled]) => (scaled ? `${dtype}·s` : dtype)).join(" + ");

let seeds = 0;

function bandOf(
  operands: Operands,
  [output, powerOfTwo]: (typeof OUTPUTS)[number],
  { rows, cols, blockCols }: { rows: number; cols: number; blockCols: number },
): [BandData, string] {
  const seed = ++seeds;
  const random = randomFrom(seed * 7919);
  const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;
  const weights = pick(WEIGHTS);
  // Half the bands keep to ordinary scales and values, so that most results are finite.
  const plain = random(2) === 0;
  const inputs = operands.map(([dtype, scaled], index): OperandSpec => {
    const scales = plain ? "normal" : pick(SCALE_KINDS);
    const values = plain ? "random" : pick(VALUE_KINDS);
    return { dtype, values, scales: scaled ? scales : undefined, weight: weights[index % weights.length]! };
  });
  const spec = { rows, cols, blockCols, inputs, output, powerOfTwo, seed };
  return [makeBand(spec), JSON.stringify(spec)];
}

export function mergeSuite(name: string, create: (heapBytes: number) => Kernels): void {
  const kernels = create(4 << 20);

  describe(`mergeBand() on ${name}`, () => {
    for (const operands of OPERANDS) {
      for (const output of OUTPUTS) {
        const [dtype, powerOfTwo] = output;
        const title = `${nameOf(operands)} -> ${dtype}${powerOfTwo ? ", powers of two" : ""}`;
        test(`mergeBand() on ${name}: ${title}, bytes by definition`, () => {
          let [finite, all] = [0, 0];
          for (const [index, cols] of WIDTHS.entries()) {
            for (const [step, blockCols] of [...BLOCKS, cols].entries()) {
              const rows = ROWS[(index + step) % ROWS.length]!;
              const [data, what] = bandOf(operands, output, { rows, cols, blockCols });
              if (checkMerge(kernels, data, what)) finite++;
              all++;
            }
          }
          assert.ok(finite > all / 2, `${finite} of ${all} bands finite: the suite tests too little`);
        });
      }
    }

    for (const rows of [0, 64, 128]) {
      test(`mergeBand() on ${name}: ${rows} rows, bytes by definition`, () => {
        for (const [index, operands] of OPERANDS.slice(0, 7).entries()) {
          for (const cols of [17, 128, 129, index === 1 ? 1000 : 300]) {
            const output = OUTPUTS[(index + cols) % 2 ? 3 : index % OUTPUTS.length]!;
            checkMerge(kernels, ...bandOf(operands, output, { rows, cols, blockCols: 128 }));
          }
        }
      });
    }

    // Sums of FP8 parents are kept strip by strip: the border within, on and beyond the band; then a block
    // that is larger than a strip.
    for (const [rows, cols, blockCols] of [
      [128, 1023, 128],
      [128, 1024, 128],
      [128, 2081, 128],
      [64, 4100, 96],
      [2, STRIP_ELEMENTS / 2 + 40, STRIP_ELEMENTS / 4],
      [2, STRIP_ELEMENTS / 2 + 40, STRIP_ELEMENTS / 2 + 16],
    ] as const) {
      test(`mergeBand() on ${name}: strips of ${rows}×${cols} in blocks of ${blockCols}, bytes by definition`, () => {
        for (const count of [2, 3]) {
          for (const weight of [0.5, 0.3]) {
            const parent = { dtype: "F8_E4M3", values: "random", scales: "normal", weight } as const;
            const inputs = Array.from({ length: count }, () => parent);
            const spec = { rows, cols, blockCols, inputs, output: "F8_E4M3", powerOfTwo: false } as const;
            assert.ok(checkMerge(kernels, makeBand({ ...spec, seed: ++seeds }), JSON.stringify(spec)));
          }
        }
      });
    }

    test(`mergeBand() on ${name} reads and writes nothing beyond the end of the heap`, () => {
      for (const operands of OPERANDS) {
        for (const output of OUTPUTS) {
          for (const cols of [1, 15, 21, 48]) {
            const [data, what] = bandOf(operands, output, { rows: 2, cols, blockCols: 16 });
            const { allocations } = runMerge(kernels, data);
            for (let last = 0; last < allocations; last++) {
              checkMerge(kernels, data, `allocation ${last} last, ${what}`, { last });
            }
          }
        }
      }
    });
  });
}
