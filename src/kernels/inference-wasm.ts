/**
 * The kernels of the forward pass in WASM SIMD: hands numbers to the module of assembly-inference/.
 *
 * Each instance has a memory of its own, never grown, of the heap and, behind it, scratch for linear() of
 * several tokens. A heap of the whole 4 GiB leaves no room for that: tokens are then multiplied in pairs,
 * to the same bits.
 *
 * Products of INT8 weights are in a second module besides, assembly-relaxed/, for engines with relaxed SIMD.
 */
import type { InferenceKernels, Rows, SoftmaxStep, StoredDtype, Weight, WeightDtype } from "./inference.ts";
import { WASM_BASE64 } from "./inference-binary.ts";
import { WASM_BASE64 as RELAXED_BASE64 } from "./relaxed-binary.ts";

const PAGE = 65536;
const MAX_PAGES = 65536;
const DTYPE: Record<StoredDtype, number> = { F32: 0, BF16: 1, F16: 2, F8_E4M3: 3 };
/** Columns of a block where a weight has no scales. */
const PLAIN_BLOCK = 128;

/** What assembly-relaxed/index.ts exports. */
interface DotModule {
  linearInt8(...args: number[]): void;
}

/** What assembly-inference/index.ts exports. Booleans and integers are i32. */
interface Module extends DotModule {
  arrange(dtype: number, src: number, stride: number, count: number, cols: number, out: number): void;
  linear(...args: number[]): void;
  dequantise(...args: number[]): void;
  arrangeInt8(src: number, stride: number, count: number, cols: number, out: number): void;
  quantise(src: number, stride: number, count: number, cols: number, out: number): void;
  dequantiseInt8(data: number, cols: number, row: number, count: number, out: number): void;
  combine(...args: number[]): void;
  softmaxStep(...args: number[]): void;
  rmsNorm(...args: number[]): void;
  rotateInterleaved(...args: number[]): void;
  rotateHalves(...args: number[]): void;
  siluMul(...args: number[]): void;
  addScaled(y: number, x: number, weight: number, count: number): void;
  firstNonFinite(from: number, count: number): number;
  scratchBytes(): number;
}

let compiled: WebAssembly.Module | undefined;
let compiledRelaxed: WebAssembly.Module | undefined;

/** The compiled module; compiled once per thread. */
export function inferenceModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(bytesOf(WASM_BASE64));
  return compiled;
}

