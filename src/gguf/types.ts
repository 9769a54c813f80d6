/**
 * The element types of GGUF: their numbers in the file, and how many elements lie together in how many bytes.
 *
 * Blocks never cross a row, so rows and the experts of a merged tensor can be copied whatever the type is.
 * All types that files hold are here, since copying needs no more; blocks.ts decodes some of them.
 */

/** [number in the file, elements of a block, bytes of a block] */
const TYPES = {
  F32: [0, 1, 4],
  F16: [1, 1, 2],
  Q4_0: [2, 32, 18],
  Q4_1: [3, 32, 20],
  Q5_0: [6, 32, 22],
  Q5_1: [7, 32, 24],
  Q8_0: [8, 32, 34],
  Q2_K: [10, 256, 84],
  Q3_K: [11, 256, 110],
  Q4_K: [12, 256, 144],
  Q5_K: [13, 256, 176],
  Q6_K: [14, 256, 210],
  IQ2_XXS: [16, 256, 66],
  IQ2_XS: [17, 256, 74],
  IQ3_XXS: [18, 256, 98],
  IQ1_S: [19, 256, 50],
  IQ4_NL: [20, 32, 18],
  IQ3_S: [21, 256, 110],
  IQ2_S: [22, 256, 82],
  IQ4_XS: [23, 256, 136],
  I8: [24, 1, 1],
  I16: [25, 1, 2],
  I32: [26, 1, 4],
  I64: [27, 1, 8],
  F64: [28, 1, 8],
  IQ1_M: [29, 256, 56],
  BF16: [30, 1, 2],
  TQ1_0: [34, 256, 54],
  TQ2_0: [35, 256, 66],
  MXFP4: [39, 32, 17],
  NVFP4: [40, 64, 36],
  Q1_0: [41, 128, 18],
} as const;

/** An element type, spelt as ggml spells it. */
export type GgufType = keyof typeof TYPES;

const BY_NUMBER: ReadonlyMap<number, GgufType> = new Map(
  Object.entries(TYPES).map(([name, [number]]) => [number, name as GgufType]),
);

export function typeOfNumber(number: number): GgufType | undefined {
  return BY_NUMBER.get(number);
}

export function numberOfType(type: GgufType): number {
  return TYPES[type][0];
}

/** Elements that are stored together, and bytes that they take. */
export function blockOf(type: GgufType): { elements: number; bytes: number } {
  const [, elements, bytes] = TYPES[type];
  return { elements, bytes };
}

/** Bytes of a tensor; NaN where its rows are no whole blocks, or where it leaves the safe integers. */
export function ggufByteLength(type: GgufType, shape: readonly number[]): number {
  const { elements, bytes } = blockOf(type);
  const row = shape.at(-1) ?? 1;
  if (row % elements !== 0) return Number.NaN;
  let product = (row / elements) * bytes;
  if (shape.includes(0)) return 0;
  for (const dim of shape.slice(0, -1)) {
    product *= dim;
    if (!Number.isSafeInteger(product)) return Number.NaN;
  }
  return Number.isSafeInteger(product) ? product : Number.NaN;
}
