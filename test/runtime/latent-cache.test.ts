/** Pages of the latent cache: their layouts, and how they are handed out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bytesPerToken,
  type CacheShape,
  LatentCache,
  PagePool,
  pagesFor,
  rowLayout,
} from "../../src/runtime/latent-cache.ts";

const V3 = { layers: 61, latent: 512, ropeDim: 64 };
const shapeOf = (dtype: CacheShape["dtype"]): CacheShape => ({ ...V3, dtype });

test("bytesPerToken() is that of model.md section 2", () => {
  assert.equal(bytesPerToken(shapeOf("bf16")), 70_272);
  assert.equal(bytesPerToken(shapeOf("f32")), 140_544);
  assert.equal(bytesPerToken(shapeOf("fp8")), 40_016);
  assert.equal(rowLayout(shapeOf("fp8")).rowBytes, 656);
});

test("LatentCache.write() gives FP8 rows a power-of-two scale per 128 latents, the rope part in BF16", () => {
  const shape: CacheShape = { dtype: "fp8", layers: 1, latent: 256, ropeDim: 2 };
  const cache = new LatentCache(shape);
  const pool = new PagePool(shape, { maxPages: 16, onSlab: (slab) => cache.addSlab(slab) });
  const page = pool.take()!;
  const values = new Float32Array(258);
  values.fill(1, 0, 128); // 1 / 448 rounds up to 2^-8
  values[0] = -0.5;
  values[256] = 1.5;
  values[257] = -3;
  cache.write(page, { layer: 0, row: 3 }, values);
  const bytes = cache.rows(page, { layer: 0, count: 4 }).slice(3 * cache.layout.rowBytes);
  const view = new DataView(bytes.buffer);
  assert.equal(view.getFloat32(256, true), 2 ** -8);
  assert.equal(view.getFloat32(260, true), 2 ** Math.ceil(Math.log2(1e-4 / 448))); // never smaller
  assert.deepEqual([bytes[0], bytes[1], bytes[200]], [0xf0, 0x78, 0]); // -128, 256, 0
  assert.deepEqual([view.getUint16(264, true), view.getUint16(266, true)], [0x3fc0, 0xc040]);
});

test("PagePool hands out every page once, in slabs, and takes them back", () => {
  const slabs: SharedArrayBuffer[] = [];
  const shape: CacheShape = { dtype: "f32", layers: 2, latent: 8, ropeDim: 4 };
  const pool = new PagePool(shape, { maxPages: 32, onSlab: (slab) => slabs.push(slab) });
  const pages = Array.from({ length: 32 }, () => pool.take()!);
  assert.equal(new Set(pages).size, 32);
  assert.equal(slabs.length, 2);
  assert.equal(pool.take(), undefined);
  pool.release(pages.slice(0, 3));
  assert.equal(pool.freePages, 3);
  assert.ok(pages.includes(pool.take()!));
});

test("pagesFor() gives whole slabs of 16 pages", () => {
  assert.deepEqual([1, 1024, 1025].map(pagesFor), [16, 16, 32]);
});