/** Whether this engine has relaxed SIMD, as it is set up now (Node 20 and 21: only with a flag). */
export function hasRelaxedSimd(): boolean {
  return compiledRelaxed !== undefined || WebAssembly.validate(bytesOf(RELAXED_BASE64));
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** Pages behind the heap: at least scratchBytes() of the module. */
const SCRATCH_PAGES = 2;

/**
 * Kernels with a heap of at least `heapBytes` bytes. `relaxed`: multiply INT8 by relaxed SIMD, which the engine
 * must have (hasRelaxedSimd). Throws RangeError above 4 GiB.
 */
export function createWasmInference(
  heapBytes: number,
  { relaxed = false }: { relaxed?: boolean } = {},
): InferenceKernels {
  const pages = Math.ceil(heapBytes / PAGE);
  if (pages > MAX_PAGES)
    throw new RangeError(`Cannot make a heap of ${heapBytes} bytes, wanted at most 4 GiB`);
  const initial = pages + SCRATCH_PAGES <= MAX_PAGES ? pages + SCRATCH_PAGES : pages;
  const memory = new WebAssembly.Memory({ initial, maximum: MAX_PAGES });
  const instance = new WebAssembly.Instance(inferenceModule(), { env: { memory } });
  const module = instance.exports as unknown as Module;
  if (module.scratchBytes() > SCRATCH_PAGES * PAGE)
    throw new Error("internal: scratch of linear() is too small");
  const scratch = initial > pages ? pages * PAGE : 0;
  const heap = { buffer: memory.buffer, byteLength: pages * PAGE, scratch };
  if (!relaxed) return new WasmInference({ module, dot: module }, heap);
  compiledRelaxed ??= new WebAssembly.Module(bytesOf(RELAXED_BASE64));
  const second = new WebAssembly.Instance(compiledRelaxed, { env: { memory } });
  return new WasmInference({ module, dot: second.exports as unknown as DotModule }, heap);
}

class WasmInference implements InferenceKernels {
  readonly name = "wasm";
  readonly bytes: Uint8Array;
  readonly floats: Float32Array;
  readonly dotProduct: "relaxed" | "plain";
  readonly #module: Module;
  readonly #dot: DotModule;
  /** Offset of scratch, or 0. */
  readonly #scratch: number;

  constructor(
    { module, dot }: { module: Module; dot: DotModule },
    { buffer, byteLength, scratch }: { buffer: ArrayBuffer; byteLength: number; scratch: number },
  ) {
    this.bytes = new Uint8Array(buffer, 0, byteLength);
    this.floats = new Float32Array(buffer, 0, byteLength / 4);
    this.dotProduct = dot === module ? "plain" : "relaxed";
    this.#module = module;
    this.#dot = dot;
    this.#scratch = scratch;
  }

  arrange(dtype: WeightDtype, x: Rows, cols: number, out: number): void {
    if (dtype === "INT8") this.#module.arrangeInt8(x.data, 4 * x.stride, x.count, cols, out);
    else this.#module.arrange(DTYPE[dtype], x.data, 4 * x.stride, x.count, cols, out);
  }

  linear(weight: Weight, x: { data: number; count: number }, out: Rows): void {
    const { dtype, data, rows, cols } = weight;
    if (dtype === "INT8") {
      this.#dot.linearInt8(data, rows, cols, x.data, x.count, out.data, 4 * out.stride);
      return;
    }
    const [scales, blockRows, blockCols, firstRow] = blocksOf(weight);
    this.#module.linear(
      ...[DTYPE[dtype], data, rows, cols, scales, blockRows, blockCols, firstRow],
      ...[x.data, x.count, out.data, 4 * out.stride, this.#scratch],
    );
  }

  quantise(x: Rows, cols: number, out: number): void {
    this.#module.quantise(x.data, 4 * x.stride, x.count, cols, out);
  }

  dequantise(weight: Weight, { from, count }: { from: number; count: number }, out: number): void {
    const { dtype, data, cols } = weight;
    if (dtype === "INT8") {
      this.#module.dequantiseInt8(data, cols, from, count, out);
      return;
    }
    const [scales, blockRows, blockCols, firstRow] = blocksOf(weight);
    this.#module.dequantise(
      ...[DTYPE[dtype], data, cols, scales, blockRows, blockCols, firstRow],
      ...[from, count, out],
    );
  }

  combine(a: Rows, b: Rows, cols: number, out: Rows, accumulate: boolean): void {
    this.#module.combine(
      ...[a.data, 4 * a.stride, a.count, b.data, 4 * b.stride, b.count],
      ...[cols, out.data, 4 * out.stride, accumulate ? 1 : 0],
    );
  }

  softmaxStep({ scores, rows, keys, limits, scale, maxima, sums, out, outCols }: SoftmaxStep): void {
    this.#module.softmaxStep(scores, rows, keys, limits, scale, maxima, sums, out, outCols);
  }

  rmsNorm(x: Rows, weight: number, cols: number, epsilon: number, out: Rows): void {
    this.#module.rmsNorm(x.data, 4 * x.stride, x.count, weight, cols, epsilon, out.data, 4 * out.stride);
  }

  rotate(
    x: Rows,
    { cos, sin, pairs }: { cos: number; sin: number; pairs: number },
    interleaved: boolean,
  ): void {
    if (interleaved) this.#module.rotateInterleaved(x.data, 4 * x.stride, x.count, cos, sin, pairs);
    else this.#module.rotateHalves(x.data, 4 * x.stride, x.count, cos, sin, pairs);
  }

  siluMul(gate: Rows, up: Rows, cols: number, out: Rows): void {
    this.#module.siluMul(
      ...[gate.data, 4 * gate.stride, up.data, 4 * up.stride, gate.count, cols],
      ...[out.data, 4 * out.stride],
    );
  }

  addScaled(y: number, x: number, weight: number, count: number): void {
    this.#module.addScaled(y, x, weight, count);
  }

  firstNonFinite(from: number, count: number): number {
    return this.#module.firstNonFinite(from, count);
  }
}

/** scales, blockRows, blockCols, firstRow; blocks of 128 columns without scales. */
function blocksOf({
  dtype,
  scales,
  blockRows,
  blockCols,
  firstRow,
}: Weight): [number, number, number, number] {
  if (dtype !== "F8_E4M3" || scales === 0) return [0, 1, PLAIN_BLOCK, 0];
  return [scales, blockRows, blockCols, firstRow];
}
