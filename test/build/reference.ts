/**
 * A child by definition: assembly.md sections 1 and 2, tensor by tensor, in doubles with Math.fround for each
 * rounding. Slow, whole in memory, and without a line of src/kernels or src/logical.
 */
import type { TensorContent } from "../support/safetensors.ts";

const { fround } = Math;

export interface ReferenceRule {
  selects(name: string): boolean;
  /** λ of every parent for a tensor, in the order of summation. */
  weights(name: string): number[];
  threshold?: number;
  measure: "rms" | "relative";
}

export interface ReferenceChild {
  /** In the order of summation. */
  parents: Map<string, TensorContent>[];
  base: number;
  rules: ReferenceRule[];
  dtype: "as-base" | "f8_e4m3" | "bf16" | "f16" | "f32";
  block: { rows: number; cols: number };
  powerOfTwo: boolean;
  /** Whether a matrix becomes FP8 with output dtype f8_e4m3. */
  quantizable(name: string): boolean;
  keepsF32(name: string): boolean;
}

interface Logical {
  weight: TensorContent;
  scale?: TensorContent;
  scaleName?: string;
}

/** What the child stores. */
interface Form {
  dtype: string;
  scale?: string;
}

/** Every tensor of the child by name. */
export function referenceChild(recipe: ReferenceChild): Map<string, TensorContent> {
  const { parents, base } = recipe;
  const child = new Map<string, TensorContent>();
  for (const [name, tensor] of logicalTensors(parents[base]!)) {
    const made = makeTensor(name, tensor, recipe);
    child.set(name, made.weight);
    if (made.scale) child.set(tensor.scaleName ?? `${name}_scale_inv`, made.scale);
  }
  return child;
}

function logicalTensors(parent: Map<string, TensorContent>): Map<string, Logical> {
  const tensors = new Map<string, Logical>();
  const scales = new Set<string>();
  for (const [name, weight] of parent) {
    if (weight.dtype !== "F8_E4M3" && weight.dtype !== "F8_E5M2") continue;
    const scaleName = [`${name}_scale_inv`, name.replace(/\.weight$/, ".scale")].find((each) =>
      parent.has(each),
    )!;
    scales.add(scaleName);
    tensors.set(name, { weight, scale: parent.get(scaleName)!, scaleName });
  }
  for (const [name, weight] of parent) {
    if (!tensors.has(name) && !scales.has(name)) tensors.set(name, { weight });
  }
  return tensors;
}

function makeTensor(name: string, own: Logical, recipe: ReferenceChild): Logical {
  const { parents, base, rules, block } = recipe;
  const rule = rules.findLast((each) => each.selects(name));
  const weights = rule ? rule.weights(name) : parents.map((_, index) => (index === base ? 1 : 0));
  let terms = parents
    .map((parent, index) => ({ index, weight: weights[index]!, tensor: logicalTensors(parent).get(name)! }))
    .filter(({ weight }) => weight !== 0);
  const form = formOf(name, own, recipe);
  const others = terms.filter(({ index }) => index !== base);
  const isTested = rule?.threshold !== undefined && others.length > 0;

  const [first] = terms;
  const isAlone = terms.length === 1 && first!.weight === 1;
  if (
    isAlone &&
    !isTested &&
    first!.tensor.weight.dtype === form.dtype &&
    first!.tensor.scale?.dtype === form.scale
  ) {
    return first!.tensor;
  }
  // From here on new scales may be written, so they are float32 unless the base has UE8M0.
  if (form.scale && form.scale !== "F8_E8M0") form.scale = "F32";
  if (isTested) {
    const values = valuesOf(own, block);
    const distances = others.map(({ tensor }) => distance(values, valuesOf(tensor, block), rule.measure));
    if (!(Math.max(...distances) > rule.threshold!)) terms = [{ index: base, weight: 1, tensor: own }];
  }
  const sum = terms.reduce((total, { weight }) => total + weight, 0);
  const areEqual =
    terms.every(({ tensor }) => sameBytes(tensor, terms[0]!.tensor)) && Math.abs(sum - 1) < 1e-6;
  const isOne = terms.length === 1 && terms[0]!.weight === 1;
  if (isOne || areEqual) {
    // Identical tensors are one tensor: where their bytes cannot stand they are converted, not summed.
    terms = [{ ...terms[0]!, weight: 1 }];
    const kept = keepCodes(terms[0]!.tensor, form);
    if (kept) return kept;
  }
  return compute(terms, form, recipe);
}

