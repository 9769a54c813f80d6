/**
 * The cache of latent attention: per token and layer one row, [latent after its norm | rope key after its
 * rotation], in pages of 64 tokens (model.md sections 6.2 and 16).
 *
 * Pages lie in shared memory, so that every rank reads the same ones and no memory of 4 GiB bounds a context.
 * A page holds all layers of its 64 tokens; a sequence is a list of pages. Rows are float32, BF16, or FP8 in
 * the layout of section 16.1: E4M3 codes, one power-of-two scale per 128 of them, the rope part in BF16.
 */
import { sharedMemory } from "../base/shared-memory.ts";
import { encodeE4m3, encodeUe8m0Ceil, UE8M0_VALUES } from "../tensor/float8.ts";
import { encodeBf16 } from "../tensor/float16.ts";

export const PAGE_TOKENS = 64;
/** Pages that are allocated together. */
const SLAB_PAGES = 16;
/** Latents that share a scale in the FP8 layout. */
export const FP8_GROUP = 128;

export const CACHE_DTYPES = ["f32", "bf16", "fp8"] as const;
export type CacheDtype = (typeof CACHE_DTYPES)[number];

export interface CacheShape {
  dtype: CacheDtype;
  /** Main layers and MTP layers. */
  layers: number;
  latent: number;
  ropeDim: number;
}

/** Where the parts of a row lie, in bytes. */
export interface RowLayout {
  rowBytes: number;
  /** FP8 only: the scales and the rope part; codes come first. */
  scales: number;
  rope: number;
}

export function rowLayout({ dtype, latent, ropeDim }: CacheShape): RowLayout {
  if (dtype === "f32") return { rowBytes: 4 * (latent + ropeDim), scales: 0, rope: 4 * latent };
  if (dtype === "bf16") return { rowBytes: 2 * (latent + ropeDim), scales: 0, rope: 2 * latent };
  const scales = Math.ceil(latent / 4) * 4;
  const rope = scales + 4 * Math.ceil(latent / FP8_GROUP);
  return { rowBytes: Math.ceil((rope + 2 * ropeDim) / 4) * 4, scales, rope };
}

export function slabBytes(shape: CacheShape): number {
  return SLAB_PAGES * shape.layers * PAGE_TOKENS * rowLayout(shape).rowBytes;
}

/** Bytes that the rows of one token take over all layers. */
export function bytesPerToken(shape: CacheShape): number {
  return shape.layers * rowLayout(shape).rowBytes;
}

/** Hands out pages: the caller's side. A page may have several holders, who then only read it. */
export class PagePool {
  readonly shape: CacheShape;
  readonly slabs: SharedArrayBuffer[] = [];
  readonly #free: number[] = [];
  /** Of each page. */
  readonly #holders: number[] = [];
  readonly #maxPages: number;
  readonly #onSlab: (slab: SharedArrayBuffer) => void;

  /** `onSlab` is told of new memory before a page of it is handed out. */
  constructor(shape: CacheShape, options: { maxPages: number; onSlab: (slab: SharedArrayBuffer) => void }) {
    this.shape = shape;
    this.#maxPages = options.maxPages;
    this.#onSlab = options.onSlab;
  }

  get freePages(): number {
    return this.#maxPages - this.slabs.length * SLAB_PAGES + this.#free.length;
  }

  /** A page, or undefined when there is none left. */
  take(): number | undefined {
    if (this.#free.length === 0 && (this.slabs.length + 1) * SLAB_PAGES <= this.#maxPages) {
      const slab = sharedMemory(slabBytes(this.shape));
      const first = this.slabs.length * SLAB_PAGES;
      this.slabs.push(slab);
      this.#onSlab(slab);
      for (let page = first + SLAB_PAGES - 1; page >= first; page--) this.#free.push(page);
    }
    const page = this.#free.pop();
    if (page !== undefined) this.#holders[page] = 1;
    return page;
  }

  /** One more holds these pages. */
  hold(pages: readonly number[]): void {
    for (const page of pages) this.#holders[page]!++;
  }

  holders(page: number): number {
    return this.#holders[page] ?? 0;
  }

  /** One less holds these pages; those that nobody holds are free. */
  release(pages: readonly number[]): void {
    for (const page of pages) if (--this.#holders[page]! === 0) this.#free.push(page);
  }
}

/** Whole slabs only: the number of pages that `tokens` tokens need. */
export function pagesFor(tokens: number): number {
  return Math.ceil(Math.ceil(tokens / PAGE_TOKENS) / SLAB_PAGES) * SLAB_PAGES;
}

/** Reads and writes rows of pages: a rank's side. */
export class LatentCache {
  readonly shape: CacheShape;
  readonly layout: RowLayout;
  readonly #slabs: Uint8Array[] = [];
  readonly #float = new Float32Array(1);

  constructor(shape: CacheShape) {
    this.shape = shape;
    this.layout = rowLayout(shape);
  }

  addSlab(slab: SharedArrayBuffer): void {
    this.#slabs.push(new Uint8Array(slab));
  }

  /** Bytes of the first `count` rows of a page. */
  rows(page: number, { layer, count }: { layer: number; count: number }): Uint8Array {
    return this.#at(page, { layer, row: 0 }, count);
  }

  #at(page: number, { layer, row }: { layer: number; row: number }, count: number): Uint8Array {
    const slab = this.#slabs[Math.floor(page / SLAB_PAGES)]!;
    const { rowBytes } = this.layout;
    const place = ((page % SLAB_PAGES) * this.shape.layers + layer) * PAGE_TOKENS + row;
    return slab.subarray(place * rowBytes, (place + count) * rowBytes);
  }

  /** Stores one token's row: latent and rope key, one after the other. */
  write(page: number, at: { layer: number; row: number }, values: Float32Array): void {
    const { dtype, latent } = this.shape;
    const bytes = this.#at(page, at, 1);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (dtype === "f32") {
      new Float32Array(bytes.buffer, bytes.byteOffset, values.length).set(values);
      return;
    }
    const bf16From = dtype === "bf16" ? 0 : latent;
    const bf16At = dtype === "bf16" ? 0 : this.layout.rope;
    for (let i = bf16From; i < values.length; i++) {
      view.setUint16(bf16At + 2 * (i - bf16From), encodeBf16(values[i]!), true);
    }
    if (dtype === "fp8") this.#writeCodes(bytes, values.subarray(0, latent));
  }

  #writeCodes(bytes: Uint8Array, latents: Float32Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let from = 0, group = 0; from < latents.length; from += FP8_GROUP, group++) {
      const to = Math.min(from + FP8_GROUP, latents.length);
      let most = 1e-4; // as DeepSeek's layout: a scale is never smaller
      for (let i = from; i < to; i++) most = Math.max(most, Math.abs(latents[i]!));
      this.#float[0] = most / 448;
      const scale = UE8M0_VALUES[encodeUe8m0Ceil(this.#float[0]!)]!;
      view.setFloat32(this.layout.scales + 4 * group, scale, true);
      for (let i = from; i < to; i++) bytes[i] = encodeE4m3(latents[i]! / scale);
    }
  }
}
