/**
 * A heap for one call of a kernel: data, outputs, and between them bytes that mean NaN in every format, so
 * that whoever reads them shows it, and that must not change.
 */
import assert from "node:assert/strict";
import type { InferenceKernels } from "../../src/kernels/inference.ts";

const FIRST = 64;
const GUARD_BYTES = 96;
const GUARD = 0xff;

type Data = Float32Array | Uint16Array | Uint8Array | Int32Array;

export class HeapImage {
  readonly #parts: { at: number; bytes: Uint8Array }[] = [];
  readonly #outputs: { at: number; byteLength: number }[] = [];
  readonly #base: number;
  #end: number;

  /** base: where on the heap it lies. */
  constructor(base = 0) {
    this.#base = base;
    this.#end = FIRST;
  }

  /** Offset of a copy of data; `shift` bytes behind a multiple of 16. */
  place(data: Data, { shift = 0 }: { shift?: number } = {}): number {
    const at = this.#reserve(data.byteLength, shift);
    this.#parts.push({ at, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() });
    return this.#base + at;
  }

  /** Offset of `count` float32 that the kernel may write; what is in them before is NaN. */
  output(count: number): number {
    const at = this.#reserve(4 * count, 0);
    this.#outputs.push({ at, byteLength: 4 * count });
    return this.#base + at;
  }

  /** As place(), but the kernel may write it. */
  inOut(data: Float32Array): number {
    const at = this.place(data);
    this.#outputs.push({ at: at - this.#base, byteLength: data.byteLength });
    return at;
  }

  #reserve(byteLength: number, shift: number): number {
    const at = Math.ceil(this.#end / 16) * 16 + shift;
    this.#end = at + byteLength + GUARD_BYTES;
    return at;
  }

  /** Runs a kernel; gives all outputs in the order they were asked for. Nothing else may have changed. */
  run(kernels: InferenceKernels, action: (kernels: InferenceKernels) => void): Float32Array[] {
    const heap = kernels.bytes.subarray(this.#base, this.#base + this.#end);
    assert.equal(heap.length, this.#end, "the heap is too small for this case");
    const image = new Uint8Array(this.#end).fill(GUARD);
    for (const { at, bytes } of this.#parts) image.set(bytes, at);
    heap.set(image);
    action(kernels);
    const results = this.#outputs.map(({ at, byteLength }) => {
      const result = new Float32Array(heap.slice(at, at + byteLength).buffer);
      heap.set(image.subarray(at, at + byteLength), at);
      return result;
    });
    assert.equal(Buffer.compare(heap, image), 0, "wrote outside its output");
    return results;
  }
}

/** The same bits; every NaN is one. */
export function assertSameBits(actual: Float32Array, expected: Float32Array, label: string): void {
  assert.equal(actual.length, expected.length, label);
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i])) {
      assert.fail(`${label}: element ${i} is ${actual[i]}, wanted ${expected[i]}`);
    }
  }
}

/** Runs on both and demands the same bits of all outputs, which it gives. */
export function runBoth(
  image: HeapImage,
  kernels: InferenceKernels,
  scalar: InferenceKernels,
  { label, action }: { label: string; action: (kernels: InferenceKernels) => void },
): Float32Array[] {
  const [actual, expected] = [image.run(kernels, action), image.run(scalar, action)];
  for (const [i, output] of actual.entries()) assertSameBits(output, expected[i]!, `${label}, output ${i}`);
  return actual;
}

/** Small generator with a fixed seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 2654435761) >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** About normal. */
  gauss(): number {
    return this.next() + this.next() + this.next() + this.next() - 2;
  }

  floats(length: number, size = 1): Float32Array {
    return Float32Array.from({ length }, () => size * this.gauss());
  }
}
