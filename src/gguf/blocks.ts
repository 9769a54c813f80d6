/**
 * Elements of GGUF to float32 and back: reference codecs, exact as ggml's own.
 *
 * F32, F16, BF16: an element each. Q8_0: 32 elements share an F16 scale d; an element is d·q, q in INT8.
 * Q4_K, Q5_K, Q6_K: 256 elements with two levels of scales. Of the first two a block is d and dmin in F16,
 * eight scales and eight minima of 6 bits each in 12 bytes, then codes: an element is (d·scale)·q − (dmin·min).
 * Q6_K has 16 scales in INT8 and no minima: (d·scale)·(q − 32). Products of these widths are exact in double, so
 * rounding once, at the end, is what float32 steps give.
 *
 * Q8_0 is encoded as ggml's reference does it: d = largest magnitude / 127; a code is the element times 1/d,
 * halves away from zero. What is stored of d is rounded to F16, after the codes were made with d itself.
 */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "../base/shown.ts";
import { decodeF16 } from "../tensor/float16.ts";
import { blockOf, type GgufType } from "./types.ts";

const DECODED = ["F32", "F16", "BF16", "Q8_0", "Q4_K", "Q5_K", "Q6_K"] as const;
/** Types whose elements can be computed with. */
export type DecodedType = (typeof DECODED)[number];
/** Types that can be made of floats. */
export type EncodedType = "F32" | "F16" | "BF16" | "Q8_0";

/** From here on a float becomes infinity as F16. */
const F16_LIMIT = 65520;

export function isDecoded(type: GgufType): type is DecodedType {
  return (DECODED as readonly GgufType[]).includes(type);
}

/** Refuses a type whose elements we do not know. */
export function requireDecoded(type: GgufType, { name, file }: { name: string; file: string }): DecodedType {
  if (isDecoded(type)) return type;
  const wanted = `${DECODED.slice(0, -1).join(", ")} or ${DECODED.at(-1)}`;
  throw new CheckpointError(
    "unread-type",
    `Cannot decode "${shown(name)}" of "${shown(file)}": it is ${type}, wanted ${wanted}`,
    { note: "Stitching copies blocks of any type: chimera build RECIPE -o CHILD.gguf" },
  );
}

/** F16 codes are decoded millions of times. */
let f16Values: Float32Array | undefined;

function f16Table(): Float32Array {
  f16Values ??= Float32Array.from({ length: 1 << 16 }, (_, code) => decodeF16(code));
  return f16Values;
}

/** Whole blocks to float32. */
export function decodeBlocks(type: DecodedType, bytes: Uint8Array): Float32Array {
  const { elements, bytes: blockBytes } = blockOf(type);
  const numBlocks = bytes.length / blockBytes;
  if (!Number.isInteger(numBlocks))
    throw new RangeError(
      `Cannot decode ${bytes.length} bytes of ${type}, wanted whole blocks of ${blockBytes}`,
    );
  const out = new Float32Array(numBlocks * elements);
  switch (type) {
    case "F32":
      new Uint8Array(out.buffer).set(bytes);
      break;
    case "BF16": {
      const words = new Uint32Array(out.buffer);
      const codes = halves(bytes);
      for (let i = 0; i < words.length; i++) words[i] = codes[i]! << 16;
      break;
    }
    case "F16": {
      const values = f16Table();
      const codes = halves(bytes);
      for (let i = 0; i < out.length; i++) out[i] = values[codes[i]!]!;
      break;
    }
    default: {
      const decode = DECODERS[type];
      for (let block = 0; block < numBlocks; block++)
        decode(bytes, block * blockBytes, out, block * elements);
    }
  }
  return out;
}

type BlockDecoder = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const DECODERS: Record<"Q8_0" | "Q4_K" | "Q5_K" | "Q6_K", BlockDecoder> = {
  Q8_0: (bytes, at, out, to) => {
    const scale = f16Table()[half(bytes, at)]!;
    for (let i = 0; i < 32; i++) out[to + i] = scale * ((bytes[at + 2 + i]! << 24) >> 24);
  },
  Q4_K: (bytes, at, out, to) => {
    decodeWithMinima(bytes, { at, codes: at + 16, highBits: undefined }, out, to);
  },
  Q5_K: (bytes, at, out, to) => {
    decodeWithMinima(bytes, { at, codes: at + 48, highBits: at + 16 }, out, to);
  },
  Q6_K: (bytes, at, out, to) => {
    // 128 bytes of low 4 bits, 64 of high 2 bits, 16 scales, d. Two halves of 128 elements each.
    const d = f16Table()[half(bytes, at + 208)]!;
    for (let element = 0; element < 256; element++) {
      const part = element >> 7;
      const within = element & 127;
      const row = within >> 5; // which of four rows of 32
      const low = bytes[at + 64 * part + (within & 63)]! >> (row >= 2 ? 4 : 0);
      const high = bytes[at + 128 + 32 * part + (within & 31)]! >> (2 * row);
      const scale = (bytes[at + 192 + (element >> 4)]! << 24) >> 24;
      out[to + element] = d * scale * (((low & 15) | ((high & 3) << 4)) - 32);
    }
  },
};

