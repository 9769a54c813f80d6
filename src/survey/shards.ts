/**
 * The files of two checkpoints that one worker reads. Few are open at a time: with 163 shards a side and many
 * workers a process would run out of handles. A file is checked when it is opened, against what its header was
 * read from, and again before it is closed, so that a parent that changes meanwhile is noticed.
 */
import { CheckpointError } from "../base/errors.ts";
import type { Source } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import type { Extent } from "../checkpoint/windows.ts";
import type { Operand } from "../logical/operand.ts";
import type { Pair } from "./pair-up.ts";

/** One checkpoint, for a worker. Plain data. */
export interface SideFiles {
  /** The folder, as openStore() takes it. */
  location: string;
  label: string;
  /** By shard: its identity when the header was read. */
  identities: Record<string, string>;
}

/** A pair needs four at most: two weights and two scales. */
const MOST_OPEN = 16;

export class Shards {
  readonly #sides: readonly SideFiles[];
  /** Least recently used first. */
  readonly #open = new Map<string, Source>();

  constructor(sides: readonly [base: SideFiles, other: SideFiles]) {
    this.#sides = sides;
  }

  /** Base (0) or other (1) of a pair, ready to read. */
  async operand(pair: Pair, side: 0 | 1): Promise<Operand> {
    const { dtype, shard, offset, byteLength, scale } = side === 0 ? pair.base : pair.other;
    const { name, shape, block } = pair;
    const source = await this.#source(side, shard);
    const operand: Operand = {
      name,
      owner: this.#sides[side]!.label,
      dtype,
      shape,
      source,
      offset,
      byteLength,
      block,
    };
    if (scale) operand.scale = { ...scale, source: await this.#source(side, scale.shard) };
    return operand;
  }

  /** Tells the files what of them these pairs are made of: a server is better asked for much at a time. */
  async expect(pairs: readonly Pair[]): Promise<void> {
    const files = new Map<string, { side: number; shard: string; extents: Extent[] }>();
    const add = (side: number, { shard, offset, byteLength }: { shard: string } & Extent) => {
      const key = `${side}/${shard}`;
      const file = files.get(key) ?? { side, shard, extents: [] };
      file.extents.push({ offset, byteLength });
      files.set(key, file);
    };
    for (const pair of pairs)
      for (const [side, stored] of [pair.base, pair.other].entries()) {
        add(side, stored);
        if (stored.scale) add(side, stored.scale);
      }
    for (const { side, shard, extents } of files.values())
      (await this.#source(side, shard)).expect?.(extents);
  }

  async #source(side: number, shard: string): Promise<Source> {
    const key = `${side}/${shard}`;
    let source = this.#open.get(key);
    if (source) this.#open.delete(key);
    else {
      source = await this.#openChecked(side, shard);
      if (this.#open.size >= MOST_OPEN) await this.#closeFirst();
    }
    this.#open.set(key, source);
    return source;
  }

  async #openChecked(side: number, shard: string): Promise<Source> {
    const { location, label, identities } = this.#sides[side]!;
    const source = await openStore(location).open(shard);
    if (source.identity === identities[shard]) return source;
    const values = `size and time of change were ${identities[shard]} and are ${source.identity}`;
    await source.close();
    throw new CheckpointError("changed", `Cannot read "${shard}" of "${label}": ${values}, wanted no change`);
  }

  async #closeFirst(): Promise<void> {
    const [key, source] = this.#open.entries().next().value!;
    this.#open.delete(key);
    try {
      await source.checkUnchanged();
    } finally {
      await source.close();
    }
  }

  /** Throws CheckpointError when a file that was read is no longer what it was. */
  async checkAndClose(): Promise<void> {
    while (this.#open.size > 0) await this.#closeFirst();
  }
}