function formOf(name: string, { weight, scale }: Logical, recipe: ReferenceChild): Form {
  const asStored: Form = scale ? { dtype: weight.dtype, scale: scale.dtype } : { dtype: weight.dtype };
  const isFloat = ["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"].includes(weight.dtype);
  if (recipe.dtype === "as-base" || !isFloat) return asStored;
  if (weight.dtype === "F32" && recipe.keepsF32(name)) return asStored;
  if (recipe.dtype !== "f8_e4m3") return { dtype: recipe.dtype.toUpperCase() };
  const becomesFp8 = weight.dtype !== "F8_E4M3" && weight.shape.length >= 2 && recipe.quantizable(name);
  return becomesFp8 ? { dtype: "F8_E4M3", scale: "F32" } : asStored;
}

/** Codes as they are, scales as they are or widened to float32. */
function keepCodes({ weight, scale }: Logical, form: Form): Logical | undefined {
  if (weight.dtype !== form.dtype || (scale === undefined) !== (form.scale === undefined)) return undefined;
  if (!scale || scale.dtype === form.scale) return scale ? { weight, scale } : { weight };
  if (form.scale !== "F32") return undefined;
  return { weight, scale: { dtype: "F32", shape: scale.shape, bytes: encode("F32", decode(scale)) } };
}

function sameBytes(a: Logical, b: Logical): boolean {
  const same = (x: TensorContent | undefined, y: TensorContent | undefined) =>
    x === undefined || y === undefined
      ? x === y
      : x.dtype === y.dtype && Buffer.compare(x.bytes, y.bytes) === 0;
  return same(a.weight, b.weight) && same(a.scale, b.scale);
}

function compute(
  terms: readonly { weight: number; tensor: Logical }[],
  form: Form,
  { block, powerOfTwo }: ReferenceChild,
): Logical {
  const { shape } = terms[0]!.tensor.weight;
  const values = terms.map(({ tensor }) => valuesOf(tensor, block));
  const sums = values[0]!.map((_, i) => {
    let acc = 0;
    for (const [index, { weight }] of terms.entries()) {
      const term = fround(fround(weight) * values[index]![i]!);
      acc = index === 0 ? term : fround(acc + term);
    }
    return acc;
  });
  if (form.dtype !== "F8_E4M3") {
    return {
      weight: { dtype: form.dtype as TensorContent["dtype"], shape, bytes: encode(form.dtype, sums) },
    };
  }
  const grid = gridOf(shape, block);
  const largest = new Array<number>(grid.count).fill(0);
  for (const [i, sum] of sums.entries())
    largest[grid.blockOf(i)] = Math.max(largest[grid.blockOf(i)]!, Math.abs(sum));
  const scales = largest.map((most) => {
    const scale = fround(Math.max(most, fround(1e-12)) / 448);
    if (!powerOfTwo && form.scale !== "F8_E8M0") return scale;
    let power = -127;
    while (2 ** power < scale) power++;
    return 2 ** power;
  });
  const codes = Uint8Array.from(sums, (sum, i) => encodeE4m3(fround(sum / scales[grid.blockOf(i)]!)));
  const scaleDtype = form.scale as TensorContent["dtype"];
  return {
    weight: { dtype: "F8_E4M3", shape, bytes: codes },
    scale: { dtype: scaleDtype, shape: grid.shape, bytes: encode(scaleDtype, scales) },
  };
}

/** Blocks of a tensor: the last two dimensions are cut, the others repeat. */
function gridOf(shape: readonly number[], block: ReferenceChild["block"]) {
  const [rows, cols] = [shape.at(-2)!, shape.at(-1)!];
  const [down, across] = [Math.ceil(rows / block.rows), Math.ceil(cols / block.cols)];
  const scaleShape = [...shape.slice(0, -2), down, across];
  const blockOf = (element: number) => {
    const col = element % cols;
    const row = Math.floor(element / cols) % rows;
    const matrix = Math.floor(element / (rows * cols));
    return (matrix * down + Math.floor(row / block.rows)) * across + Math.floor(col / block.cols);
  };
  return { shape: scaleShape, count: scaleShape.reduce((product, dim) => product * dim, 1), blockOf };
}

