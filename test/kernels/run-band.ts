/** Runs a band of data on kernels: lays it out with strides, odd offsets and guards, and reads the result. */
import assert from "node:assert/strict";
import {
  type Band,
  type BandInput,
  type Kernels,
  type Squares,
  scratchBytes,
} from "../../src/kernels/kernels.ts";
import { floatSize } from "../../src/tensor/dtype.ts";
import type { BandData, OperandData } from "./band-data.ts";
import { type MergeResult, mergeByDefinition } from "./definition.ts";
import { HeapLayout, type Place } from "./heap-layout.ts";

// Gaps between rows, in elements: none for some operands, so that rows start on any remainder of 16.
const gapOf = (index: number, cols: number) => [3, 0, 16, 1, 0][(index + cols) % 5]!;

function placeInput(
  layout: HeapLayout,
  { rows, cols }: BandData,
  operand: OperandData,
  index: number,
): BandInput {
  const { dtype, bytes, scales, weight } = operand;
  const size = floatSize(dtype);
  const rowBytes = size * (cols + gapOf(index, cols));
  const data = layout.allocate(spanOf(rows, rowBytes, size * cols), size);
  for (let row = 0; row < rows; row++) {
    layout.bytes.set(bytes.subarray(row * cols * size, (row + 1) * cols * size), data + row * rowBytes);
  }
  const at = scales ? layout.place(new Uint8Array(scales.buffer), 4) : 0;
  return { dtype, data, rowBytes, scales: at, weight };
}

// The last row has no gap behind it: nothing may be read there.
const spanOf = (rows: number, rowBytes: number, used: number) => (rows ? (rows - 1) * rowBytes + used : 0);

function placeScratch(layout: HeapLayout, { cols, blockCols, inputs }: BandData): number {
  const byteLength = scratchBytes(cols, blockCols, inputs.length);
  const scratch = layout.allocate(byteLength, 16);
  layout.mayWrite(scratch, byteLength);
  return scratch;
}

/** mergeBand() on the data; `place.last` counts inputs with their scales, scratch, output, new scales. */
export function runMerge(
  kernels: Kernels,
  data: BandData,
  place: Place = {},
): MergeResult & { allocations: number } {
  const { rows, cols, blockCols, output, powerOfTwo } = data;
  const layout = new HeapLayout(kernels, place);
  const inputs = data.inputs.map((operand, index) => placeInput(layout, data, operand, index));
  const scratch = placeScratch(layout, data);
  const size = floatSize(output);
  const rowBytes = size * (cols + gapOf(inputs.length, cols));
  const out = layout.allocate(spanOf(rows, rowBytes, size * cols), size);
  for (let row = 0; row < rows; row++) layout.mayWrite(out + row * rowBytes, size * cols);
  const scaleBytes = output === "F8_E4M3" && cols > 0 ? 4 * Math.ceil(cols / blockCols) : 0;
  const scales = layout.allocate(scaleBytes, 4);
  layout.mayWrite(scales, scaleBytes);
  const band: Band = {
    ...{ rows, cols, blockCols, inputs, scratch },
    output: { dtype: output, data: out, rowBytes, scales, powerOfTwo },
  };
  const ok = layout.guarded(() => kernels.mergeBand(band));
  const codes = new Uint8Array(rows * cols * size);
  for (let row = 0; row < rows; row++) {
    const at = out + row * rowBytes;
    codes.set(layout.bytes.subarray(at, at + size * cols), row * cols * size);
  }
  const newScales = new Uint32Array(layout.bytes.slice(scales, scales + scaleBytes).buffer);
  return { ok, codes, scales: newScales, allocations: layout.allocations };
}

/** measureBand() of the first two inputs, added to `start`. */
export function runMeasure(kernels: Kernels, data: BandData, start: Squares, place: Place = {}): Squares {
  const { rows, cols, blockCols } = data;
  const layout = new HeapLayout(kernels, place);
  const inputs = data.inputs.map((operand, index) => placeInput(layout, data, operand, index));
  const scratch = placeScratch(layout, data);
  const sums = { ...start };
  layout.guarded(() => kernels.measureBand({ rows, cols, blockCols, inputs, scratch }, sums));
  return sums;
}

/** Fails unless both results are the same, byte for byte. */
export function assertSameResult(actual: MergeResult, expected: MergeResult, what: string): void {
  assert.equal(actual.ok, expected.ok, `finite: ${what}`);
  if (!expected.ok) return;
  for (const part of ["scales", "codes"] as const) {
    const [a, b] = [actual[part], expected[part]];
    if (a.length === b.length && a.every((value, i) => value === b[i])) continue;
    const index = a.findIndex((value, i) => value !== b[i]);
    assert.fail(`${part}[${index}] is ${a[index]}, expected ${b[index]} (${a.length}, ${b.length}): ${what}`);
  }
}

/** Runs the band and holds it to the definition. Returns whether all was finite. */
export function checkMerge(kernels: Kernels, data: BandData, what: string, place: Place = {}): boolean {
  const expected = mergeByDefinition(data);
  assertSameResult(runMerge(kernels, data, place), expected, what);
  return expected.ok;
}
