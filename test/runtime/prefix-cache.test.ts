/** Pages that prompts share: found by all that stands before them, held as long as somebody reads them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { PAGE_TOKENS, PagePool } from "../../src/runtime/latent-cache.ts";
import { type PageForms, PrefixCache } from "../../src/runtime/prefix-cache.ts";

const SHAPE = { dtype: "f32" as const, layers: 1, latent: 4, ropeDim: 2 };
const absorbed: PageForms = () => "absorbed";
const expanded: PageForms = () => "expanded";

function poolOf(maxPages: number): PagePool {
  return new PagePool(SHAPE, { maxPages, onSlab: () => {} });
}

/** `pages` whole pages of tokens, and some more. */
function tokensOf(pages: number, first = 0): number[] {
  return Array.from({ length: pages * PAGE_TOKENS + 5 }, (_, i) => (i < PAGE_TOKENS ? first : 0) + (i % 7));
}

function filled(pool: PagePool, pages: number): number[] {
  return Array.from({ length: pages }, () => pool.take()!);
}

describe("PrefixCache", () => {
  test("take() gives the whole pages of what tokens begin with, each held once more", () => {
    const pool = poolOf(16);
    const cache = new PrefixCache(pool);
    const pages = filled(pool, 4);
    cache.add(tokensOf(3), { pages, forms: absorbed });
    assert.equal(cache.size, 3); // the fourth is not whole
    assert.deepEqual(cache.take(tokensOf(3), { forms: absorbed, most: 9 }), pages.slice(0, 3));
    assert.deepEqual(cache.take(tokensOf(3), { forms: absorbed, most: 2 }), pages.slice(0, 2));
    assert.deepEqual(
      pages.map((page) => pool.holders(page)),
      [4, 4, 3, 1],
    );
  });

  test("take() tells apart what stands before, and how it was computed", () => {
    const pool = poolOf(16);
    const cache = new PrefixCache(pool);
    cache.add(tokensOf(2), { pages: filled(pool, 2), forms: absorbed });
    // Its second page has the same tokens, behind another first one.
    assert.deepEqual(cache.take(tokensOf(2, 9), { forms: absorbed, most: 9 }), []);
    assert.deepEqual(cache.take(tokensOf(2), { forms: expanded, most: 9 }), []);
    const mixed: PageForms = (index) => (index === 0 ? "absorbed" : undefined);
    assert.equal(cache.take(tokensOf(2), { forms: mixed, most: 9 }).length, 1);
  });

  test("add() keeps the pages that are known already", () => {
    const pool = poolOf(16);
    const cache = new PrefixCache(pool);
    const [first, second] = [filled(pool, 2), filled(pool, 3)];
    cache.add(tokensOf(2), { pages: first, forms: absorbed });
    cache.add(tokensOf(3), { pages: second, forms: absorbed });
    assert.deepEqual(cache.take(tokensOf(3), { forms: absorbed, most: 9 }), [...first, second[2]]);
    assert.equal(pool.holders(second[0]!), 1);
  });

  test("evict() gives back what nobody holds, the end of a beginning first, the longest unused first", () => {
    const pool = poolOf(16);
    const cache = new PrefixCache(pool);
    const [old, young] = [filled(pool, 2), filled(pool, 1)];
    cache.add(tokensOf(2), { pages: old, forms: absorbed });
    cache.add(tokensOf(1, 5), { pages: young, forms: absorbed });
    pool.release([...old, ...young]); // only the cache holds them now
    assert.equal(cache.evict(), true);
    assert.deepEqual(
      [...old, ...young].map((page) => pool.holders(page)),
      [1, 0, 1],
    );
    cache.take(tokensOf(1), { forms: absorbed, most: 1 }); // used again, and held
    assert.equal(cache.evict(), true);
    assert.equal(pool.holders(young[0]!), 0);
    assert.equal(cache.evict(), false); // somebody reads it
    assert.equal(pool.holders(old[0]!), 2);
  });

  test("PagePool hands a page out again when its last holder has released it", () => {
    const pool = poolOf(16);
    const pages = filled(pool, 16);
    pool.hold([pages[3]!]);
    pool.release(pages);
    assert.equal(pool.freePages, 15);
    pool.release([pages[3]!]);
    assert.equal(pool.freePages, 16);
  });
});
