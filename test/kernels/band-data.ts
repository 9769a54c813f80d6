/** Bands as data: made from a seed, in every format, scale and kind of value that matters. */
import type { BandOutput } from "../../src/kernels/kernels.ts";
import { type FloatDtype, floatSize } from "../../src/tensor/dtype.ts";

export interface OperandData {
  dtype: FloatDtype;
  /** Rows one after another, without gaps. */
  bytes: Uint8Array;
  scales?: Float32Array | undefined;
  weight: number;
}

export interface BandData {
  rows: number;
  cols: number;
  blockCols: number;
  inputs: OperandData[];
  output: BandOutput["dtype"];
  powerOfTwo: boolean;
}

export const SCALE_KINDS = ["normal", "one", "subnormal", "tiny", "limit", "huge", "mixed"] as const;
export type ScaleKind = (typeof SCALE_KINDS)[number];
export const VALUE_KINDS = ["random", "any", "subnormal", "zeros", "extremes", "zero-blocks"] as const;
export type ValueKind = (typeof VALUE_KINDS)[number];

export interface OperandSpec {
  dtype: FloatDtype;
  scales?: ScaleKind | undefined;
  values: ValueKind;
  weight: number;
}

export interface BandSpec extends Omit<BandData, "inputs"> {
  inputs: OperandSpec[];
  seed: number;
}

// Fields of each format; `random` values take exponents from low to high.
const FORMATS: Record<FloatDtype, { exponentBits: number; mantissaBits: number; low: number; high: number }> =
  {
    F32: { exponentBits: 8, mantissaBits: 23, low: 105, high: 129 },
    BF16: { exponentBits: 8, mantissaBits: 7, low: 105, high: 129 },
    F16: { exponentBits: 5, mantissaBits: 10, low: 0, high: 20 },
    F8_E4M3: { exponentBits: 4, mantissaBits: 3, low: 0, high: 15 },
    F8_E5M2: { exponentBits: 5, mantissaBits: 2, low: 0, high: 24 },
  };

export type Random = (below: number) => number;

/** Whole numbers from 0 to below - 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): Random {
  const bits = bitsFrom(seed);
  return (below) => Math.floor((bits() / 2 ** 32) * below);
}

function bitsFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

export function makeBand({ seed, inputs, ...shape }: BandSpec): BandData {
  const random = randomFrom(seed);
  return { ...shape, inputs: inputs.map((input) => makeOperand(input, shape, random)) };
}

type Shape = Pick<BandData, "rows" | "cols" | "blockCols">;

function makeOperand(spec: OperandSpec, { rows, cols, blockCols }: Shape, random: Random): OperandData {
  const { dtype, scales, values, weight } = spec;
  const bytes = new Uint8Array(rows * cols * floatSize(dtype));
  const codes = codesOf(dtype, bytes);
  const bits = bitsFrom(random(2 ** 31));
  const [codeOf, zeroOf] = [codeMaker(dtype, values), codeMaker(dtype, "zeros")];
  for (let i = 0; i < codes.length; i++) {
    const zeroBlock = values === "zero-blocks" && Math.floor((i % cols) / blockCols) % 2 === 0;
    codes[i] = (zeroBlock ? zeroOf : codeOf)(bits());
  }
  const numBlocks = cols === 0 ? 0 : Math.ceil(cols / blockCols);
  return {
    dtype,
    bytes,
    weight,
    scales: scales && Float32Array.from({ length: numBlocks }, () => randomScale(scales, random)),
  };
}

/** The elements of a format as whole numbers, on the same memory. */
export function codesOf(dtype: FloatDtype, { buffer }: Uint8Array): Uint8Array | Uint16Array | Uint32Array {
  const size = floatSize(dtype);
  if (size === 1) return new Uint8Array(buffer);
  return size === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer);
}

/** Turns 32 random bits into a finite code: the top bit is the sign, the low ones are the mantissa. */
function codeMaker(dtype: FloatDtype, values: ValueKind): (bits: number) => number {
  const { exponentBits, mantissaBits, low, high } = FORMATS[dtype];
  const top = 2 ** exponentBits - (dtype === "F8_E4M3" ? 1 : 2); // the largest exponent of finite codes
  const size = exponentBits + mantissaBits;
  const mask = 2 ** mantissaBits - 1;
  const largest = (top << mantissaBits) + (dtype === "F8_E4M3" ? 6 : mask);
  const [from, to] = values === "any" ? [0, top] : [low, high];
  return (bits) => {
    const sign = (bits >>> 31) << size;
    let magnitude = 0;
    if (values === "subnormal") magnitude = bits & mask;
    else if (values === "extremes") magnitude = bits & 1 ? 1 : largest;
    else if (values !== "zeros") {
      const exponent = from + ((((bits >>> 23) & 0xff) * (to - from + 1)) >> 8);
      magnitude = Math.min((exponent << mantissaBits) + (bits & mask), largest);
    }
    return (sign | magnitude) >>> 0;
  };
}

function randomScale(kind: ScaleKind, random: Random): number {
  const fraction = 1 + random(2 ** 23) / 2 ** 23;
  switch (kind) {
    case "one":
      return 1;
    case "normal":
      return fraction * 2 ** (-14 + random(4));
    case "subnormal":
      return fraction * 1e-40;
    case "tiny": // round the bound below which scales are not folded
      return fraction * 2 ** (-84 + random(8));
    case "limit": // round 2^7, beyond which a scale times 2^120 may overflow, and 2^8, where it does
      return fraction * 2 ** (6 + random(3));
    case "huge":
      return fraction * 1e30;
    case "mixed":
      return randomScale(SCALE_KINDS[random(SCALE_KINDS.length - 1)]!, random);
  }
}
