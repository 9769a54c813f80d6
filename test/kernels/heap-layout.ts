/**
 * Places data on a kernel's heap with guards all round, and finds every byte that a kernel wrote where it
 * may not. Guards are 0xFF, NaN in every format, so that reading too far shows in the results as well.
 */
import assert from "node:assert/strict";
import type { Kernels } from "../../src/kernels/kernels.ts";

export const GUARD = 0xff;
const GUARD_BYTES = 64;

export interface Place {
  /** Where the layout begins. */
  base?: number;
  /** Which allocation, counted from 0, ends at the very end of the heap: reading beyond it traps. */
  last?: number;
}

export class HeapLayout {
  readonly bytes: Uint8Array;
  readonly #base: number;
  readonly #last: number;
  #top: number;
  #tail: number;
  #count = 0;
  readonly #writable: [at: number, byteLength: number][] = [];

  constructor({ bytes }: Kernels, { base = 64, last = -1 }: Place = {}) {
    this.bytes = bytes;
    this.#base = base;
    this.#top = base;
    this.#last = last;
    this.#tail = bytes.length;
  }

  get allocations(): number {
    return this.#count;
  }

  /** Room on a multiple of `align` and, where that allows it, of nothing larger. */
  allocate(byteLength: number, align = 1): number {
    if (this.#count++ === this.#last) {
      const at = Math.floor((this.bytes.length - byteLength) / align) * align;
      this.#tail = at - GUARD_BYTES;
      this.bytes.fill(GUARD, this.#tail);
      return at;
    }
    const at = Math.ceil((this.#top + GUARD_BYTES) / 16) * 16 + (align < 16 ? align : 0);
    const end = at + byteLength + GUARD_BYTES;
    assert.ok(end < this.#tail, `a heap of ${this.bytes.length} bytes is too small for this test`);
    this.bytes.fill(GUARD, this.#top, end);
    this.#top = end;
    return at;
  }

  place(data: Uint8Array, align: number): number {
    const at = this.allocate(data.length, align);
    this.bytes.set(data, at);
    return at;
  }

  mayWrite(at: number, byteLength: number): void {
    this.#writable.push([at, byteLength]);
  }

  /** Runs `action`; fails when a byte changed that it may not write. */
  guarded<T>(action: () => T): T {
    const ranges = [
      [this.#base, this.#top],
      [this.#tail, this.bytes.length],
    ] as const;
    const before = ranges.map(([begin, end]) => this.bytes.slice(begin, end));
    const result = action();
    for (const [index, [begin, end]] of ranges.entries()) {
      const after = this.bytes.slice(begin, end);
      for (const [at, byteLength] of this.#writable) {
        if (at < begin || at >= end) continue;
        after.set(before[index]!.subarray(at - begin, at - begin + byteLength), at - begin);
      }
      if (Buffer.compare(after, before[index]!) === 0) continue;
      const offset = after.findIndex((byte, i) => byte !== before[index]![i]);
      assert.fail(
        `wrote outside its output: byte ${begin + offset}, may write ${JSON.stringify(this.#writable)}`,
      );
    }
    return result;
  }
}
