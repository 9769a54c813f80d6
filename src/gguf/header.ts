/**
 * Reading the head of a GGUF file, version 2 or 3, from whoever made it.
 *
 * Nothing it says is believed: a count, a length or an offset is held against the bytes that are there before
 * anything is allocated for it, so memory is bounded by the length of the head, and that by a limit. Tensors
 * must lie as ggml wants them: in the order of their entries, each at the next multiple of the alignment.
 */
import { CheckpointError } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import { shown } from "../base/shown.ts";
import type { Source } from "../checkpoint/source.ts";
import { type GgufType, ggufByteLength, typeOfNumber } from "./types.ts";
import { ALIGNMENT, aligned, type EncodedValue, MAGIC, VALUE_TYPES } from "./write.ts";

/** The head of a file. The largest seen is 12 MB: a vocabulary of 164,000 tokens with its merges. */
export const MAX_HEAD_BYTES = 100_000_000;
const FIRST_READ = 1 << 20;
/** Each takes some hundred bytes of memory. DeepSeek's largest have 1,100 tensors, with single experts 47,000. */
const MAX_TENSORS = 1 << 18;
const MAX_PAIRS = 1 << 16;
const MAX_DIMENSIONS = 4;
/** ggml's own names are shorter: 64 bytes. */
const MAX_NAME_BYTES = 65_535;
const MAX_ALIGNMENT = 1 << 16;
/** The least that a key with its value, an entry of a tensor, a string takes. */
const LEAST_PAIR = 13;
const LEAST_ENTRY = 24;
const LEAST_STRING = 8;
const LFS_POINTER = "vers";
const PARTIAL = "The download may be partial";

/** Arrays of numbers, no wider than in the file; of truths as 0 and 1. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** What a value says. Whole numbers of 64 bits may be inexact. */
export type GgufValue = number | boolean | string | GgufNumbers | readonly string[];

export interface Metadatum {
  value: GgufValue;
  /** As the file has it. */
  encoded: EncodedValue;
}

export interface GgufTensorInfo {
  name: string;
  type: GgufType;
  /** Outermost first, as in safetensors. */
  shape: readonly number[];
  /** Position in the file. */
  offset: number;
  byteLength: number;
}

export interface GgufHeader {
  version: number;
  alignment: number;
  metadata: Map<string, Metadatum>;
  /** In the order of the data. */
  tensors: GgufTensorInfo[];
  /** Where data begins. */
  dataStart: number;
  fileBytes: number;
}

/** Reads and checks the head of a file. Throws CheckpointError for what is malformed. */
export async function readGgufHeader(source: Source, file: string): Promise<GgufHeader> {
  const fileBytes = source.byteLength;
  for (
    let length = Math.min(fileBytes, FIRST_READ);
    ;
    length = Math.min(2 * length, fileBytes, MAX_HEAD_BYTES)
  ) {
    const bytes = new Uint8Array(length);
    await source.read(bytes, 0);
    const isAll = length === fileBytes || length === MAX_HEAD_BYTES;
    try {
      return parseGgufHeader(bytes, { file, fileBytes });
    } catch (error) {
      if (!(error instanceof EndOfBytes)) throw error;
      if (isAll) throw endOf(file, { length, fileBytes });
    }
  }
}

/** The head goes on behind the bytes that were given. */
class EndOfBytes extends Error {}

function endOf(file: string, { length, fileBytes }: { length: number; fileBytes: number }): CheckpointError {
  const what = `Cannot read "${shown(file)}"`;
  if (length < fileBytes) {
    const limit = formatInteger(MAX_HEAD_BYTES);
    return new CheckpointError("header-too-large", `${what}: its head takes more than ${limit} bytes`);
  }
  const held = `it ends at byte ${formatInteger(fileBytes)}, within its head`;
  return new CheckpointError("truncated", `${what}: ${held}`, { note: PARTIAL });
}

/** Parses the first bytes of a file. Throws EndOfBytes where they end too early. */
function parseGgufHeader(bytes: Uint8Array, context: { file: string; fileBytes: number }): GgufHeader {
  const { file, fileBytes } = context;
  const cursor = new Cursor(bytes, context);
  const magic = String.fromCharCode(...cursor.take(4));
  if (magic !== MAGIC) {
    const note =
      magic === LFS_POINTER
        ? "This may be a Git LFS pointer instead of the file: run git lfs pull"
        : undefined;
    cursor.fail("not-gguf", `it begins with ${JSON.stringify(shown(magic))}, wanted "${MAGIC}"`, note);
  }
  const version = cursor.u32();
  if (version !== 2 && version !== 3) {
    const isTurned = (version & 0xffff) === 0;
    cursor.fail(
      "gguf-version",
      isTurned ? "it is big-endian, wanted little-endian" : `its version is ${version}, wanted 2 or 3`,
    );
  }
  const numTensors = cursor.count("tensors", LEAST_ENTRY, MAX_TENSORS);
  const numPairs = cursor.count("key-value pairs", LEAST_PAIR, MAX_PAIRS);
  const metadata = new Map<string, Metadatum>();
  for (let i = 0; i < numPairs; i++) {
    const key = cursor.name("key");
    if (metadata.has(key)) cursor.fail("duplicate-key", `key "${shown(key)}" is there twice, wanted once`);
    const start = cursor.position;
    const value = cursor.value(key);
    metadata.set(key, { value, encoded: bytes.slice(start, cursor.position) });
  }
  const alignment = alignmentOf(metadata, cursor);
  const entries = Array.from({ length: numTensors }, () => entryOf(cursor));
  const dataStart = aligned(cursor.position, alignment);
  return {
    version,
    alignment,
    metadata,
    tensors: placed(entries, { dataStart, alignment, file, fileBytes }),
    dataStart,
    fileBytes,
  };
}

