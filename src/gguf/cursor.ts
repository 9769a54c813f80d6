/**
 * Going through the bytes of a GGUF's head, value by value. A count is held against what the file can hold before
 * anything is made room for.
 */
import { CheckpointError } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import { shown } from "../base/shown.ts";
import { VALUE_TYPES } from "./write.ts";

/** The head of a file. The largest seen is 12 MB: a vocabulary of 164,000 tokens with its merges. */
export const MAX_HEAD_BYTES = 100_000_000;
/** ggml's own names are shorter: 64 bytes. */
const MAX_NAME_BYTES = 65_535;
const LEAST_STRING = 8;

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

/** The head goes on behind the bytes that were given. */
export class EndOfBytes extends Error {}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

export class Cursor {
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
