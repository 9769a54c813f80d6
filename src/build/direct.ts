/**
 * Reading and writing past the system's cache, for network file systems and for machines that have other work: parents
 * are read in large aligned pieces, several of them under way, and shards are written in whole blocks.
 */
import { AlignedBuffers, AlignedReader } from "../checkpoint/aligned-reader.ts";
import type { Source, Store } from "../checkpoint/source.ts";
import { WindowBudget } from "../checkpoint/window-budget.ts";
import { WindowedSource } from "../checkpoint/windowed-source.ts";

export interface DirectOptions {
  /** Bytes of a read. Default 8 MiB. */
  readBytes?: number;
  /** Reads of one file that are under way. Default 4. */
  depth?: number;
}

/** What went past the cache, and what did not although it was asked for. */
export interface DirectReport {
  readBytes: number;
  directReadBytes: number;
  writtenBytes: number;
  directWrittenBytes: number;
}

const READ_BYTES = 8 << 20;
const DEPTH = 4;
/** Buffers for reads of a worker: of two parents at a time, and their scales. */
const FILES = 2;

export class DirectReading {
  readonly #options: Required<DirectOptions>;
  readonly #budget: WindowBudget;
  #buffers: AlignedBuffers | undefined;
  readBytes = 0;
  directReadBytes = 0;

  constructor({ readBytes = READ_BYTES, depth = DEPTH }: DirectOptions = {}) {
    this.#options = { readBytes, depth };
    this.#budget = new WindowBudget(readBytes * FILES * (depth + 2)); // in use and ahead, and scales
  }

  get counts(): Pick<DirectReport, "readBytes" | "directReadBytes"> {
    const { readBytes, directReadBytes } = this;
    return { readBytes, directReadBytes };
  }

  /** A file of a parent. What has no cache to pass by is opened as ever. */
  async open(store: Store, name: string): Promise<Source> {
    const source = await store.open(name, { direct: true });
    if (source.alignment === 1) return source;
    const { readBytes, depth } = this.#options;
    this.#buffers ??= new AlignedBuffers(readBytes, FILES * depth, source.alignment);
    const reader = new AlignedReader(source, this.#buffers);
    return new WindowedSource({
      ...{ name: source.name, byteLength: source.byteLength, identity: source.identity },
      ...{ windowBytes: readBytes, ahead: depth - 1, budget: this.#budget },
      reader: {
        read: async (into, offset) => {
          await reader.read(into, offset);
          this.readBytes += into.length;
          if (source.isDirect) this.directReadBytes += into.length;
        },
      },
      checkUnchanged: () => source.checkUnchanged(),
      close: () => source.close(),
    });
  }
}
