/**
 * Writing the head of a GGUF file, version 3: magic, counts, key-value pairs, one entry per tensor. Little endian.
 *
 * An entry names dimensions from the innermost on, the other way round than safetensors, and an offset from
 * the beginning of the data; that and every tensor begin on a multiple of the alignment.
 */
import { type GgufType, ggufByteLength, numberOfType } from "./types.ts";

export const ALIGNMENT = 32;
export const MAGIC = "GGUF";
export const VERSION = 3;

/** Numbers of the types of values in the file. */
export const VALUE_TYPES = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

/** A value as the file has it, its type first: what a stitched file takes over without looking into it. */
export type EncodedValue = Uint8Array;
/** By key, in the order of the file. */
export type EncodedMetadata = ReadonlyMap<string, EncodedValue>;

export interface TensorEntry {
  name: string;
  type: GgufType;
  /** Outermost first, as in safetensors. */
  shape: readonly number[];
}

const encoder = new TextEncoder();

export const u32 = (value: number): EncodedValue => typed("u32", u32Bytes(value));
export const f32 = (value: number): EncodedValue =>
  typed(
    "f32",
    littleEndian(4, (v) => v.setFloat32(0, value, true)),
  );
export const bool = (value: boolean): EncodedValue => typed("bool", Uint8Array.of(value ? 1 : 0));
export const string = (value: string): EncodedValue => typed("string", stringBytes(value));
export const strings = (values: readonly string[]): EncodedValue =>
  typed("array", u32Bytes(VALUE_TYPES.string), u64Bytes(values.length), ...values.map(stringBytes));
export const i32s = (values: readonly number[]): EncodedValue =>
  typed(
    "array",
    u32Bytes(VALUE_TYPES.i32),
    u64Bytes(values.length),
    ...values.map((value) => u32Bytes(value)),
  );

export function aligned(byteLength: number, alignment: number = ALIGNMENT): number {
  return Math.ceil(byteLength / alignment) * alignment;
}

/** Bytes of a tensor. Throws RangeError where its rows are no whole blocks. */
export function entryByteLength({ name, type, shape }: TensorEntry): number {
  const byteLength = ggufByteLength(type, shape);
  if (!Number.isNaN(byteLength)) return byteLength;
  throw new RangeError(
    `Cannot store "${name}" [${shape.join(", ")}] as ${type}: its rows are no whole blocks`,
  );
}

/** Everything before the data, padded; tensors follow in this order, each padded. */
export function encodeGgufHeader(
  metadata: EncodedMetadata,
  tensors: readonly TensorEntry[],
  alignment: number = ALIGNMENT,
): Uint8Array {
  const parts: Uint8Array[] = [
    encoder.encode(MAGIC),
    u32Bytes(VERSION),
    u64Bytes(tensors.length),
    u64Bytes(metadata.size),
  ];
  for (const [key, value] of metadata) parts.push(stringBytes(key), value);
  let offset = 0;
  for (const tensor of tensors) {
    parts.push(stringBytes(tensor.name), u32Bytes(tensor.shape.length));
    for (const dim of tensor.shape.toReversed()) parts.push(u64Bytes(dim));
    parts.push(u32Bytes(numberOfType(tensor.type)), u64Bytes(offset));
    offset += aligned(entryByteLength(tensor), alignment);
  }
  const header = joinedBytes(parts);
  const padded = new Uint8Array(aligned(header.length, alignment));
  padded.set(header);
  return padded;
}

function typed(type: keyof typeof VALUE_TYPES, ...payload: Uint8Array[]): EncodedValue {
  return joinedBytes([u32Bytes(VALUE_TYPES[type]), ...payload]);
}

function stringBytes(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  return joinedBytes([u64Bytes(bytes.length), bytes]);
}

function littleEndian(size: number, set: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  set(new DataView(bytes.buffer));
  return bytes;
}

function u32Bytes(value: number): Uint8Array {
  return littleEndian(4, (view) => view.setUint32(0, value, true));
}

function u64Bytes(value: number): Uint8Array {
  return littleEndian(8, (view) => view.setBigUint64(0, BigInt(value), true));
}

function joinedBytes(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
