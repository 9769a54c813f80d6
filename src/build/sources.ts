/**
 * The parents' files that a worker reads: opened when first needed, checked against the plan, and checked
 * again when a shard is done, so that a parent that changes meanwhile is noticed.
 */
import { CheckpointError } from "../base/errors.ts";
import type { Source, Store } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import type { Operand } from "../logical/operand.ts";
import type { BuildPlan, PlanMerge, PlanOperand, PlanOutput, PlanParent, PlanTensor } from "../plan/plan.ts";
import type { ShardTask } from "./assemble-shard.ts";
import type { DirectReading } from "./direct.ts";
import { type Extent, neededExtents } from "./extents.ts";

export class ParentSources {
  readonly #parents: readonly PlanParent[];
  readonly #stores: Store[];
  readonly #direct: DirectReading | undefined;
  #expected: ((parent: number, shard: string) => Extent[]) | undefined;
  readonly #open = new Map<string, Promise<Source>>();

  /**
   * `stores` stand in for the parents' locations, for tests and for stores that are open already; `direct` reads past
   * the system's cache.
   */
  constructor(parents: readonly PlanParent[], stores?: readonly Store[], direct?: DirectReading) {
    this.#parents = parents;
    this.#direct = direct;
    this.#stores = stores ? [...stores] : parents.map(({ location }) => openStore(location));
  }

  nameOf(parent: number): string {
    return this.#parents[parent]!.name;
  }

  /** `direct`: see Store.open(). */
  get(parent: number, shard: string, options: { direct?: boolean } = {}): Promise<Source> {
    const key = `${options.direct ? "direct" : ""}${parent}/${shard}`;
    let source = this.#open.get(key);
    if (!source) {
      source = this.#openChecked(parent, shard, options);
      this.#open.set(key, source);
    }
    return source;
  }

  async #openChecked(parent: number, shard: string, options: { direct?: boolean }): Promise<Source> {
    const { name, shards } = this.#parents[parent]!;
    const store = this.#stores[parent]!;
    const source = await (this.#direct && !options.direct
      ? this.#direct.open(store, shard)
      : store.open(shard, options));
    if (source.expect && this.#expected) source.expect(this.#expected(parent, shard));
    const planned = shards.find((entry) => entry.name === shard)?.identity;
    if (planned !== source.identity) {
      await source.close();
      const values = `size and time of change were ${planned} and are ${source.identity}`;
      throw new CheckpointError(
        "changed",
        `Cannot read "${shard}" of parent "${name}": ${values}, wanted the file that was planned with`,
        { note: "Plan again; an unfinished build of the old plan cannot be resumed with other parents" },
      );
    }
    return source;
  }

  /** The operand behind a plan's entry. */
  async operand(entry: PlanOperand, merge: PlanMerge, output: PlanOutput): Promise<Operand> {
    const { parent, dtype, offset, byteLength, scale } = entry;
    const [rows, cols] = output.block;
    return {
      name: merge.name,
      owner: this.nameOf(parent),
      dtype,
      shape: merge.shape,
      source: await this.get(parent, entry.shard),
      offset,
      byteLength,
      ...(scale ? { scale: { ...scale, source: await this.get(parent, scale.shard) } } : {}),
      block: { rows, cols },
    };
  }

  /** For who will read whatever the child is made from, in an order of his own: files are told when they are opened. */
  expectAll(plan: Pick<BuildPlan, "shards" | "merges">): void {
    let files: Map<string, Extent[]> | undefined;
    this.#expected = (parent, shard) => {
      if (!files) {
        files = new Map();
        for (const one of plan.shards)
          for (const { parent: of, shard: name, extents } of neededExtents({
            shard: one,
            merges: plan.merges,
          })) {
            const known = files.get(`${of}/${name}`);
            if (known) for (const extent of extents) known.push(extent);
            else files.set(`${of}/${name}`, extents);
          }
      }
      return files.get(`${parent}/${shard}`) ?? [];
    };
  }

  /** Tells the files that a shard is made from what of them will be read. */
  async expect(
    { shard, merges }: ShardTask,
    include: (tensor: PlanTensor) => boolean = () => true,
  ): Promise<void> {
    for (const { parent, shard: name, extents } of neededExtents({ shard, merges }, include))
      (await this.get(parent, name)).expect?.(extents);
  }

  /** Throws CheckpointError when a file that was read is no longer what it was; closes all. */
  async checkAndClose(): Promise<void> {
    try {
      for (const source of this.#open.values()) await (await source).checkUnchanged();
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    for (const source of this.#open.values()) await source.then((s) => s.close()).catch(() => {});
    this.#open.clear();
  }
}

/** Throws CheckpointError for a file that these shards are made from and that is gone, or another by now. */
export async function checkParents(
  parents: readonly PlanParent[],
  tasks: readonly ShardTask[],
): Promise<void> {
  const sources = new ParentSources(parents);
  const seen = new Set<string>();
  const check = async ({ parent, shard, scale }: Pick<PlanOperand, "parent" | "shard" | "scale">) => {
    for (const name of scale ? [shard, scale.shard] : [shard]) {
      const key = `${parent}/${name}`;
      if (seen.has(key)) continue;
      seen.add(key);
      await sources.get(parent, name);
      await sources.close(); // one at a time: there may be more files than one may hold open
    }
  };
  for (const { shard, merges } of tasks) {
    for (const { action } of shard.tensors) if (action.kind === "copy") await check(action);
    for (const { inputs, test } of Object.values(merges)) {
      for (const operand of [...inputs, ...(test ? [test.base, ...test.others] : [])]) await check(operand);
    }
  }
}
