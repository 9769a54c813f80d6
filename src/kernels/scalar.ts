/**
 * The kernels in plain TypeScript: the reference that the WASM kernels must equal bit for bit, and the
 * fallback where there is no WASM SIMD. Written from the definitions; Math.fround stands for every
 * rounding to float32.
 */

import type { FloatDtype } from "../tensor/dtype.ts";
import { floatSize } from "../tensor/dtype.ts";
import {
  E4M3_VALUES,
  E5M2_VALUES,
  encodeE4m3,
  encodeE5m2,
  encodeUe8m0Ceil,
  UE8M0_VALUES,
} from "../tensor/float8.ts";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../tensor/float16.ts";
import type { Band, BandInput, Kernels, Squares } from "./kernels.ts";

const { fround } = Math;

export function createScalarKernels(heapBytes: number): Kernels {
  return new ScalarKernels(heapBytes);
}

class ScalarKernels implements Kernels {
  readonly name = "scalar";
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(heapBytes: number) {
    const buffer = new ArrayBuffer(heapBytes);
    this.bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
  }

  /** Element `index` of an array at `from`. */
  #load(dtype: FloatDtype, from: number, index: number): number {
    const at = from + index * floatSize(dtype);
    switch (dtype) {
      case "F32":
        return this.#view.getFloat32(at, true);
      case "BF16":
        return decodeBf16(this.#view.getUint16(at, true));
      case "F16":
        return decodeF16(this.#view.getUint16(at, true));
      case "F8_E4M3":
        return E4M3_VALUES[this.#view.getUint8(at)]!;
      case "F8_E5M2":
        return E5M2_VALUES[this.#view.getUint8(at)]!;
    }
  }

  #store(dtype: FloatDtype, to: number, index: number, value: number, saturate: boolean): void {
    const at = to + index * floatSize(dtype);
    const overflow = saturate ? "saturate" : "format";
    switch (dtype) {
      case "F32":
        this.#view.setFloat32(at, value, true);
        break;
      case "BF16":
        this.#view.setUint16(at, encodeBf16(value), true);
        break;
      case "F16":
        this.#view.setUint16(at, encodeF16(value), true);
        break;
      case "F8_E4M3":
        this.#view.setUint8(at, encodeE4m3(value, overflow));
        break;
      case "F8_E5M2":
        this.#view.setUint8(at, encodeE5m2(value, overflow));
        break;
    }
  }

  widen(dtype: FloatDtype, from: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) this.#store("F32", to, i, this.#load(dtype, from, i), true);
  }

  narrow(dtype: FloatDtype, from: number, to: number, count: number, saturate = true): void {
    for (let i = 0; i < count; i++) this.#store(dtype, to, i, this.#load("F32", from, i), saturate);
  }

  widenUe8m0(from: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) this.#store("F32", to, i, UE8M0_VALUES[this.bytes[from + i]!]!, true);
  }

  narrowUe8m0(from: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) this.bytes[to + i] = encodeUe8m0Ceil(this.#load("F32", from, i));
  }

  /** Dequantised element: one product, rounded to float32. */
  #value({ dtype, data, rowBytes, scales }: BandInput, row: number, col: number, blockCols: number): number {
    const value = this.#load(dtype, data + row * rowBytes, col);
    if (!scales) return value;
    return fround(value * this.#load("F32", scales, Math.floor(col / blockCols)));
  }

  #sum({ inputs, blockCols }: Band, row: number, col: number): number {
    let acc = 0;
    for (const [index, input] of inputs.entries()) {
      const term = fround(fround(input.weight) * this.#value(input, row, col, blockCols));
      acc = index === 0 ? term : fround(acc + term);
    }
    return acc;
  }

  mergeBand(band: Band): boolean {
    return band.output.dtype === "F8_E4M3" ? this.#mergeQuantised(band) : this.#mergeRounded(band);
  }

  #mergeQuantised(band: Band): boolean {
    const { rows, cols, blockCols, output } = band;
    for (let block = 0; block * blockCols < cols; block++) {
      const [begin, end] = [block * blockCols, Math.min((block + 1) * blockCols, cols)];
      let largest = 0;
      for (let row = 0; row < rows; row++) {
        for (let col = begin; col < end; col++) {
          const acc = Math.abs(this.#sum(band, row, col));
          if (!Number.isFinite(acc)) return false;
          largest = Math.max(largest, acc);
        }
      }
      let scale = fround(Math.max(largest, fround(1e-12)) / 448);
      if (output.powerOfTwo) scale = UE8M0_VALUES[encodeUe8m0Ceil(scale)]!;
      this.#store("F32", output.scales, block, scale, true);
      for (let row = 0; row < rows; row++) {
        for (let col = begin; col < end; col++) {
          const quotient = fround(this.#sum(band, row, col) / scale);
          this.#store("F8_E4M3", output.data + row * output.rowBytes, col, quotient, true);
        }
      }
    }
    return true;
  }

  #mergeRounded(band: Band): boolean {
    const { rows, cols, output } = band;
    for (let row = 0; row < rows; row++) {
      const to = output.data + row * output.rowBytes;
      for (let col = 0; col < cols; col++) {
        this.#store(output.dtype, to, col, this.#sum(band, row, col), true);
        if (!Number.isFinite(this.#load(output.dtype, to, col))) return false;
      }
    }
    return true;
  }

  measureBand(
    { rows, cols, blockCols, inputs }: Pick<Band, "rows" | "cols" | "blockCols" | "inputs" | "scratch">,
    sums: Squares,
  ): void {
    const [base, other] = inputs as [BandInput, BandInput];
    const whole = cols - (cols % 4);
    for (let row = 0; row < rows; row++) {
      // Element i goes to lane i mod 4; lanes are added as (0+1)+(2+3); the rest follows one by one.
      const difference = [0, 0, 0, 0];
      const square = [0, 0, 0, 0];
      for (let col = 0; col < whole; col++) {
        const a = this.#value(base, row, col, blockCols);
        const d = this.#value(other, row, col, blockCols) - a;
        difference[col % 4]! += d * d;
        square[col % 4]! += a * a;
      }
      let rowDifference = lanes(difference);
      let rowSquare = lanes(square);
      for (let col = whole; col < cols; col++) {
        const a = this.#value(base, row, col, blockCols);
        const d = this.#value(other, row, col, blockCols) - a;
        rowDifference += d * d;
        rowSquare += a * a;
      }
      sums.difference += rowDifference;
      sums.base += rowSquare;
    }
  }

  firstNonFinite(dtype: FloatDtype, from: number, count: number): number {
    for (let i = 0; i < count; i++) if (!Number.isFinite(this.#load(dtype, from, i))) return i;
    return -1;
  }

  firstDifference(a: number, b: number, count: number): number {
    for (let i = 0; i < count; i++) if (this.bytes[a + i] !== this.bytes[b + i]) return i;
    return -1;
  }
}

function lanes(sums: readonly number[]): number {
  return sums[0]! + sums[1]! + (sums[2]! + sums[3]!);
}
