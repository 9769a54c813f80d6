/**
 * The header of a safetensors file: 8 bytes of length, then JSON that says where each tensor lies.
 *
 * One validation serves reader and writer. It holds what checkpoint-format.md section 6 demands: offsets
 * cover the data without hole or overlap, lengths agree with shape and type, names are unique, and every
 * number is a safe integer. Files come from strangers: the header is capped before it is read, and nothing
 * is allocated by a number that was not checked against the file.
 */
import { CheckpointError } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import { nearest } from "../base/nearest.ts";
import { byteLengthOf, DTYPES, type Dtype, formatShape, isDtype } from "../tensor/dtype.ts";
import { shown } from "./shown.ts";
import type { Source } from "./source.ts";
import { type JsonScanner, scanJson } from "./strict-json.ts";

/** Stands for the name in messages about a header that is being made. */
const NEW_FILE = "(new shard)";
/** The reference implementation's cap. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_DIMENSIONS = 32;
const OPEN_BRACE = 0x7b;
const PARTIAL = "The download may be partial";
/** "version ", read as a header's length: the first word of a Git LFS pointer. */
const LFS_POINTER = 0x206e6f6973726576n;

/** A header entry. Offsets count from the start of the file. */
export interface TensorInfo {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Position of the first byte in the file. Exceeds 2^32 in large files. */
  offset: number;
  byteLength: number;
}

export interface ShardHeader {
  /** The entries of `__metadata__`, in file order. */
  metadata: Map<string, string>;
  /** In the order of their data. */
  tensors: TensorInfo[];
  /** Where tensor data begins: 8 + header length. */
  dataStart: number;
  fileBytes: number;
}

/** Reads and validates the header of an open shard, which messages call `name`. Throws CheckpointError. */
export async function readHeader(source: Source, name: string = source.name): Promise<ShardHeader> {
  const { byteLength: fileBytes } = source;
  const fail = (code: string, what: string, note?: string): never => {
    throw new CheckpointError(code, `Cannot read "${shown(name)}": ${what}`, note ? { note } : {});
  };
  if (fileBytes < 8) fail("truncated", `the file holds ${fileBytes} bytes, wanted at least 8`, PARTIAL);
  const prefix = new Uint8Array(8);
  await source.read(prefix, 0);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    const note =
      length === LFS_POINTER ? "This is a Git LFS pointer instead of the file: run git lfs pull" : undefined;
    failOnSize(length.toLocaleString("en-US"), name, note);
  }
  if (Number(length) > fileBytes - 8) {
    const values = `header length is ${formatInteger(Number(length))} bytes`;
    fail("truncated", `${values}, the file holds ${formatInteger(fileBytes - 8)} after it`, PARTIAL);
  }
  const json = new Uint8Array(Number(length));
  await source.read(json, 8);
  return parseHeader(json, { file: name, fileBytes });
}

function failOnSize(length: string, file: string, note?: string): never {
  const limit = formatInteger(MAX_HEADER_BYTES);
  const what = `header length is ${length} bytes, wanted at most ${limit}`;
  throw new CheckpointError(
    "header-too-large",
    `Cannot read "${shown(file)}": ${what}`,
    note ? { note } : {},
  );
}

/** Validates the JSON bytes of a header against the size of its file. Throws CheckpointError. */
export function parseHeader(json: Uint8Array, { file, fileBytes }: HeaderContext): ShardHeader {
  if (json.length > MAX_HEADER_BYTES) failOnSize(formatInteger(json.length), file);
  return validateLayout(scanHeader(json, file), 8 + json.length, { file, fileBytes });
}

export interface HeaderContext {
  file: string;
  fileBytes: number;
}

interface RawTensor {
  name: string;
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

function scanHeader(json: Uint8Array, file: string): { metadata: Map<string, string>; tensors: RawTensor[] } {
  const metadata = new Map<string, string>();
  const tensors: RawTensor[] = [];
  const seen = new Set<string>();
  const scanEntry = (scanner: JsonScanner, name: string) => {
    if (seen.has(name)) scanner.fail(`found "${shown(name)}" twice, wanted each name once`);
    seen.add(name);
    if (name !== "__metadata__") {
      tensors.push(scanTensor(scanner, name));
      return;
    }
    scanner.object((key) => {
      if (metadata.has(key))
        scanner.fail(`found "${shown(key)}" twice in __metadata__, wanted each key once`);
      metadata.set(key, scanner.string());
    });
  };
  scanJson(json, { file, code: "header-json" }, (scanner) => {
    // JSON may begin with space; a header may not.
    if (json[0] !== OPEN_BRACE) scanner.fail("the header does not start with {");
    scanner.object((name) => scanEntry(scanner, name));
  });
  return { metadata, tensors };
}

function scanTensor(scanner: JsonScanner, name: string): RawTensor {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scanner.object((key) => {
    const once = (value: unknown) => {
      if (value !== undefined) scanner.fail(`found "${key}" twice in the entry of "${shown(name)}"`);
    };
    if (key === "dtype") {
      once(dtype);
      dtype = scanner.string();
    } else if (key === "shape") {
      once(shape);
      const dims: number[] = [];
      scanner.array(MAX_DIMENSIONS, () => dims.push(scanner.integer("dimension", name)));
      shape = dims;
    } else if (key === "data_offsets") {
      once(offsets);
      const pair: number[] = [];
      scanner.array(2, () => pair.push(scanner.integer("offset", name)));
      offsets = pair;
    } else {
      scanner.fail(
        `found key "${shown(key)}" in the entry of "${shown(name)}", wanted dtype, shape, data_offsets`,
      );
    }
  });
  if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
    const missing = dtype === undefined ? "dtype" : shape === undefined ? "shape" : "two data_offsets";
    return scanner.fail(`the entry of "${shown(name)}" has no ${missing}`);
  }
  return { name, dtype, shape, begin: offsets[0]!, end: offsets[1]! };
}

