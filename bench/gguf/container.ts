/**
 * The GGUF container, version 3: magic, counts, key-value pairs, one entry per tensor, data. All little endian.
 *
 * An entry names dimensions from the innermost on, the other way round than safetensors, and an offset from
 * the beginning of the data; that and every tensor begin on a multiple of 32.
 */

export const ALIGNMENT = 32;
const VERSION = 3;

/** A value with the type that the reader of a key insists on. */
export type Value =
  | { type: "u32"; value: number }
  | { type: "f32"; value: number }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: string }
  | { type: "strings"; value: readonly string[] };

export const u32 = (value: number): Value => ({ type: "u32", value });
export const f32 = (value: number): Value => ({ type: "f32", value });
export const bool = (value: boolean): Value => ({ type: "bool", value });
export const string = (value: string): Value => ({ type: "string", value });
export const strings = (value: readonly string[]): Value => ({ type: "strings", value });

/** Numbers of the types in the file. */
const VALUE_TYPES = { u32: 4, f32: 6, bool: 7, string: 8, strings: 9 } as const;
const TENSOR_TYPES = { F32: 0, Q8_0: 8, BF16: 30 } as const;

export type TensorType = keyof typeof TENSOR_TYPES;

/** Elements that are stored together, and bytes that they take. */
const BLOCKS: Record<TensorType, { elements: number; bytes: number }> = {
  F32: { elements: 1, bytes: 4 },
  BF16: { elements: 1, bytes: 2 },
  Q8_0: { elements: 32, bytes: 34 },
};

export interface TensorEntry {
  name: string;
  type: TensorType;
  /** Outermost first, as in safetensors. */
  shape: readonly number[];
}

export function byteLengthOf({ type, shape }: Pick<TensorEntry, "type" | "shape">): number {
  const { elements, bytes } = BLOCKS[type];
  const count = shape.reduce((product, dim) => product * dim, 1);
  if (shape.at(-1)! % elements !== 0) {
    throw new RangeError(
      `Cannot store rows of ${shape.at(-1)} as ${type}, wanted a multiple of ${elements} elements`,
    );
  }
  return (count / elements) * bytes;
}

export function aligned(byteLength: number): number {
  return Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
}

/** Everything before the data, padded; tensors follow in this order, each padded. */
export function encodeHeader(
  metadata: ReadonlyMap<string, Value>,
  tensors: readonly TensorEntry[],
): Uint8Array {
  const out = new Fields();
  out.bytes(new TextEncoder().encode("GGUF"));
  out.u32(VERSION);
  out.u64(tensors.length);
  out.u64(metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    out.u32(VALUE_TYPES[value.type]);
    out.value(value);
  }
  let offset = 0;
  for (const tensor of tensors) {
    out.string(tensor.name);
    out.u32(tensor.shape.length);
    for (const dim of tensor.shape.toReversed()) out.u64(dim);
    out.u32(TENSOR_TYPES[tensor.type]);
    out.u64(offset);
    offset += aligned(byteLengthOf(tensor));
  }
  const header = out.joined();
  const padded = new Uint8Array(aligned(header.length));
  padded.set(header);
  return padded;
}

class Fields {
  readonly #parts: Uint8Array[] = [];

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  u32(value: number): void {
    this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number): void {
    this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  value(value: Value): void {
    if (value.type === "u32") this.u32(value.value);
    else if (value.type === "f32") this.bytes(new Uint8Array(Float32Array.of(value.value).buffer));
    else if (value.type === "bool") this.bytes(Uint8Array.of(value.value ? 1 : 0));
    else if (value.type === "string") this.string(value.value);
    else {
      this.u32(VALUE_TYPES.string);
      this.u64(value.value.length);
      for (const text of value.value) this.string(text);
    }
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  joined(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}
