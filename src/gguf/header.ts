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
import { Cursor, EndOfBytes, type GgufValue, MAX_HEAD_BYTES } from "./cursor.ts";
import { type GgufType, ggufByteLength, typeOfNumber } from "./types.ts";
import { ALIGNMENT, aligned, type EncodedValue, MAGIC } from "./write.ts";

const FIRST_READ = 1 << 20;
/** Each takes some hundred bytes of memory. DeepSeek's largest have 1,100 tensors, with single experts 47,000. */
const MAX_TENSORS = 1 << 18;
const MAX_PAIRS = 1 << 16;
const MAX_DIMENSIONS = 4;
const MAX_ALIGNMENT = 1 << 16;
/** The least that a key with its value and an entry of a tensor take. */
const LEAST_PAIR = 13;
const LEAST_ENTRY = 24;
const LFS_POINTER = "vers";
const PARTIAL = "The download may be partial";

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
