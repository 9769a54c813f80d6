/**
 * The kernels of the forward pass in plain TypeScript: the reference that the WASM kernels equal bit for
 * bit, and the fallback where there is no WASM SIMD. Written from the definitions in inference.ts;
 * Math.fround stands for every rounding to float32 (a product or sum of two float32 in float64 and rounded
 * once is the float32 operation).
 */
import { E4M3_VALUES } from "../tensor/float8.ts";
import { decodeBf16, decodeF16 } from "../tensor/float16.ts";
import { exp, exp2 } from "./exp2.ts";
import {
  type InferenceKernels,
  paddedCols,
  type Rows,
  type SoftmaxStep,
  type StoredDtype,
  type Weight,
  type WeightDtype,
} from "./inference.ts";
import { arrangeInt8, dequantiseInt8, linearInt8, quantiseInt8 } from "./inference-int8-scalar.ts";

const { fround } = Math;
const ELEMENT_BYTES: Record<StoredDtype, number> = { F8_E4M3: 1, BF16: 2, F16: 2, F32: 4 };
/** Planes of four lanes that one group of columns has. */
const PLANES: Record<StoredDtype, number> = { F8_E4M3: 4, BF16: 2, F16: 2, F32: 1 };
/** Columns of a block where a weight has no scales. */
const PLAIN_BLOCK = 128;

export function createScalarInference(heapBytes: number): InferenceKernels {
  return new ScalarInference(heapBytes);
}

class ScalarInference implements InferenceKernels {
  readonly name = "scalar";
  readonly dotProduct = "scalar";
  readonly bytes: Uint8Array;
  readonly floats: Float32Array;
  readonly #view: DataView;

  constructor(heapBytes: number) {
    const buffer = new ArrayBuffer(Math.ceil(heapBytes / 16) * 16);
    this.bytes = new Uint8Array(buffer);
    this.floats = new Float32Array(buffer);
    this.#view = new DataView(buffer);
  }

