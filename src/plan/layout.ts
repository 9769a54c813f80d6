/**
 * Which tensor of the child lies in which shard, at which offset.
 *
 * "as-base" keeps the base's shard names, boundaries and order: equal tensors then give files that are
 * byte-identical to the base's, headers included. With a maximum size tensors are packed in the base's
 * order, each weight followed by its scale, and a shard closes before it would grow beyond the limit.
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { encodeHeader } from "../checkpoint/header.ts";
import type { LogicalTensor } from "../logical/pairs.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { PlanShard, PlanTensor } from "./plan.ts";
import type { Target } from "./target.ts";

/** A physical tensor of the child, not yet placed. */
interface Item {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  byteLength: number;
  part: PlanTensor["part"];
  /** Name of the logical tensor. */
  of: string;
}

export interface LaidShard extends Omit<PlanShard, "tensors"> {
  tensors: (Omit<PlanTensor, "action" | "rank"> & { of: string })[];
}

export interface LayoutInput {
  base: Checkpoint;
  tensors: ReadonlyMap<string, LogicalTensor>;
  targets: ReadonlyMap<string, Target>;
  maxShardSize: "as-base" | number;
}

/** All shards with final offsets, in the order of their names. */
export function layOut(input: LayoutInput): LaidShard[] {
  return input.maxShardSize === "as-base" ? layOutAsBase(input) : layOutBySize(input, input.maxShardSize);
}

/** The weight and, where the child has one, its scale. */
function itemsOf(tensor: LogicalTensor, target: Target): { weight: Item; scale?: Item } {
  const { name, weight } = tensor;
  const { dtype, byteLength, scale } = target;
  const item: Item = {
    name,
    dtype,
    shape: weight.shape,
    byteLength,
    part: scale ? "weight" : "whole",
    of: name,
  };
  return scale ? { weight: item, scale: { ...scale, part: "scale", of: name } } : { weight: item };
}

function layOutAsBase({ base, tensors, targets }: LayoutInput): LaidShard[] {
  const byPhysicalName = new Map<string, Item>();
  const addedAfter = new Map<string, Item>();
  for (const tensor of tensors.values()) {
    const { weight, scale } = itemsOf(tensor, targets.get(tensor.name)!);
    byPhysicalName.set(weight.name, weight);
    if (scale && tensor.scale) byPhysicalName.set(scale.name, scale);
    else if (scale) addedAfter.set(weight.name, scale); // the base has none: it goes beside its weight
  }
  const shards: LaidShard[] = [];
  for (const { name, header } of base.shards) {
    const items: Item[] = [];
    for (const info of header!.tensors) {
      const item = byPhysicalName.get(info.name);
      if (item) items.push(item);
      const added = addedAfter.get(info.name);
      if (added) items.push(added);
    }
    if (items.length > 0) shards.push(place(name, items, header!.metadata));
  }
  return shards.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function layOutBySize({ base, tensors, targets }: LayoutInput, limit: number): LaidShard[] {
  const groups: Item[][] = [[]];
  let size = 0;
  // In the order in which the base's files hold the weights, not that of its index.
  for (const { header } of base.shards) {
    for (const { name } of header!.tensors) {
      const tensor = tensors.get(name);
      if (!tensor) continue; // a scale: it follows its weight
      const { weight, scale } = itemsOf(tensor, targets.get(name)!);
      const bytes = weight.byteLength + (scale?.byteLength ?? 0);
      if (size > 0 && size + bytes > limit) {
        groups.push([]);
        size = 0;
      }
      groups.at(-1)!.push(weight, ...(scale ? [scale] : []));
      size += bytes;
    }
  }
  const five = (n: number) => String(n).padStart(5, "0");
  return groups
    .filter((items) => items.length > 0)
    .map((items, i) => place(`model-${five(i + 1)}-of-${five(groups.length)}.safetensors`, items, new Map()));
}

function place(name: string, items: readonly Item[], baseMetadata: ReadonlyMap<string, string>): LaidShard {
  // Some versions of transformers refuse files that say nothing, or something else.
  const metadata = new Map(baseMetadata).set("format", "pt");
  const dataStart = encodeHeader(items, metadata).length;
  let offset = dataStart;
  const tensors = items.map((item) => {
    const { name, dtype, shape, byteLength, part, of } = item;
    const placed = { name, dtype, shape: shape as number[], offset, byteLength, part, of };
    offset += byteLength;
    return placed;
  });
  return { name, metadata: [...metadata], byteLength: offset, dataStart, tensors };
}
