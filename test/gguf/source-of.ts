/** Bytes as a source, a head as bytes: for tests of the reader. Written from the format, not with the writer. */

import type { Source } from "../../src/checkpoint/source.ts";
import { MemoryStore } from "../support/memory-store.ts";

export function sourceOf(bytes: Uint8Array): Promise<Source> {
  return new MemoryStore({ "x.gguf": bytes }).open("x.gguf");
}

/** A source that says it is longer than its bytes: zeros follow. */
export async function longSource(bytes: Uint8Array, byteLength: number): Promise<Source> {
  const source = await sourceOf(bytes);
  return {
    name: source.name,
    byteLength,
    identity: "long",
    alignment: 1,
    read: async (into, offset) => {
      into.fill(0);
      into.set(bytes.subarray(offset, offset + into.length));
    },
    checkUnchanged: async () => {},
    close: async () => {},
  };
}

export const u8 = (value: number): Buffer => Buffer.of(value);

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

export function pair(key: string, type: number, ...value: Buffer[]): Buffer {
  return Buffer.concat([text(key), u32(type), ...value]);
}

/** `dims` as in the file: innermost first. */
export function entry(
  name: string,
  { dims, type, offset }: { dims: (number | bigint)[]; type: number; offset: number | bigint },
): Buffer {
  return Buffer.concat([text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]);
}

export interface Head {
  magic?: string;
  version?: number;
  numTensors?: number | bigint;
  numPairs?: number | bigint;
  pairs?: Buffer[];
  entries?: Buffer[];
  /** Of the data behind the head. */
  dataBytes?: number;
  alignment?: number;
}

export function gguf(head: Head): Buffer {
  const { magic = "GGUF", version = 3, pairs = [], entries = [], dataBytes = 0, alignment = 32 } = head;
  const bytes = Buffer.concat([
    Buffer.from(magic, "latin1"),
    u32(version),
    u64(head.numTensors ?? entries.length),
    u64(head.numPairs ?? pairs.length),
    ...pairs,
    ...entries,
  ]);
  const padded = Math.ceil(bytes.length / alignment) * alignment;
  return Buffer.concat([bytes, Buffer.alloc(padded - bytes.length + dataBytes)]);
}
