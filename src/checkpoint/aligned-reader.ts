/**
 * Any bytes from a source that is read past the system's cache, whose reads must begin and end at multiples of its
 * alignment, in the file and in memory. They go through buffers that lie right; memory of WebAssembly begins at a page.
 */
import type { Source } from "./source.ts";
import type { WindowReader } from "./windowed-source.ts";

const PAGE = 65536;

/** Buffers of one size for reads that are under way; whoever comes when none is free waits. */
export class AlignedBuffers {
  readonly #bytes: number;
  readonly #memory: WebAssembly.Memory;
  readonly #free: number[];
  readonly #waiting: ((at: number) => void)[] = [];

  /** `bytes`: what one holds, whatever its place in the file. */
  constructor(bytes: number, count: number, alignment: number) {
    this.#bytes = Math.ceil((bytes + 2 * alignment) / PAGE) * PAGE;
    this.#memory = new WebAssembly.Memory({ initial: (this.#bytes * count) / PAGE });
    this.#free = Array.from({ length: count }, (_, i) => i * this.#bytes);
  }

  /** Runs with a buffer of its own. */
  async use<T>(action: (buffer: Uint8Array) => Promise<T>): Promise<T> {
    const at = this.#free.pop() ?? (await new Promise<number>((resolve) => this.#waiting.push(resolve)));
    try {
      return await action(new Uint8Array(this.#memory.buffer, at, this.#bytes));
    } finally {
      const next = this.#waiting.shift();
      if (next) next(at);
      else this.#free.push(at);
    }
  }

  get capacity(): number {
    return this.#bytes;
  }
}

export class AlignedReader implements WindowReader {
  readonly #source: Source;
  readonly #buffers: AlignedBuffers;

  constructor(source: Source, buffers: AlignedBuffers) {
    this.#source = source;
    this.#buffers = buffers;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const { alignment } = this.#source;
    const step = this.#buffers.capacity - 2 * alignment;
    for (let at = 0; at < into.length; at += step) {
      const some = into.subarray(at, Math.min(at + step, into.length));
      const from = Math.floor((offset + at) / alignment) * alignment;
      const to = Math.ceil((offset + at + some.length) / alignment) * alignment;
      await this.#buffers.use(async (buffer) => {
        await this.#source.read(buffer.subarray(0, to - from), from);
        const skip = offset + at - from;
        some.set(buffer.subarray(skip, skip + some.length));
      });
    }
  }
}
