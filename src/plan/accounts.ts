/**
 * The books of a plan: what becomes of every tensor of every parent, and what that costs to read.
 */
import type { Parent } from "./parents.ts";
import type { PlanAccount, PlanMerge, PlanOperand, PlanShard } from "./plan.ts";

/** Every physical tensor of every parent as copied, merged, or left out with a reason. */
export function accountFor(
  parents: readonly Parent[],
  base: number,
  { shards, merges }: { shards: readonly PlanShard[]; merges: readonly PlanMerge[] },
): PlanAccount[] {
  const copied = parents.map(() => new Set<string>());
  const merged = parents.map(() => new Set<string>());
  const names = new Set<string>();
  const rules = new Map<string, string>();
  for (const { tensors } of shards) {
    for (const { name, action } of tensors) {
      names.add(name);
      if (action.kind === "copy") copied[action.parent]!.add(name);
      else {
        const { inputs, test, rule } = merges[action.merge]!;
        for (const { parent } of inputs) merged[parent]!.add(name);
        if (test) merged[base]!.add(name);
        if (rule !== undefined) rules.set(name, `rule ${rule + 1}`);
      }
    }
  }
  return parents.map(({ name: parent, checkpoint }, index) => {
    const leftOut = new Map<string, string[]>();
    for (const name of checkpoint.tensors.keys()) {
      if (copied[index]!.has(name) || merged[index]!.has(name)) continue;
      const reason = reasonLeftOut(name);
      const list = leftOut.get(reason);
      if (list) list.push(name);
      else leftOut.set(reason, [name]);
    }
    return {
      parent,
      copied: copied[index]!.size,
      merged: merged[index]!.size,
      leftOut: [...leftOut].map(([reason, tensors]) => ({ reason, tensors })),
    };

    function reasonLeftOut(name: string): string {
      if (!names.has(name)) {
        const inBase = parents[base]!.checkpoint.tensors.has(name);
        return inBase ? "a scale that the output dtype has no use for" : "the base has no tensor of this name";
      }
      if (rules.has(name)) return `${rules.get(name)} gives this parent no weight there`;
      const owner = copied.findIndex((set) => set.has(name));
      return owner === base ? "no rule takes it: the base's bytes are copied" : `copied from "${parents[owner]!.name}"`;
    }
  });
}

/** Bytes that a build reads from each parent. A scale far from its weight costs the weight again. */
export function readBytes(
  numParents: number,
  { shards, merges }: { shards: readonly PlanShard[]; merges: readonly PlanMerge[] },
): number[] {
  const bytes = new Array<number>(numParents).fill(0);
  const add = ({ parent, byteLength, scale }: PlanOperand) => {
    bytes[parent]! += byteLength + (scale?.byteLength ?? 0);
  };
  for (const { tensors } of shards) {
    const here = new Set<number>();
    for (const { action, byteLength } of tensors) {
      if (action.kind === "copy") bytes[action.parent]! += byteLength;
      else here.add(action.merge);
    }
    for (const index of here) {
      const { inputs, test } = merges[index]!;
      inputs.forEach(add);
      if (test) [test.base, ...test.others].forEach(add);
    }
  }
  return bytes;
}
