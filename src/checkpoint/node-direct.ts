/**
 * Writing past the system's cache: a file that is written in pieces of any size becomes whole blocks at multiples of the
 * disk's alignment, each written once. What ends up in no whole block goes the usual way. So with reading it back.
 *
 * On network file systems with their own caches, and where a child of hundreds of GB would push everything else out of
 * memory, this is what keeps a machine usable.
 */
import * as fs from "node:fs";
import { fillFrom, isCode, writeFully } from "./node-files.ts";

/** What O_DIRECT asks of offsets, lengths and places in memory: no block of a disk in use is larger. */
export const DIRECT_ALIGNMENT = 4096;
const BLOCK_BYTES = 4 << 20;
/** Blocks that are being filled or written. */
const BLOCKS = 8;
const PAGE = 65536;

/** A second descriptor past the system's cache; undefined where the system or the disk has none. */
export function openDirect(path: string, flags: number): number | undefined {
  const { O_DIRECT } = fs.constants;
  if (O_DIRECT === undefined) return undefined;
  try {
    return fs.openSync(path, flags | O_DIRECT);
  } catch {
    return undefined;
  }
}

interface Block {
  index: number;
  buffer: Uint8Array;
  filled: number;
  /** Where bytes were put, for a block that is never whole. */
  pieces: [from: number, to: number][];
}

export class DirectWriter {
  readonly #fd: number;
  readonly #direct: number;
  readonly #memory: WebAssembly.Memory = new WebAssembly.Memory({ initial: (BLOCKS * BLOCK_BYTES) / PAGE });
  readonly #free: Uint8Array[];
  readonly #filling = new Map<number, Block>();
  readonly #writing = new Set<Promise<void>>();
  #failure: unknown;
  /** Bytes that went past the cache. */
  directBytes = 0;

  /** `fd` is the same file, through the cache. */
  constructor(fd: number, direct: number) {
    this.#fd = fd;
    this.#direct = direct;
    this.#free = Array.from(
      { length: BLOCKS },
      (_, i) => new Uint8Array(this.#memory.buffer, i * BLOCK_BYTES, BLOCK_BYTES),
    );
  }

  /** Takes the bytes; they may be used again when it settles. Every byte of the file comes once. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      if (this.#failure) throw this.#failure;
      const index = Math.floor((offset + at) / BLOCK_BYTES);
      const block = this.#filling.get(index) ?? this.#begin(index);
      if (!block) {
        await this.#room(); // others wait, too: they may have begun this block, or taken the buffer
        continue;
      }
      const from = offset + at - index * BLOCK_BYTES;
      const to = Math.min(BLOCK_BYTES, from + bytes.length - at);
      block.buffer.set(bytes.subarray(at, at + to - from), from);
      block.pieces.push([from, to]);
      block.filled += to - from;
      at += to - from;
      if (block.filled === BLOCK_BYTES) this.#start(block, () => this.#writeWhole(block));
    }
  }

  /** A block with a free buffer; undefined when there is none. */
  #begin(index: number): Block | undefined {
    const buffer = this.#free.pop();
    if (!buffer) return undefined;
    const block: Block = { index, buffer, filled: 0, pieces: [] };
    this.#filling.set(index, block);
    return block;
  }

  /** Waits for a buffer; the oldest block that is not whole gives way when none is being written. */
  async #room(): Promise<void> {
    if (this.#writing.size === 0) {
      const oldest = this.#filling.values().next().value!;
      this.#start(oldest, () => this.#writePieces(oldest));
    }
    await Promise.race(this.#writing);
  }

  #start(block: Block, write: () => Promise<void>): void {
    this.#filling.delete(block.index);
    const writing = write()
      .catch((error) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#writing.delete(writing);
        this.#free.push(block.buffer);
      });
    this.#writing.add(writing);
  }

  async #writeWhole(block: Block): Promise<void> {
    try {
      await writeFully(this.#direct, block.buffer, block.index * BLOCK_BYTES);
      this.directBytes += BLOCK_BYTES;
    } catch (error) {
      // Some file systems open so and then refuse to write.
      if (!isCode(error, "EINVAL")) throw error;
      await this.#writePieces(block);
    }
  }

  async #writePieces({ index, buffer, pieces }: Block): Promise<void> {
    for (const [from, to] of pieces)
      await writeFully(this.#fd, buffer.subarray(from, to), index * BLOCK_BYTES + from);
  }

  /** As fillFrom(), for what was settled: whole blocks past the cache where their place in memory allows it. */
  async read(into: Uint8Array, offset: number): Promise<number> {
    const isFit = offset % DIRECT_ALIGNMENT === 0 && into.byteOffset % DIRECT_ALIGNMENT === 0;
    const whole = isFit ? into.length - (into.length % DIRECT_ALIGNMENT) : 0;
    let done = 0;
    try {
      if (whole > 0) done = await fillFrom(this.#direct, into.subarray(0, whole), offset);
    } catch (error) {
      if (!isCode(error, "EINVAL")) throw error;
    }
    return done + (await fillFrom(this.#fd, into.subarray(done), offset + done));
  }

  /** All that was taken is in the file. */
  async settle(): Promise<void> {
    for (const block of [...this.#filling.values()]) this.#start(block, () => this.#writePieces(block));
    await Promise.all(this.#writing);
    if (this.#failure) throw this.#failure;
  }

  close(): void {
    fs.closeSync(this.#direct);
  }
}
