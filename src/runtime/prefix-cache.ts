/**
 * Pages of prompts that were computed before, kept for prompts that begin alike: a system prompt, the turns of a
 * conversation. Whole pages are shared, and only read by whoever shares them.
 *
 * A page is found by all tokens up to its end and by the form of attention that computed it: the two forms differ in
 * last bits, and an answer must not depend on what others have asked (attention.ts). What nobody holds but this cache
 * is given back when pages run out, the one that was not used for the longest time first, a page before those that
 * it stands behind.
 */
import { PAGE_TOKENS, type PagePool } from "./latent-cache.ts";

export type AttentionForm = "absorbed" | "expanded";

/** The form of a whole page by its number in the sequence; undefined where it has no single one. */
export type PageForms = (index: number) => AttentionForm | undefined;

interface Entry {
  page: number;
  /** Tells apart pages of equal tokens behind different ones. */
  id: number;
}

export class PrefixCache {
  readonly #pool: PagePool;
  /** By what stands before, form and tokens; in order of use, the oldest first. */
  readonly #entries = new Map<string, Entry>();
  #nextId = 1;

  constructor(pool: PagePool) {
    this.#pool = pool;
  }

  /** Pages that are kept, whoever else holds them. */
  get size(): number {
    return this.#entries.size;
  }

  /** The pages that hold the beginning of `tokens`, at most so many; each is now held for the caller too. */
  take(tokens: readonly number[], { forms, most }: { forms: PageForms; most: number }): number[] {
    const path = this.#path(tokens, forms, most);
    const pages = path.map(({ entry }) => entry.page);
    this.#pool.hold(pages);
    this.#touch(path);
    return pages;
  }

  /** Keeps the pages that hold the beginning of `tokens`; those of a beginning that is known stay as they are. */
  add(tokens: readonly number[], { pages, forms }: { pages: readonly number[]; forms: PageForms }): void {
    const whole = Math.min(pages.length, Math.floor(tokens.length / PAGE_TOKENS));
    const path = this.#path(tokens, forms, whole);
    for (let index = path.length; index < whole; index++) {
      const form = forms(index);
      if (form === undefined) break;
      const entry = { page: pages[index]!, id: this.#nextId++ };
      this.#pool.hold([entry.page]);
      path.push({ key: keyOf(tokens, { index, form, behind: path.at(-1)?.entry.id ?? 0 }), entry });
    }
    this.#touch(path);
  }

  /** Gives back one page that nobody else holds; false where there is none. */
  evict(): boolean {
    for (const [key, { page }] of this.#entries) {
      if (this.#pool.holders(page) > 1) continue;
      this.#entries.delete(key);
      this.#pool.release([page]);
      return true;
    }
    return false;
  }

  #path(tokens: readonly number[], forms: PageForms, most: number): { key: string; entry: Entry }[] {
    const path: { key: string; entry: Entry }[] = [];
    for (let index = 0; index < most; index++) {
      const form = forms(index);
      if (form === undefined) break;
      const key = keyOf(tokens, { index, form, behind: path.at(-1)?.entry.id ?? 0 });
      const entry = this.#entries.get(key);
      if (!entry) break;
      path.push({ key, entry });
    }
    return path;
  }

  /** The latest used; what stands behind others before them, so that evict() meets it first. */
  #touch(path: readonly { key: string; entry: Entry }[]): void {
    for (const { key, entry } of path.toReversed()) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
  }
}

function keyOf(
  tokens: readonly number[],
  { index, form, behind }: { index: number; form: AttentionForm; behind: number },
): string {
  const own = tokens.slice(index * PAGE_TOKENS, (index + 1) * PAGE_TOKENS);
  return `${behind} ${form} ${own.join(" ")}`;
}
