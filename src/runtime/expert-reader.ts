/**
 * Reads a rank's rows of an expert into a slot of its heap: by whole blocks of the disk, straight from it,
 * where the source can tell where the bytes lie; else as the source makes them (a sum of parents).
 *
 * Block scales are small and stay once they are here; what was found finite once is not looked at again.
 */
import type { InferenceKernels } from "../kernels/inference.ts";
import { allEnded } from "../logical/read-ahead.ts";
import type { Extent, WeightSource } from "../logical/weight-source.ts";
import { firstBad, loadMatrix, notFinite } from "./load-matrix.ts";
import { dtypeInHeap, OVERREAD, type StreamedExpert, type StreamedPart } from "./weights.ts";

/** Multiples of this begin parts of a slot: what any store asks for (Source.alignment). */
const BLOCK = 4096;

/** Where a slot's parts begin, and its size: one of each expert's matrices, whatever blocks they share. */
export interface SlotLayout {
  parts: number[];
  slotBytes: number;
}

export function slotLayout(experts: readonly StreamedExpert[]): SlotLayout {
  const sizes: number[] = [];
  for (const { parts } of experts) {
    for (const [i, { byteLength, heapBytes }] of parts.entries()) {
      const bytes = Math.max(byteLength, heapBytes) + OVERREAD;
      sizes[i] = Math.max(sizes[i] ?? 0, (Math.ceil(bytes / BLOCK) + 1) * BLOCK);
    }
  }
  let slotBytes = 0;
  const parts = sizes.map((size) => {
    slotBytes += size;
    return slotBytes - size;
  });
  return { parts, slotBytes };
}

export interface ReaderOptions {
  source: WeightSource;
  kernels: InferenceKernels;
  experts: readonly StreamedExpert[];
  /** Offset of the first slot in the heap, a multiple of 4096. */
  slots: number;
}

export class ExpertReader {
  readonly #source: WeightSource;
  readonly #kernels: InferenceKernels;
  readonly #experts: readonly StreamedExpert[];
  readonly #layout: SlotLayout;
  readonly #slots: number;
  readonly #extents = new Map<StreamedPart, Extent>();
  readonly #known = new Set<StreamedPart>();

  constructor({ source, kernels, experts, slots }: ReaderOptions) {
    this.#source = source;
    this.#kernels = kernels;
    this.#experts = experts;
    this.#layout = slotLayout(experts);
    this.#slots = slots;
  }

  /** Finds out where everything lies, so that a read begins at once when it is asked for. */
  async prepare(): Promise<void> {
    for (const { parts } of this.#experts) {
      for (const part of parts) {
        const stored = this.#source.weights.get(part.name)!;
        if (dtypeInHeap(stored) !== stored.dtype) continue; // is widened when it is read
        const extent = await this.#source.extentOf(part.name, part);
        if (extent) this.#extents.set(part, extent);
      }
    }
  }

  /** Fills a slot; the expert's weights lie there from now on. Returns how many bytes were read. */
  async read(expert: number, slot: number): Promise<number> {
    const start = this.#slots + slot * this.#layout.slotBytes;
    const { parts } = this.#experts[expert]!;
    const reads = parts.map((part, i) => this.#readPart(part, start + this.#layout.parts[i]!));
    return (await allEnded(reads)).reduce((sum, bytes) => sum + bytes, 0);
  }

  async #readPart(part: StreamedPart, at: number): Promise<number> {
    const extent = this.#extents.get(part);
    if (!extent) {
      part.weight.data = at;
      const { name, from, to, byteLength, weight } = part;
      const load = { name, from, to, byteLength, data: at, scales: weight.scales };
      await loadMatrix(load, { source: this.#source, kernels: this.#kernels });
      return byteLength;
    }
    const { alignment } = extent.source;
    const begin = Math.floor(extent.offset / alignment) * alignment;
    const end = Math.ceil((extent.offset + part.byteLength) / alignment) * alignment;
    await extent.source.read(this.#kernels.bytes.subarray(at, at + end - begin), begin);
    await extent.source.checkUnchanged(); // else half of one model would answer with half of another
    part.weight.data = at + extent.offset - begin;
    if (!this.#known.has(part)) await this.#learn(part);
    return end - begin;
  }

  /** Scales, and whether all is finite, of what is in memory for the first time. */
  async #learn(part: StreamedPart): Promise<void> {
    const { name, from, to, byteLength, weight } = part;
    const { bytes, floats } = this.#kernels;
    const { dtype, shape } = this.#source.weights.get(name)!;
    const scales = await this.#source.readScales(name, { from, to });
    if (scales) floats.set(scales, weight.scales / 4);
    const bad = firstBad(bytes.subarray(weight.data, weight.data + byteLength), dtype);
    if (bad >= 0) throw notFinite(name, from * (shape[1] ?? 1) + bad, this.#source);
    this.#known.add(part);
  }
}