  arrange(dtype: WeightDtype, x: Rows, cols: number, out: number): void {
    if (dtype === "INT8") {
      arrangeInt8(this.#view, x, cols, out);
      return;
    }
    const padded = paddedCols(cols);
    const factor = dtype === "F8_E4M3" ? 2 ** 100 : 1;
    for (let row = 0; row < x.count; row++) {
      for (let at = 0; at < padded; at++) {
        const col = columnAt(dtype, at);
        const value = col < cols ? this.#float(x.data, row * x.stride + col) * factor : 0;
        this.#setFloat(out, row * padded + at, value);
      }
    }
  }

  linear(weight: Weight, x: { data: number; count: number }, out: Rows): void {
    const { dtype, rows, cols } = weight;
    if (dtype === "INT8") {
      linearInt8(this.#view, weight, x, out);
      return;
    }
    const padded = paddedCols(cols);
    const codes = new Float32Array(padded);
    const blockCols = isScaled(weight) ? weight.blockCols : PLAIN_BLOCK;
    for (let row = 0; row < rows; row++) {
      for (let at = 0; at < padded; at++) {
        const col = columnAt(dtype, at);
        codes[at] = col < cols ? this.#code({ ...weight, dtype }, row, col) : 0;
        if (dtype === "F8_E4M3") codes[at]! *= 2 ** -120;
      }
      for (let token = 0; token < x.count; token++) {
        const total = [0, 0, 0, 0];
        for (let begin = 0; begin < cols; begin += blockCols) {
          const end = Math.min(begin + blockCols, padded);
          const acc = [0, 0, 0, 0];
          for (let at = begin; at < end; at++) {
            const product = fround(codes[at]! * this.#float(x.data, token * padded + at));
            acc[at % 4] = fround(acc[at % 4]! + product);
          }
          const scale = this.#blockFactor(weight, row, begin);
          for (let lane = 0; lane < 4; lane++)
            total[lane] = fround(total[lane]! + fround(acc[lane]! * scale));
        }
        const sum = fround(fround(total[0]! + total[1]!) + fround(total[2]! + total[3]!));
        this.#setFloat(out.data, token * out.stride + row, sum);
      }
    }
  }

  quantise(x: Rows, cols: number, out: number): void {
    quantiseInt8(this.#view, x, cols, out);
  }

  dequantise(weight: Weight, { from, count }: { from: number; count: number }, out: number): void {
    const { dtype, cols } = weight;
    if (dtype === "INT8") {
      dequantiseInt8(this.#view, weight, { from, count }, out);
      return;
    }
    for (let row = 0; row < count; row++) {
      for (let col = 0; col < cols; col++) {
        const value = this.#code({ ...weight, dtype }, from + row, col);
        const scale = isScaled(weight) ? this.#scale(weight, from + row, col) : 1;
        this.#setFloat(out, row * cols + col, value * scale);
      }
    }
  }

  combine(a: Rows, b: Rows, cols: number, out: Rows, accumulate: boolean): void {
    for (let row = 0; row < a.count; row++) {
      for (let col = 0; col < cols; col++) {
        const at = row * out.stride + col;
        let acc = accumulate ? this.#float(out.data, at) : 0;
        for (let j = 0; j < b.count; j++) {
          const factor = this.#float(a.data, row * a.stride + j);
          acc = fround(acc + fround(factor * this.#float(b.data, j * b.stride + col)));
        }
        this.#setFloat(out.data, at, acc);
      }
    }
  }

  softmaxStep({ scores, rows, keys, limits, scale, maxima, sums, out, outCols }: SoftmaxStep): void {
    const factor = fround(scale);
    for (let row = 0; row < rows; row++) {
      const seen = Math.min(Math.max(this.#view.getInt32(limits + 4 * row, true), 0), keys);
      const first = row * keys;
      if (seen > 0) {
        let largest = -Infinity;
        for (let j = 0; j < seen; j++) {
          const score = this.#float(scores, first + j);
          if (score > largest) largest = score; // a NaN is no maximum; its probability shows it
        }
        const before = this.#float(maxima, row);
        const scaled = fround(factor * largest);
        const maximum = (before < scaled ? scaled : before) + 0; // -0 becomes 0: which comes first must not show
        const decay = exp2(fround(before - maximum));
        const lanes = [0, 0, 0, 0];
        for (let j = 0; j < seen; j++) {
          const score = fround(factor * this.#float(scores, first + j));
          const probability = exp2(fround(score - maximum));
          lanes[j % 4] = fround(lanes[j % 4]! + probability);
          this.#setFloat(scores, first + j, probability);
        }
        const added = fround(fround(lanes[0]! + lanes[1]!) + fround(lanes[2]! + lanes[3]!));
        this.#setFloat(maxima, row, maximum);
        this.#setFloat(sums, row, fround(this.#float(sums, row) * decay) + added);
        for (let col = 0; col < outCols; col++) {
          const at = row * outCols + col;
          this.#setFloat(out, at, this.#float(out, at) * decay);
        }
      }
      for (let j = seen; j < keys; j++) this.#setFloat(scores, first + j, 0);
    }
  }

  rmsNorm(x: Rows, weight: number, cols: number, epsilon: number, out: Rows): void {
    for (let row = 0; row < x.count; row++) {
      const lanes = [0, 0];
      for (let col = 0; col < cols; col++) {
        const value = this.#float(x.data, row * x.stride + col);
        lanes[col % 2]! += value * value;
      }
      const factor = fround(1 / Math.sqrt((lanes[0]! + lanes[1]!) / cols + epsilon));
      for (let col = 0; col < cols; col++) {
        const value = fround(this.#float(x.data, row * x.stride + col) * factor);
        this.#setFloat(out.data, row * out.stride + col, value * this.#float(weight, col));
      }
    }
  }

  rotate(
    x: Rows,
    { cos, sin, pairs }: { cos: number; sin: number; pairs: number },
    interleaved: boolean,
  ): void {
    for (let row = 0; row < x.count; row++) {
      for (let pair = 0; pair < pairs; pair++) {
        const first = row * x.stride + (interleaved ? 2 * pair : pair);
        const second = first + (interleaved ? 1 : pairs);
        const [a, b] = [this.#float(x.data, first), this.#float(x.data, second)];
        const [c, s] = [this.#float(cos, pair), this.#float(sin, pair)];
        this.#setFloat(x.data, first, fround(a * c) - fround(b * s));
        this.#setFloat(x.data, second, fround(a * s) + fround(b * c));
      }
    }
  }

  siluMul(gate: Rows, up: Rows, cols: number, out: Rows): void {
    for (let row = 0; row < gate.count; row++) {
      for (let col = 0; col < cols; col++) {
        const z = this.#float(gate.data, row * gate.stride + col);
        const silu = fround(z / fround(1 + exp(-z)));
        const product = silu * this.#float(up.data, row * up.stride + col);
        this.#setFloat(out.data, row * out.stride + col, product);
      }
    }
  }

  addScaled(y: number, x: number, weight: number, count: number): void {
    const factor = fround(weight);
    for (let i = 0; i < count; i++) {
      this.#setFloat(y, i, this.#float(y, i) + fround(factor * this.#float(x, i)));
    }
  }

  firstNonFinite(from: number, count: number): number {
    for (let i = 0; i < count; i++) {
      if (!Number.isFinite(this.#float(from, i))) return i;
    }
    return -1;
  }

  #float(base: number, index: number): number {
    return this.#view.getFloat32(base + 4 * index, true);
  }

  /** Rounds to float32. */
  #setFloat(base: number, index: number, value: number): void {
    this.#view.setFloat32(base + 4 * index, value, true);
  }

  /** What an element means, without its scale. */
  #code({ dtype, data, cols }: Weight & { dtype: StoredDtype }, row: number, col: number): number {
    const at = data + (row * cols + col) * ELEMENT_BYTES[dtype];
    switch (dtype) {
      case "F8_E4M3":
        return E4M3_VALUES[this.#view.getUint8(at)]!;
      case "BF16":
        return decodeBf16(this.#view.getUint16(at, true));
      case "F16":
        return decodeF16(this.#view.getUint16(at, true));
      case "F32":
        return this.#view.getFloat32(at, true);
    }
  }

  #scale({ scales, cols, blockRows, blockCols, firstRow }: Weight, row: number, col: number): number {
    const blockRow = Math.floor((firstRow + row) / blockRows) - Math.floor(firstRow / blockRows);
    return this.#float(scales, blockRow * Math.ceil(cols / blockCols) + Math.floor(col / blockCols));
  }

  /** What linear() multiplies the sum of a block by; 1 changes no bit. */
  #blockFactor(weight: Weight, row: number, col: number): number {
    if (weight.dtype !== "F8_E4M3") return 1;
    return isScaled(weight) ? fround(this.#scale(weight, row, col) * 2 ** 20) : 2 ** 20;
  }
}

function isScaled({ dtype, scales }: Weight): boolean {
  return dtype === "F8_E4M3" && scales !== 0;
}

/** The column that stands at a position of an arranged row. */
function columnAt(dtype: StoredDtype, at: number): number {
  const planes = PLANES[dtype];
  const group = Math.floor(at / (4 * planes));
  const plane = Math.floor(at / 4) % planes;
  return 4 * planes * group + planes * (at % 4) + plane;
}
