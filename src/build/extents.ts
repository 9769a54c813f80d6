/** Which bytes of its parents a shard of the child is made from. */
import type { PlanTensor } from "../plan/plan.ts";
import type { ShardTask } from "./assemble-shard.ts";

export interface Extent {
  offset: number;
  byteLength: number;
}

/** Bytes of one file of a parent, in no order; some may be named twice. */
export interface FileExtents {
  parent: number;
  shard: string;
  extents: Extent[];
}

export function neededExtents(
  { shard, merges }: ShardTask,
  include: (tensor: PlanTensor) => boolean = () => true,
): FileExtents[] {
  const files = new Map<string, FileExtents>();
  const add = (parent: number, name: string, { offset, byteLength }: Extent) => {
    const key = `${parent}/${name}`;
    let file = files.get(key);
    if (!file) {
      file = { parent, shard: name, extents: [] };
      files.set(key, file);
    }
    file.extents.push({ offset, byteLength });
  };
  const merged = new Set<number>();
  for (const tensor of shard.tensors.filter(include)) {
    const { action, byteLength } = tensor;
    if (action.kind === "merge") merged.add(action.merge);
    else add(action.parent, action.shard, { offset: action.offset, byteLength });
  }
  for (const index of merged) {
    const { inputs, test } = merges[index]!;
    for (const operand of [...inputs, ...(test ? [test.base, ...test.others] : [])]) {
      add(operand.parent, operand.shard, operand);
      if (operand.scale) add(operand.parent, operand.scale.shard, operand.scale);
    }
  }
  return [...files.values()];
}
