/**
 * A GGUF model: one file, or the parts of a split one, "NAME-00001-of-00003.gguf", of which any may be named.
 *
 * The first part holds the metadata, the others tensors. What the parts say of each other must agree, and no
 * tensor may be in two.
 */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "../base/shown.ts";
import type { Source, Store } from "../checkpoint/source.ts";
import { type GgufHeader, type GgufTensorInfo, type Metadatum, readGgufHeader } from "./header.ts";

const SPLIT_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s;
const SPLIT_KEYS = { number: "split.no", count: "split.count", tensors: "split.tensors.count" };

export interface GgufFile {
  name: string;
  header: GgufHeader;
  /** The source's identity when the head was read. */
  identity: string;
}

/** A tensor with the file that holds it. */
export interface GgufTensor extends GgufTensorInfo {
  file: string;
}

export interface GgufModel {
  store: Store;
  /** For messages: the name of the file that was asked for. */
  label: string;
  files: GgufFile[];
  /** Of the first file. */
  metadata: ReadonlyMap<string, Metadatum>;
  /** In the order of the files. */
  tensors: ReadonlyMap<string, GgufTensor>;
}

/** Reads the heads of a file, and of the other parts when it is one of a split. Throws CheckpointError. */
export async function openGguf(store: Store, name: string): Promise<GgufModel> {
  const files: GgufFile[] = [];
  for (const part of partsOf(name)) {
    let source: Source;
    try {
      source = await store.open(part);
    } catch (error) {
      if (part === name || !(error instanceof CheckpointError) || error.code !== "missing") throw error;
      const what = `Cannot open "${shown(name)}": its part "${shown(part)}" is not there`;
      throw new CheckpointError("missing-shard", what, { note: "The download may be partial" });
    }
    try {
      files.push({ name: part, header: await readGgufHeader(source, part), identity: source.identity });
    } finally {
      await source.close();
    }
  }
  const tensors = new Map<string, GgufTensor>();
  for (const { name: file, header } of files) {
    for (const tensor of header.tensors) {
      const other = tensors.get(tensor.name);
      if (other) {
        const where = `it is in "${shown(other.file)}" and in "${shown(file)}", wanted one`;
        throw new CheckpointError("duplicate-tensor", `Cannot place "${shown(tensor.name)}": ${where}`);
      }
      tensors.set(tensor.name, { ...tensor, file });
    }
  }
  checkSplit(files, tensors.size);
  return { store, label: name, files, metadata: files[0]!.header.metadata, tensors };
}

/** Names of all parts, in order; the name itself where it is none. */
function partsOf(name: string): string[] {
  const match = SPLIT_NAME.exec(name);
  const count = Number(match?.[3]);
  if (!match || count === 0) return [name];
  const five = (n: number) => String(n).padStart(5, "0");
  return Array.from({ length: count }, (_, i) => `${match[1]}-${five(i + 1)}-of-${match[3]}.gguf`);
}

function checkSplit(files: readonly GgufFile[], numTensors: number): void {
  for (const [index, { name, header }] of files.entries()) {
    const said = (key: string) => header.metadata.get(key)?.value;
    const check = (key: string, wanted: number, absent: number) => {
      const value = said(key) ?? absent;
      if (value === wanted) return;
      const found = said(key) === undefined ? "not there" : shown(JSON.stringify(value));
      const what = `Cannot read "${shown(name)}": ${key} is ${found}, wanted ${wanted}`;
      const note = files.length === 1 ? "It is a part of a split file under another name" : undefined;
      throw new CheckpointError("bad-split", what, note ? { note } : {});
    };
    const isSplit = files.length > 1;
    check(SPLIT_KEYS.number, index, isSplit ? -1 : 0);
    // A file that was joined may keep a count of 0.
    if (isSplit || said(SPLIT_KEYS.count) !== 0) check(SPLIT_KEYS.count, files.length, isSplit ? -1 : 1);
    if (isSplit) check(SPLIT_KEYS.tensors, numTensors, numTensors);
  }
}
