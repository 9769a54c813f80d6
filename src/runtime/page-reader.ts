/** Pages of the latent cache as float32, whatever they are stored in. */
import type { Weight } from "../kernels/inference.ts";
import { type AttentionHeads, floatRows } from "./attention-heads.ts";
import { FP8_GROUP, type LatentCache } from "./latent-cache.ts";

export class PageReader {
  readonly #heads: AttentionHeads;
  readonly #cache: LatentCache;
  readonly #ints: Int32Array;

  constructor(heads: AttentionHeads, cache: LatentCache) {
    this.#heads = heads;
    this.#cache = cache;
    this.#ints = new Int32Array(heads.kernels.bytes.buffer, heads.kernels.bytes.byteOffset);
  }

  /** The first rows of a page as float32: (count, latent + rope). */
  read(page: number, { layer, count }: { layer: number; count: number }, to: number): void {
    const { latent, ropeDim } = this.#heads.sizes;
    const { dtype } = this.#cache.shape;
    const kernels = this.#heads.kernels;
    const bytes = this.#cache.rows(page, { layer, count });
    if (dtype === "f32") {
      kernels.bytes.set(bytes, to);
      return;
    }
    const { pageBytes } = this.#heads.state;
    const width = latent + ropeDim;
    kernels.bytes.set(bytes, pageBytes);
    if (dtype === "bf16") {
      kernels.dequantise({ ...floatRows(pageBytes, count, width), dtype: "BF16" }, { from: 0, count }, to);
      return;
    }
    this.#decodeFp8(count, to);
  }

  /** Rows of the FP8 layout in pageBytes -> float32. */
  #decodeFp8(count: number, to: number): void {
    const { latent, ropeDim } = this.#heads.sizes;
    const { rowBytes, scales, rope } = this.#cache.layout;
    const { pageBytes, pageArranged } = this.#heads.state;
    const kernels = this.#heads.kernels;
    const width = latent + ropeDim;
    for (let row = 0; row < count; row++) {
      const at = pageBytes + row * rowBytes;
      kernels.bytes.copyWithin(pageArranged, at, at + rowBytes); // vectors of scales lie on multiples of 16
      const aligned = pageArranged + 16 * Math.ceil(rowBytes / 16);
      kernels.bytes.copyWithin(aligned, at + scales, at + rope);
      const codes: Weight = {
        ...floatRows(pageArranged, 1, latent),
        dtype: "F8_E4M3",
        scales: aligned,
        blockRows: 1,
        blockCols: FP8_GROUP,
      };
      kernels.dequantise(codes, { from: 0, count: 1 }, to + 4 * row * width);
      for (let i = 0; i < ropeDim; i++) {
        const low = at + rope + 2 * i;
        const bits = kernels.bytes[low]! | (kernels.bytes[low + 1]! << 8);
        this.#ints[(to + 4 * (row * width + latent + i)) / 4] = bits << 16;
      }
    }
  }
}
