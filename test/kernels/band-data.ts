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
const FORMATS: Record<FloatDtype, { exponentBits: number; mantissaBits: number; low: number; high: number }> = {
  F32: { exponentBits: 8, mantissaBits: 23, low: 105, high: 129 },
  BF16: { exponentBits: 8, mantissaBits: 7, low: 105, high: 129 },
  F16: { exponentBits: 5, mantissaBits: 10, low: 0, high: 20 },
  F8_E4M3: { exponentBits: 4, mantissaBits: 3, low: 0, high: 15 },
  F8_E5M2: { exponentBits: 5, mantissaBits: 2, low: 0, high: 24 },
};

export type Random = (below: number) => number;

/** Whole numbers from 0 to below - 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

export function makeBand({ seed, inputs, ...shape }: BandSpec): BandData {
  const random = randomFrom(seed);
  return { ...shape, inputs: inputs.map((input) => makeOperand(input, shape, random)) };
}

type Shape = Pick<BandData, "rows" | "cols" | "blockCols">;

function makeOperand({ dtype, scales, values, weight }: OperandSpec, shape: Shape, random: Random): OperandData {
  const { rows, cols, blockCols } = shape;
  const size = floatSize(dtype);
  const bytes = new Uint8Array(rows * cols * size);
  const codes = size === 4 ? new Uint32Array(bytes.buffer) : size === 2 ? new Uint16Array(bytes.buffer) : bytes;
  for (let i = 0; i < codes.length; i++) {
    const zeroBlock = values === "zero-blocks" && Math.floor((i % cols) / blockCols) % 2 === 0;
    codes[i] = randomCode(dtype, zeroBlock ? "zeros" : values, random);
  }
  const numBlocks = cols === 0 ? 0 : Math.ceil(cols / blockCols);
  return {
    dtype,
    bytes,
    weight,
    scales: scales && Float32Array.from({ length: numBlocks }, () => randomScale(scales, random)),
  };
}

/** A finite code. */
function randomCode(dtype: FloatDtype, values: ValueKind, random: Random): number {
  const { exponentBits, mantissaBits, low, high } = FORMATS[dtype];
  const top = 2 ** exponentBits - 1;
  const sign = random(2) * 2 ** (exponentBits + mantissaBits);
  const code = (exponent: number, mantissa: number) => sign + exponent * 2 ** mantissaBits + mantissa;
  const mantissa = random(2 ** mantissaBits);
  switch (values) {
    case "zeros":
      return code(0, 0);
    case "subnormal":
      return code(0, mantissa);
    case "extremes":
      if (random(2)) return code(0, 1);
      return dtype === "F8_E4M3" ? code(15, 6) : code(top - 1, 2 ** mantissaBits - 1);
    case "any":
    case "random": {
      const [from, to] = values === "random" ? [low, high] : [0, dtype === "F8_E4M3" ? 15 : top - 1];
      const exponent = from + random(to - from + 1);
      return code(exponent, dtype === "F8_E4M3" && exponent === 15 ? mantissa % 7 : mantissa);
    }
    case "zero-blocks":
      return randomCode(dtype, "random", random);
  }
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
