/**
 * Checkpoints for tests: written and read by the definition of the format, not by the code under test.
 *
 * rawShard() makes files that no writer would; writeCheckpoint() and readCheckpointTensors() are what most
 * tests need. The definition: 8 bytes of header length (little endian), JSON, data without holes.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Dtype } from "../../src/tensor/dtype.ts";

export interface TensorContent {
  dtype: Dtype;
  shape: number[];
  bytes: Uint8Array;
}

export interface TestTensor extends TensorContent {
  name: string;
}

export interface TestShard {
  name: string;
  tensors: readonly TestTensor[];
  /** {"format": "pt"} when left out. */
  metadata?: Record<string, string>;
}

export interface TestCheckpoint {
  /** Text is written as it is; left out, there is no config.json. */
  config?: object | string;
  shards: readonly TestShard[];
  /**
   * The index: made when there are several shards and this is left out; `false` for none, `true` for one
   * in any case, text to write it as it is.
   */
  index?: boolean | string;
  /** Other files by name. */
  files?: Record<string, string | Uint8Array>;
}

/** A file of this header text and data; `length` may lie about the header. */
export function rawShard(
  header: string | Uint8Array,
  data: number | Uint8Array = 0,
  length?: bigint,
): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = typeof data === "number" ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + json.length + bytes.length);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  file.set(bytes, 8 + json.length);
  return file;
}

/** A well-formed shard with its tensors in the order given. */
export function shardBytes(
  tensors: readonly TestTensor[],
  metadata: Record<string, string> = { format: "pt" },
): Uint8Array {
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [["__metadata__", metadata]] : [];
  let position = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    entries.push([name, { dtype, shape, data_offsets: [position, position + bytes.length] }]);
    position += bytes.length;
  }
  // Text by text: as the key of an object, "__proto__" would be lost and "7" would move to the front.
  const text = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",")}}`;
  const padding = " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8);
  return rawShard(text + padding, Buffer.concat(tensors.map(({ bytes }) => bytes)));
}

/** The text of an index; total_size counts the bytes of tensors. */
export function indexText(shards: readonly TestShard[]): string {
  const tensors = shards.flatMap(({ tensors }) => tensors);
  const total = tensors.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const lines = shards.flatMap(({ name: shard, tensors }) =>
    tensors.map(({ name }) => `    ${JSON.stringify(name)}: ${JSON.stringify(shard)}`),
  );
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${lines.join(",\n")}\n  }\n}\n`;
}

/** Writes a checkpoint into a folder, which is made when it is missing. Returns the folder. */
export function writeCheckpoint(folder: string, { config, shards, index, files }: TestCheckpoint): string {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
  if (config !== undefined) {
    write("config.json", typeof config === "string" ? config : `${JSON.stringify(config, null, 2)}\n`);
  }
  for (const { name, tensors, metadata } of shards) write(name, shardBytes(tensors, metadata));
  const wanted = index ?? shards.length > 1;
  if (wanted !== false) write("model.safetensors.index.json", wanted === true ? indexText(shards) : wanted);
  for (const [name, content] of Object.entries(files ?? {})) write(name, content);
  return folder;
}

/** Every tensor of every *.safetensors file of a folder. Throws when a name stands in two files. */
export function readCheckpointTensors(folder: string): Map<string, TensorContent> {
  const tensors = new Map<string, TensorContent>();
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith(".safetensors")) continue;
    for (const [name, content] of readShardTensors(readFileSync(join(folder, file)))) {
      if (tensors.has(name)) throw new Error(`"${name}" stands in two shards of "${folder}"`);
      tensors.set(name, content);
    }
  }
  return tensors;
}

/** The tensors of one well-formed file, in the order of its header. */
export function readShardTensors(file: Uint8Array): Map<string, TensorContent> {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Record<
    string,
    HeaderEntry
  >;
  const tensors = new Map<string, TensorContent>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = data_offsets;
    // A copy: comparisons of Uint8Array and Buffer are never equal.
    const bytes = Uint8Array.from(file.subarray(8 + length + begin, 8 + length + end));
    tensors.set(name, { dtype, shape, bytes });
  }
  return tensors;
}

interface HeaderEntry {
  dtype: Dtype;
  shape: number[];
  data_offsets: [number, number];
}
