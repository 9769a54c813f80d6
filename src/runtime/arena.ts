/** Lays out a heap from one end to the other; what is placed stays. Works without a heap, to size one. */
export class Arena {
  /** Offset 0 means "none" to the kernels. */
  top = 64;

  /** Room for bytes, on a multiple of 64 (a cache line) or more. */
  allocate(byteLength: number, alignment = 64): number {
    const at = Math.ceil(this.top / alignment) * alignment;
    this.top = Math.ceil((at + byteLength) / 64) * 64;
    return at;
  }

  floats(count: number): number {
    return this.allocate(4 * count);
  }
}
