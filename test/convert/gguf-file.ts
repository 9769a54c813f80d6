/** A GGUF file read by the definition of the format, not by the code under test. */
import { readFileSync } from "node:fs";

export interface GgufTensor {
  /** As in the file: innermost first. */
  dims: number[];
  type: number;
  /** From the beginning of the data. */
  offset: number;
}

export interface GgufFile {
  version: number;
  metadata: Map<string, number | string | boolean | string[] | number[]>;
  tensors: Map<string, GgufTensor>;
  /** What follows the header, from a multiple of 32 on. */
  data: Buffer;
}

export function readGguf(path: string): GgufFile {
  const file = readFileSync(path);
  let at = 0;
  const skip = (count: number) => {
    at += count;
    return at - count;
  };
  const u32 = () => file.readUInt32LE(skip(4));
  const u64 = () => Number(file.readBigUInt64LE(skip(8)));
  const text = () => {
    const length = u64();
    return file.toString("utf8", skip(length), at);
  };
  const value = (type: number): number | string | boolean | string[] | number[] => {
    if (type === 4) return u32();
    if (type === 6) return file.readFloatLE(skip(4));
    if (type === 7) return file.readUInt8(skip(1)) === 1;
    if (type === 8) return text();
    if (type === 9) {
      const of = u32();
      if (of === 5) return Array.from({ length: u64() }, u32);
      if (of !== 8) throw new Error("an array of something else than strings");
      return Array.from({ length: u64() }, text);
    }
    throw new Error(`type ${type} of a value`);
  };
  if (file.toString("latin1", skip(4), at) !== "GGUF") throw new Error("no GGUF file");
  const version = u32();
  const numTensors = u64();
  const numKeys = u64();
  const metadata: GgufFile["metadata"] = new Map();
  for (let i = 0; i < numKeys; i++) {
    const key = text();
    metadata.set(key, value(u32()));
  }
  const tensors = new Map<string, GgufTensor>();
  for (let i = 0; i < numTensors; i++) {
    const name = text();
    const dims = Array.from({ length: u32() }, u64);
    tensors.set(name, { dims, type: u32(), offset: u64() });
  }
  return { version, metadata, tensors, data: file.subarray(Math.ceil(at / 32) * 32) };
}

/** Elements of a block and its bytes, by the number of a type. */
export const BLOCKS: Record<number, [number, number]> = { 0: [1, 4], 1: [1, 2], 8: [32, 34], 30: [1, 2] };

export function floatsOf(file: GgufFile, name: string): Float32Array {
  const { dims, type, offset } = file.tensors.get(name)!;
  if (type !== 0) throw new Error(`${name} is of type ${type}`);
  const count = dims.reduce((product, dim) => product * dim, 1);
  return Float32Array.from({ length: count }, (_, i) => file.data.readFloatLE(offset + 4 * i));
}