function alignmentOf(metadata: ReadonlyMap<string, Metadatum>, cursor: Cursor): number {
  const alignment = metadata.get("general.alignment")?.value ?? ALIGNMENT;
  const isFit =
    typeof alignment === "number" &&
    alignment >= 1 &&
    alignment <= MAX_ALIGNMENT &&
    Number.isInteger(Math.log2(alignment));
  if (!isFit) {
    const wanted = `a power of two up to ${formatInteger(MAX_ALIGNMENT)}`;
    cursor.fail(
      "bad-alignment",
      `general.alignment is ${shown(JSON.stringify(alignment))}, wanted ${wanted}`,
    );
  }
  return alignment as number;
}

interface Entry {
  name: string;
  type: GgufType;
  shape: number[];
  /** From the beginning of the data. */
  offset: number;
}

function entryOf(cursor: Cursor): Entry {
  const name = cursor.name("tensor's name");
  const what = `"${shown(name)}"`;
  const numDims = cursor.u32();
  if (numDims < 1 || numDims > MAX_DIMENSIONS)
    cursor.fail("bad-shape", `${what} has ${numDims} dimensions, wanted 1 to ${MAX_DIMENSIONS}`);
  const shape = Array.from({ length: numDims }, () => cursor.whole(`dimension of ${what}`)).reverse();
  const number = cursor.u32();
  const type = typeOfNumber(number);
  if (type === undefined)
    cursor.fail(
      "unknown-type",
      `${what} has type ${number}, wanted one that is known`,
      "The file may be of a newer llama.cpp",
    );
  return { name, type: type!, shape, offset: cursor.whole(`offset of ${what}`) };
}

