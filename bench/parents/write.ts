/**
 * Writing a synthetic parent: true headers, and data that is a hole in the file until it is asked for.
 *
 * In shards that are not filled, codes and BF16 are zeros that take no space on disk; only block scales hold
 * a value, as a scale of 0 is one that no quantiser writes and a build refuses it.
 */
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { weightNameOf } from "../../src/arch/scale-names.ts";
import { totalsByDtype } from "../../src/checkpoint/checkpoint.ts";
import { encodeHeader } from "../../src/checkpoint/header.ts";
import { formatShardIndex, INDEX_NAME } from "../../src/checkpoint/shard-index.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { Content } from "./content.ts";
import { type LayoutOptions, layOutParent, type ParentLayout, type ShardLayout } from "./layout.ts";
import { smallFiles } from "./small-files.ts";

export interface ParentOptions extends LayoutOptions {
  /** The text of config.json. */
  configText: string;
  seed: number;
  /** Numbers of the shards to fill, from 1; undefined: all. The others stay sparse. */
  filled?: ReadonlySet<number> | undefined;
  /** Whether its chat template opens the thinking trace. */
  thinks?: boolean;
  onShard?: (done: number, total: number) => void;
}

export interface ParentReport {
  folder: string;
  shards: number;
  filledShards: number;
  tensors: number;
  tensorBytes: number;
  /** Of all shards, headers included. */
  fileBytes: number;
  /** What all files take on disk. */
  diskBytes: number;
  dtypes: Map<Dtype, { tensors: number; elements: number; bytes: number }>;
}

/** Writes a checkpoint into a folder, which must be empty or missing. */
export function writeParent(folder: string, options: ParentOptions): ParentReport {
  const layout = layOutParent(JSON.parse(options.configText), options);
  mkdirSync(folder, { recursive: true });
  const found = readdirSync(folder)[0];
  if (found !== undefined) {
    throw new RangeError(`Cannot write into "${folder}": it holds "${found}", wanted an empty folder`);
  }
  let content: Content | undefined;
  let fileBytes = 0;
  let filledShards = 0;
  for (const [i, shard] of layout.shards.entries()) {
    const isFilled = options.filled?.has(i + 1) ?? true;
    if (isFilled) {
      content ??= new Content(options.seed);
      filledShards++;
    }
    fileBytes += writeShard(join(folder, shard.name), shard, {
      layout,
      seed: options.seed,
      content: isFilled ? content : undefined,
    });
    options.onShard?.(i + 1, layout.shards.length);
  }
  writeFileSync(join(folder, INDEX_NAME), formatShardIndex(layout.weightMap, layout.tensorBytes));
  writeFileSync(join(folder, "config.json"), options.configText);
  for (const [name, text] of smallFiles({ thinks: options.thinks ?? false }))
    writeFileSync(join(folder, name), text);
  return {
    folder,
    shards: layout.shards.length,
    filledShards,
    tensors: layout.weightMap.size,
    tensorBytes: layout.tensorBytes,
    fileBytes,
    diskBytes: diskBytesOf(folder),
    dtypes: totalsByDtype(layout.shards.flatMap(({ tensors }) => tensors)),
  };
}

/** Bytes that files of a folder take, holes left out. */
function diskBytesOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + 512 * statSync(join(folder, name)).blocks, 0);
}

interface ShardContext {
  layout: ParentLayout;
  seed: number;
  /** Undefined: sparse. */
  content: Content | undefined;
}

function writeShard(path: string, { tensors }: ShardLayout, { layout, seed, content }: ShardContext): number {
  const header = encodeHeader(tensors, new Map([["format", "pt"]]));
  const byteLength = tensors.reduce((sum, tensor) => sum + tensor.byteLength, header.length);
  const fd = openSync(path, "wx");
  try {
    ftruncateSync(fd, byteLength);
    const out = new Writer(fd);
    out.write(header);
    for (const tensor of tensors) {
      if (content) {
        for (const piece of content.pieces(tensor, layout.arch.block)) out.write(piece);
      } else if (tensor.dtype === "F32" && weightNameOf(tensor.name) !== undefined) {
        out.write(new Uint8Array(new Float32Array(tensor.byteLength / 4).fill(sparseScale(seed)).buffer));
      } else out.skip(tensor.byteLength);
    }
    out.flush();
  } finally {
    closeSync(fd);
  }
  return byteLength;
}

/** About 2^-10, and another one in parents of other seeds: identical parents would be copied, not merged. */
export function sparseScale(seed: number): number {
  return 2 ** -10 * (1 + (((seed % 64) + 64) % 64) / 64);
}

/** Joins small writes: a shard has some 300 scale tensors of 3.5 kB side by side. */
class Writer {
  readonly #fd: number;
  readonly #buffer: Uint8Array = new Uint8Array(4 << 20);
  #used = 0;
  /** Position in the file of the buffer's first byte. */
  #position = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length > this.#buffer.length - this.#used) this.flush();
    if (bytes.length > this.#buffer.length) {
      this.#writeOut(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  /** Leaves a hole. */
  skip(byteLength: number): void {
    this.flush();
    this.#position += byteLength;
  }

  flush(): void {
    this.#writeOut(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }

  #writeOut(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; )
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#position + done);
    this.#position += bytes.length;
  }
}
