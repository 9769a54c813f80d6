/**
 * What is in a checkpoint's folder, as one hash: tells whether it is still what an evaluation was made of.
 *
 * Small checkpoints are read whole. Of large ones (690 GB would take half an hour) the small files are, and of
 * shards the header, the size and when they were written: a shard that is replaced is noticed, a bit that rots is not.
 */
import { createHash, type Hash } from "node:crypto";
import { ggufOf } from "./gguf-store.ts";
import { PULLED_NAME, parsePulled } from "./pulled.ts";
import type { Source, Store, StoreEntry } from "./source.ts";
import { openStore } from "./stores.ts";

/** Up to here everything is read: a moment's work. */
const WHOLE_BYTES = 256e6;
/** Configs, tokenizers, templates; no shard of any use is smaller. */
const SMALL_BYTES = 64e6;
const HEADER_BYTES = 1 << 20;
const READ_BYTES = 1 << 22;

/** What decides how a checkpoint answers. Notes, pictures and the build's own record do not. */
const COUNTS = /\.(safetensors|json|jinja|model|txt)$/;
const NOT = /^(chimera\.json|LICENSE.*|README.*)$/;

export interface FingerprintOptions {
  /** Folders up to this size are read whole. */
  wholeBytes?: number;
  /** Of each shard of larger ones. */
  headerBytes?: number;
}

/** SHA-256 in hex. Throws CheckpointError for a folder that cannot be read. */
export async function folderFingerprint(
  location: string,
  { wholeBytes = WHOLE_BYTES, headerBytes = HEADER_BYTES }: FingerprintOptions = {},
): Promise<string> {
  const { store, files } = await filesThatCount(openStore(location));
  const total = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const hash = createHash("sha256");
  const list = files.some(({ name }) => name === PULLED_NAME) && (await store.readSmall(PULLED_NAME));
  const pulled = list ? parsePulled(new TextDecoder().decode(list), PULLED_NAME).shards : {};
  for (const { name, byteLength } of files.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const source = await store.open(name);
    try {
      const isWhole =
        total <= wholeBytes || (byteLength <= SMALL_BYTES && !/\.(safetensors|gguf)$/i.test(name));
      hash.update(`${name}\n${byteLength}\n`);
      if (!isWhole) hash.update(`${source.identity}\n`);
      const most = isWhole ? byteLength : Math.min(byteLength, headerBytes);
      // Of what was pulled in parts, the parts: the list, which is hashed as well, says which.
      const runs = Object.hasOwn(pulled, name) ? pulled[name]! : [[0, byteLength] as const];
      source.expect?.(runs.map(([from, to]) => ({ offset: from, byteLength: Math.min(to, most) - from })));
      for (const [from, to] of runs) await hashRun(source, { from, to: Math.min(to, most) }, hash);
    } finally {
      await source.close();
    }
  }
  return hash.digest("hex");
}

/** Of a GGUF its files as they are, not the checkpoint that they are shown as: that would be decoded to be hashed. */
async function filesThatCount(store: Store): Promise<{ store: Store; files: StoreEntry[] }> {
  const gguf = ggufOf(store);
  if (gguf) return gguf.stored();
  return { store, files: (await store.list()).filter(({ name }) => COUNTS.test(name) && !NOT.test(name)) };
}

async function hashRun(
  source: Source,
  { from: start, to: end }: { from: number; to: number },
  hash: Hash,
): Promise<void> {
  if (end <= start) return;
  const buffer = new Uint8Array(Math.min(READ_BYTES, end - start));
  for (let from = start; from < end; from += buffer.length) {
    const some = buffer.subarray(0, Math.min(buffer.length, end - from));
    await source.read(some, from);
    hash.update(some);
  }
}