function placed(
  entries: readonly Entry[],
  {
    dataStart,
    alignment,
    file,
    fileBytes,
  }: { dataStart: number; alignment: number; file: string; fileBytes: number },
): GgufTensorInfo[] {
  const fail = (code: string, name: string, what: string, note?: string): never => {
    const message = `Cannot read "${shown(name)}" in "${shown(file)}": ${what}`;
    throw new CheckpointError(code, message, note ? { note } : {});
  };
  const names = new Set<string>();
  let next = 0;
  return entries.map(({ name, type, shape, offset }) => {
    if (names.has(name)) fail("duplicate-tensor", name, "it is there twice, wanted once");
    names.add(name);
    const byteLength = ggufByteLength(type, shape);
    if (Number.isNaN(byteLength))
      fail(
        "bad-shape",
        name,
        `${type} [${shape.join(", ")}] has no whole blocks, or no number of bytes below 2^53`,
      );
    if (offset !== next) {
      const wanted = `wanted ${formatInteger(next)}, behind the tensor before it`;
      fail("bad-offsets", name, `its offset is ${formatInteger(offset)}, ${wanted}`);
    }
    const end = dataStart + offset + byteLength;
    if (!Number.isSafeInteger(end) || end > fileBytes) {
      const held = `the file holds ${formatInteger(fileBytes)}`;
      fail("truncated", name, `its data ends at byte ${formatInteger(end)}, ${held}`, PARTIAL);
    }
    next = offset + aligned(byteLength, alignment);
    return { name, type, shape, offset: dataStart + offset, byteLength };
  });
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

class Cursor {
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string;
  readonly #fileBytes: number;

  constructor(bytes: Uint8Array, { file, fileBytes }: { file: string; fileBytes: number }) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
    this.#fileBytes = fileBytes;
  }

  fail(code: string, what: string, note?: string): never {
    throw new CheckpointError(code, `Cannot read "${shown(this.#file)}": ${what}`, note ? { note } : {});
  }

  /** The next bytes, as a view. */
  take(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  /** A whole number of 64 bits that is a safe integer. */
  whole(what: string): number {
    const value = this.#view.getBigUint64(this.#advance(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      this.fail("too-large", `the ${what} is ${value}, wanted less than 2^53`);
    return Number(value);
  }

  /** How many of something follow, of which each takes so many bytes at least: no more than the file can hold. */
  count(what: string, leastBytes: number, limit: number = Number.POSITIVE_INFINITY): number {
    const count = this.whole(`number of ${what}`);
    const held = Math.floor((Math.min(this.#fileBytes, MAX_HEAD_BYTES) - this.position) / leastBytes);
    const most = Math.min(held, limit);
    if (count > most) {
      const wanted = `wanted at most ${formatInteger(Math.max(0, most))} in a file of ${formatInteger(this.#fileBytes)} bytes`;
      this.fail("too-many", `it tells of ${formatInteger(count)} ${what}, ${wanted}`);
    }
    return count;
  }

  name(what: string): string {
    const length = this.count(`bytes of a ${what}`, 1);
    if (length === 0 || length > MAX_NAME_BYTES)
      this.fail(
        "bad-name",
        `a ${what} has ${formatInteger(length)} bytes, wanted 1 to ${formatInteger(MAX_NAME_BYTES)}`,
      );
    try {
      return strict.decode(this.take(length));
    } catch (error) {
      if (error instanceof EndOfBytes) throw error;
      return this.fail("bad-name", `a ${what} is no UTF-8, wanted text`);
    }
  }

  value(key: string): GgufValue {
    const type = this.u32();
    if (type !== VALUE_TYPES.array) return this.#single(type, key);
    const of = this.u32();
    if (of === VALUE_TYPES.array)
      this.fail("bad-value", `"${shown(key)}" is an array of arrays, wanted one of numbers or strings`);
    const isText = of === VALUE_TYPES.string;
    const count = this.count(`elements of "${shown(key)}"`, isText ? LEAST_STRING : this.#sizeOf(of, key));
    if (isText) {
      const texts: string[] = [];
      for (let i = 0; i < count; i++) texts.push(this.#single(of, key) as string);
      return texts;
    }
    if (this.position + count * this.#sizeOf(of, key) > this.#bytes.length) throw new EndOfBytes();
    const numbers = numbersOf(of, count);
    for (let i = 0; i < count; i++) numbers[i] = Number(this.#single(of, key));
    return numbers;
  }

  #sizeOf(type: number, key: string): number {
    switch (type) {
      case VALUE_TYPES.u8:
      case VALUE_TYPES.i8:
      case VALUE_TYPES.bool:
        return 1;
      case VALUE_TYPES.u16:
      case VALUE_TYPES.i16:
        return 2;
      case VALUE_TYPES.u32:
      case VALUE_TYPES.i32:
      case VALUE_TYPES.f32:
        return 4;
      case VALUE_TYPES.u64:
      case VALUE_TYPES.i64:
      case VALUE_TYPES.f64:
        return 8;
      default:
        return this.fail("bad-value", `"${shown(key)}" has a value of type ${type}, wanted 0 to 12`);
    }
  }

  #single(type: number, key: string): number | boolean | string {
    if (type === VALUE_TYPES.string)
      return lenient.decode(this.take(this.count(`bytes of "${shown(key)}"`, 1)));
    const at = this.#advance(this.#sizeOf(type, key));
    const view = this.#view;
    switch (type) {
      case VALUE_TYPES.u8:
        return view.getUint8(at);
      case VALUE_TYPES.i8:
        return view.getInt8(at);
      case VALUE_TYPES.u16:
        return view.getUint16(at, true);
      case VALUE_TYPES.i16:
        return view.getInt16(at, true);
      case VALUE_TYPES.u32:
        return view.getUint32(at, true);
      case VALUE_TYPES.i32:
        return view.getInt32(at, true);
      case VALUE_TYPES.f32:
        return view.getFloat32(at, true);
      case VALUE_TYPES.u64:
        return Number(view.getBigUint64(at, true));
      case VALUE_TYPES.i64:
        return Number(view.getBigInt64(at, true));
      case VALUE_TYPES.f64:
        return view.getFloat64(at, true);
      default:
        return this.#bool(view.getUint8(at), key);
    }
  }

  #bool(byte: number, key: string): boolean {
    if (byte > 1) this.fail("bad-value", `"${shown(key)}" is a boolean of ${byte}, wanted 0 or 1`);
    return byte === 1;
  }

  #advance(length: number): number {
    const start = this.position;
    if (start + length > this.#bytes.length) throw new EndOfBytes();
    this.position = start + length;
    return start;
  }
}

/** Room for so many numbers of a type of values. */
function numbersOf(type: number, count: number): GgufNumbers {
  switch (type) {
    case VALUE_TYPES.u8:
    case VALUE_TYPES.bool:
      return new Uint8Array(count);
    case VALUE_TYPES.i8:
      return new Int8Array(count);
    case VALUE_TYPES.u16:
      return new Uint16Array(count);
    case VALUE_TYPES.i16:
      return new Int16Array(count);
    case VALUE_TYPES.u32:
      return new Uint32Array(count);
    case VALUE_TYPES.i32:
      return new Int32Array(count);
    case VALUE_TYPES.f32:
      return new Float32Array(count);
    default:
      return new Float64Array(count);
  }
}