/** Dequantised: f32(code) · scale. */
function valuesOf({ weight, scale }: Logical, block: ReferenceChild["block"]): number[] {
  const values = decode(weight);
  if (!scale) return values;
  const scales = decode(scale);
  const { blockOf } = gridOf(weight.shape, block);
  return values.map((value, i) => fround(value * scales[blockOf(i)]!));
}

function distance(base: readonly number[], other: readonly number[], measure: "rms" | "relative"): number {
  let [difference, square] = [0, 0];
  for (const [i, value] of base.entries()) {
    difference += (other[i]! - value) ** 2;
    square += value ** 2;
  }
  if (measure === "rms") return base.length === 0 ? 0 : Math.sqrt(difference / base.length);
  return difference === 0 ? 0 : Math.sqrt(difference / square);
}

function small(exponentBits: number, mantissaBits: number, bias: number): (code: number) => number {
  return (code) => {
    const mantissa = code % 2 ** mantissaBits;
    const exponent = Math.floor(code / 2 ** mantissaBits) % 2 ** exponentBits;
    const sign = code >= 2 ** (exponentBits + mantissaBits) ? -1 : 1;
    if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
    return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
  };
}

const e4m3 = small(4, 3, 7);
const e5m2 = small(5, 2, 15);
const half = small(5, 10, 15);

export function decode({ dtype, bytes }: TensorContent): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const many = (size: number, read: (at: number) => number) =>
    Array.from({ length: bytes.length / size }, (_, i) => read(i * size));
  if (dtype === "F32") return many(4, (at) => view.getFloat32(at, true));
  if (dtype === "F16") return many(2, (at) => half(view.getUint16(at, true)));
  if (dtype === "BF16") return many(2, (at) => fromBits(view.getUint16(at, true) * 65536));
  if (dtype === "F8_E4M3") return many(1, (at) => e4m3(view.getUint8(at)));
  if (dtype === "F8_E5M2") return many(1, (at) => e5m2(view.getUint8(at)));
  if (dtype === "F8_E8M0") return many(1, (at) => 2 ** (view.getUint8(at) - 127));
  throw new Error(`no definition of ${dtype}`);
}

function encode(dtype: string, values: readonly number[]): Uint8Array {
  if (dtype === "F8_E8M0") return Uint8Array.from(values, (value) => Math.log2(value) + 127);
  const size = dtype === "F32" ? 4 : 2;
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) {
    if (dtype === "F32") view.setFloat32(i * 4, value, true);
    else view.setUint16(i * 2, dtype === "BF16" ? encodeBf16(value) : encodeHalf(value), true);
  }
  return bytes;
}

const scratch = new DataView(new ArrayBuffer(4));

function fromBits(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

function isNegative(value: number): boolean {
  return value < 0 || Object.is(value, -0);
}

/** The candidates on both sides of a magnitude, the nearer of them, the even one of two equally near. */
function encodeBf16(value: number): number {
  scratch.setFloat32(0, Math.abs(value));
  const below = Math.floor(scratch.getUint32(0) / 65536);
  const [low, high] = [fromBits(below * 65536), fromBits((below + 1) * 65536)];
  const magnitude = Math.abs(value);
  const isUp =
    magnitude - low > high - magnitude || (magnitude - low === high - magnitude && below % 2 === 1);
  return (isUp ? below + 1 : below) + (isNegative(value) ? 0x8000 : 0);
}

function nearest(magnitude: number, codes: number, valueAt: (code: number) => number): number {
  let [low, high] = [0, codes - 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const midpoint = (valueAt(middle) + valueAt(middle + 1)) / 2;
    if (magnitude > midpoint || (magnitude === midpoint && middle % 2 === 1)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function encodeHalf(value: number): number {
  return nearest(Math.abs(value), 0x7c00, half) + (isNegative(value) ? 0x8000 : 0);
}

export function encodeE4m3(value: number): number {
  return nearest(Math.abs(value), 0x7f, e4m3) + (isNegative(value) ? 0x80 : 0);
}
