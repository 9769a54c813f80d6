/**
 * Hands out the kernels' heap: a stack of allocations, released by mark. Sizes are bounded by the piece
 * budget, so the heap never grows.
 */
import { align16 } from "../kernels/kernels.ts";

/** Bytes of parents and result that one piece may hold: fits the caches, large enough for disks. */
export const PIECE_BYTES: number = 3 << 20;
/** The most that one band may hold before it is cut into strips of columns. */
export const BAND_LIMIT_BYTES: number = 16 << 20;
/** Heap of one worker: two bands at their limit (one is read while the other is computed), and scratch. */
export const HEAP_BYTES: number = 40 << 20;

export class Heap {
  readonly #limit: number;
  #top = 16; // offset 0 means "none" to the kernels

  constructor(byteLength: number) {
    this.#limit = byteLength;
  }

  allocate(byteLength: number): number {
    const at = this.#top;
    // Kernels may load a whole vector at the end of a row, never beyond it; 16 bytes keep rows apart.
    this.#top = align16(at + byteLength) + 16;
    if (this.#top > this.#limit) {
      throw new Error(`internal: ${byteLength} bytes asked of a heap of ${this.#limit} with ${at} in use`);
    }
    return at;
  }

  mark(): number {
    return this.#top;
  }

  release(mark: number): void {
    this.#top = mark;
  }
}