/** Q4_K and Q5_K: eight rows of 32 elements; two neighbouring rows share 32 bytes, low and high halves. */
function decodeWithMinima(
  bytes: Uint8Array,
  { at, codes, highBits }: { at: number; codes: number; highBits: number | undefined },
  out: Float32Array,
  to: number,
): void {
  const values = f16Table();
  const [d, dmin] = [values[half(bytes, at)]!, values[half(bytes, at + 2)]!];
  const packed = at + 4;
  for (let row = 0; row < 8; row++) {
    const low = bytes[packed + (row & 3)]!;
    const middle = bytes[packed + 4 + (row & 3)]!;
    const rest = bytes[packed + 4 + row]!;
    const scale = row < 4 ? low & 63 : (rest & 15) | ((low >> 6) << 4);
    const minimum = row < 4 ? middle & 63 : (rest >> 4) | ((middle >> 6) << 4);
    const [step, offset] = [d * scale, dmin * minimum];
    const shift = 4 * (row & 1);
    for (let i = 0; i < 32; i++) {
      let code = (bytes[codes + 32 * (row >> 1) + i]! >> shift) & 15;
      if (highBits !== undefined) code |= ((bytes[highBits + i]! >> row) & 1) << 4;
      out[to + 32 * row + i] = step * code - offset;
    }
  }
}

/** Bytes as words of 16 bits; copied where they do not lie at an even place. */
function halves(bytes: Uint8Array): Uint16Array {
  const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(even.buffer, even.byteOffset, even.length / 2);
}

function half(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

/** Index of the first value that the type cannot hold: NaN, infinities, and for F16 what would become one; -1: none. */
export function firstUnfit(type: EncodedType, values: Float32Array): number {
  const limit = type === "F16" ? F16_LIMIT : type === "Q8_0" ? 127 * F16_LIMIT : Infinity;
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]!) < limit)) return i;
  return -1;
}

/** Elements as GGUF stores them: whole blocks of finite values. Little endian, as all machines here are. */
export function encodeBlocks(type: EncodedType, values: Float32Array): Uint8Array {
  switch (type) {
    case "F32":
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "F16":
      return encodeF16s(values);
    case "BF16":
      return encodeBf16(values);
    case "Q8_0":
      return encodeQ8(values);
    default:
      throw new Error(`internal: no encoding of ${type satisfies never}`);
  }
}

/** As encodeF16(), for millions of finite values: on the bits of the floats, ties to even. */
function encodeF16s(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(values.length);
  for (let i = 0; i < codes.length; i++) {
    const word = bits[i]!;
    const magnitude = word & 0x7fffffff;
    const sign = (word >>> 16) & 0x8000;
    if (magnitude >= 0x38800000) {
      // From 2^-14 on: 13 bits of the fraction go, and the exponent counts from 15 instead of 127.
      codes[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else codes[i] = sign | halfToEven(Math.abs(values[i]!) * 2 ** 24);
  }
  return new Uint8Array(codes.buffer);
}

function halfToEven(steps: number): number {
  const floor = Math.floor(steps);
  const rest = steps - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** Rounds to nearest, ties to even: a carry runs into the exponent, as it should. */
function encodeBf16(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(values.length);
  for (let i = 0; i < codes.length; i++) {
    const word = bits[i]!;
    codes[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return new Uint8Array(codes.buffer);
}

function encodeQ8(values: Float32Array): Uint8Array {
  const { elements, bytes: blockBytes } = blockOf("Q8_0");
  const numBlocks = values.length / elements;
  if (!Number.isInteger(numBlocks))
    throw new RangeError(`Cannot encode ${values.length} elements as Q8_0, wanted a multiple of ${elements}`);
  const bytes = new Uint8Array(numBlocks * blockBytes);
  const scales = new Float32Array(numBlocks);
  for (let block = 0; block < numBlocks; block++) {
    const from = block * elements;
    let largest = 0;
    for (let i = from; i < from + elements; i++) largest = Math.max(largest, Math.abs(values[i]!));
    const scale = Math.fround(largest / 127);
    scales[block] = scale;
    const exact = Math.fround(1 / scale);
    const inverse = exact === Infinity ? 0 : exact; // what is stored of so small a scale is 0, too
    const to = block * blockBytes + 2;
    for (let i = 0; i < elements; i++) {
      const steps = Math.fround(values[from + i]! * inverse);
      // Halves go up without a branch that nobody can foresee; the sum is exact where that matters.
      const code = ((steps + 128.5) | 0) - 128;
      bytes[to + i] = code - steps === 0.5 && steps < 0 ? code - 1 : code;
    }
  }
  const codes = encodeF16s(scales);
  for (let block = 0; block < numBlocks; block++) {
    bytes[block * blockBytes] = codes[2 * block]!;
    bytes[block * blockBytes + 1] = codes[2 * block + 1]!;
  }
  return bytes;
}