function validateLayout(
  { metadata, tensors }: ReturnType<typeof scanHeader>,
  dataStart: number,
  { file, fileBytes }: HeaderContext,
): ShardHeader {
  const fail = (code: string, name: string, what: string, note?: string): never => {
    throw new CheckpointError(
      code,
      `Cannot read "${shown(name)}" in "${shown(file)}": ${what}`,
      note ? { note } : {},
    );
  };
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  const dataBytes = fileBytes - dataStart;
  let position = 0;
  const infos: TensorInfo[] = [];
  for (const { name, dtype, shape, begin, end } of tensors) {
    if (!isDtype(dtype)) {
      const known = nearest(dtype, DTYPES);
      const note = known ? `Did you mean ${known}?` : `Known types: ${DTYPES.join(", ")}`;
      return fail("unknown-dtype", name, `dtype is "${shown(dtype)}", wanted a safetensors type`, note);
    }
    if (end < begin) fail("bad-offsets", name, `data_offsets are [${begin}, ${end}], wanted end >= begin`);
    const byteLength = byteLengthOf(dtype, shape);
    if (Number.isNaN(byteLength)) throw badShape({ name, dtype, shape }, file);
    if (end - begin !== byteLength) {
      const given = `data_offsets span ${formatInteger(end - begin)} bytes`;
      const wanted = `${dtype} ${formatShape(shape)} wants ${formatInteger(byteLength)}`;
      fail("length-mismatch", name, `${given}, ${wanted}`);
    }
    if (begin !== position) {
      const what = begin < position ? "overlaps the tensor before it" : "leaves a gap before it";
      fail(
        begin < position ? "overlap" : "gap",
        name,
        `it begins at ${begin} and ${what}, wanted ${position}`,
      );
    }
    position = end;
    if (end > dataBytes) {
      const held = formatInteger(Math.max(0, dataBytes));
      fail("truncated", name, `its data ends at byte ${formatInteger(end)}, the file holds ${held}`, PARTIAL);
    }
    infos.push({ name, dtype, shape, offset: dataStart + begin, byteLength });
  }
  if (position !== dataBytes) {
    const [said, held] = [formatInteger(position), formatInteger(dataBytes)];
    throw new CheckpointError(
      "trailing-data",
      `Cannot read "${shown(file)}": its header describes ${said} bytes of data, the file holds ${held}`,
    );
  }
  return { metadata, tensors: infos, dataStart, fileBytes };
}

function badShape({ name, dtype, shape }: HeaderEntry, file: string): CheckpointError {
  const what = `${shown(dtype)} ${formatShape(shape)} has no whole number of bytes below 2^53`;
  return new CheckpointError("bad-shape", `Cannot read "${shown(name)}" in "${shown(file)}": ${what}`);
}

/** What a header is made of: names, types and shapes in the order of the data. */
export interface HeaderEntry {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
}

/**
 * The first bytes of a safetensors file: length and JSON, padded with spaces so that data starts on a
 * multiple of 8. Entries follow one another without gaps. As the reference writer does it, so that equal
 * tensors in equal order give equal bytes. Throws CheckpointError where the reader would.
 */
export function encodeHeader(
  entries: readonly HeaderEntry[],
  metadata: ReadonlyMap<string, string>,
): Uint8Array {
  const parts: string[] = [];
  if (metadata.size > 0) {
    const pairs = [...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    parts.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  let position = 0;
  for (const { name, dtype, shape } of entries) {
    const byteLength = byteLengthOf(dtype, shape);
    if (Number.isNaN(byteLength)) throw badShape({ name, dtype, shape }, NEW_FILE);
    const begin = position;
    position += byteLength;
    const offsets = `[${begin},${position}]`;
    parts.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":${offsets}}`);
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const padded = Math.ceil((8 + json.length) / 8) * 8 - 8;
  const bytes = new Uint8Array(8 + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  parseHeader(bytes.subarray(8), { file: NEW_FILE, fileBytes: bytes.length + position });
  return bytes;
}
