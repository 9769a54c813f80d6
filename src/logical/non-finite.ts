/**
 * What was not finite: after a kernel has said that something in a band is not, this finds the element.
 *
 * Slow and exact: one element after the other, with the roundings of assembly.md section 2.
 */
import { BuildError, type CheckpointError } from "../base/errors.ts";
import type { Band, Kernels } from "../kernels/kernels.ts";
import { notFinite, type Operand } from "./operand.ts";
import { elementIndex, type Piece } from "./pieces.ts";

const { fround } = Math;

/** A band of a piece: `row` is its first row, counted from the piece's. */
interface Where {
  piece: Piece;
  row: number;
  kernels: Kernels;
}

type InputBand = Pick<Band, "rows" | "cols" | "blockCols" | "inputs" | "scratch">;

/** The first element of a parent that is not finite, as it is stored or once it is dequantised. */
export function explainInput(
  operands: readonly Operand[],
  band: InputBand,
  { piece, row, kernels }: Where,
): CheckpointError | undefined {
  for (const [index, operand] of operands.entries()) {
    const { data, rowBytes } = band.inputs[index]!;
    for (let r = 0; r < band.rows; r++) {
      const stored = kernels.firstNonFinite(operand.dtype, data + r * rowBytes, band.cols);
      const values = dequantisedRow(band, { index, row: r, kernels });
      const col = stored >= 0 ? stored : values.findIndex((value) => !Number.isFinite(value));
      if (col < 0) continue;
      const element = elementIndex(operand.shape, linearIndex(piece, row + r, col));
      return notFinite(operand, element, stored >= 0 ? "not finite" : "not finite times its scale");
    }
  }
  return undefined;
}

/** The first result beyond the range of the child's type, where all parents are finite. */
export function explainResult(operands: readonly Operand[], band: Band, where: Where): Error {
  const fault = explainInput(operands, band, where);
  if (fault) return fault;
  const { piece, row, kernels } = where;
  const { dtype } = band.output;
  const [{ name, shape }] = operands as [Operand];
  for (let r = 0; r < band.rows; r++) {
    const rows = operands.map((_, index) => dequantisedRow(band, { index, row: r, kernels }));
    const sums = new Float32Array(band.cols);
    for (const [index, values] of rows.entries()) {
      const weight = fround(band.inputs[index]!.weight);
      for (let col = 0; col < band.cols; col++) {
        const term = fround(weight * values[col]!);
        sums[col] = index === 0 ? term : sums[col]! + term;
      }
    }
    const col = firstBeyond(sums, band, kernels);
    if (col < 0) continue;
    const element = elementIndex(shape, linearIndex(piece, row + r, col));
    const values = rows.map((each, index) => `${each[col]} in "${operands[index]!.owner}"`);
    return new BuildError(
      "not-finite",
      `Cannot merge "${name}": element [${element.join(", ")}] comes to ${sums[col]}, beyond the range of ${dtype}, wanted a finite number`,
      { note: `All parents are finite there (${values.join(", ")}): their values or weights are too large` },
    );
  }
  return new Error(`internal: merging "${name}" failed and every result is finite`);
}

/** One row of one input as float32. Made in the band's scratch, copied out of it. */
function dequantisedRow(
  { inputs, cols, blockCols, scratch }: InputBand,
  { index, row, kernels }: { index: number; row: number; kernels: Kernels },
): Float32Array {
  const { dtype, data, rowBytes, scales } = inputs[index]!;
  const { buffer, byteOffset } = kernels.bytes;
  kernels.widen(dtype, data + row * rowBytes, scratch, cols);
  const values = new Float32Array(buffer, byteOffset + scratch, cols).slice();
  if (scales === 0) return values;
  const scaleOf = new Float32Array(buffer, byteOffset + scales, Math.ceil(cols / blockCols));
  return values.map((value, col) => value * scaleOf[Math.floor(col / blockCols)]!);
}

/** FP8 saturates and has scales of its own: only its sums can leave a range. */
function firstBeyond(sums: Float32Array, { output, scratch }: Band, kernels: Kernels): number {
  if (output.dtype === "F32" || output.dtype === "F8_E4M3")
    return sums.findIndex((sum) => !Number.isFinite(sum));
  new Float32Array(kernels.bytes.buffer, kernels.bytes.byteOffset + scratch, sums.length).set(sums);
  kernels.narrow(output.dtype, scratch, output.data, sums.length);
  return kernels.firstNonFinite(output.dtype, output.data, sums.length);
}

function linearIndex({ row: first, width, col: left }: Piece, row: number, col: number): number {
  return (first + row) * width + left + col;
}
