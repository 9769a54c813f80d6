/**
 * Two checkpoints side by side: which logical tensors can be measured against each other, and why the
 * others cannot.
 *
 * Tensors are paired by name. A weight and its block scales are one; a parent may store it in another dtype
 * than the other does, for the measure is taken on dequantised values. Only shapes must agree.
 */
import { type Architecture, architectureOf } from "../arch/architecture.ts";
import type { Place } from "../arch/place.ts";
import { weightNameOf } from "../arch/scale-names.ts";
import { type Checkpoint, openCheckpoint, type StoredTensor } from "../checkpoint/checkpoint.ts";
import { openLocation } from "../checkpoint/stores.ts";
import type { ScaleDtype } from "../logical/operand.ts";
import { type LogicalTensor, pairTensors } from "../logical/pairs.ts";
import type { BlockSize } from "../tensor/block.ts";
import { type FloatDtype, formatShape, isFloat, numElements } from "../tensor/dtype.ts";

export interface Side {
  /** For people: the folder's name, with the file's where one was opened. */
  label: string;
  checkpoint: Checkpoint;
  arch: Architecture;
  /** By name: a tensor to measure, or why it is none. */
  tensors: Map<string, LogicalTensor | string>;
}

/** One side of a pair as workers need it: plain data. */
export interface PairOperand {
  dtype: FloatDtype;
  shard: string;
  offset: number;
  byteLength: number;
  scale?: { dtype: ScaleDtype; shard: string; offset: number; byteLength: number };
}

/** A tensor of both sides. */
export interface Pair {
  name: string;
  place: Place;
  shape: number[];
  elements: number;
  block: BlockSize;
  base: PairOperand;
  other: PairOperand;
}

/** A tensor that both have and that cannot be measured. */
export interface NotCompared {
  name: string;
  reason: "shape" | "block" | "unusable";
  /** What each side has: a shape, a block size, or what is wrong with it. */
  base: string;
  other: string;
}

export interface Pairs {
  /** In the order of the base. */
  pairs: Pair[];
  onlyInBase: string[];
  onlyInOther: string[];
  notCompared: NotCompared[];
}

export async function openSide(location: string): Promise<Side> {
  const { store, options } = openLocation(location);
  const checkpoint = await openCheckpoint(store, options);
  const arch = architectureOf(checkpoint.config);
  const { unread } = checkpoint;
  const label = options.only ? `${checkpoint.label}/${options.only}` : checkpoint.label;
  const logical = pairTensors(checkpoint.tensors, { label, block: arch.block }).tensors;
  const scales = new Set([...logical.values()].map(({ scale }) => scale?.name));
  const tensors: Side["tensors"] = new Map();
  for (const [name, { dtype }] of checkpoint.tensors) {
    if (scales.has(name)) continue;
    const found = logical.get(name);
    if (!found) tensors.set(name, `${dtype} that does not pair up with a weight or a block scale`);
    else tensors.set(name, isFloat(dtype) ? found : `${dtype}, which is copied and never computed with`);
  }
  const unseen = new Set(unread);
  for (const name of unread) {
    const weight = weightNameOf(name);
    if (weight !== undefined && (unseen.has(weight) || checkpoint.tensors.has(weight))) continue;
    tensors.set(name, "not read: its shard is not there");
  }
  return { label, checkpoint, arch, tensors };
}

export function pairUp(base: Side, other: Side): Pairs {
  const arch = base.arch.known ? base.arch : other.arch;
  const found: Pairs = { pairs: [], onlyInBase: [], onlyInOther: [], notCompared: [] };
  for (const [name, mine] of base.tensors) {
    const theirs = other.tensors.get(name);
    if (theirs === undefined) {
      found.onlyInBase.push(name);
      continue;
    }
    if (typeof mine === "string" || typeof theirs === "string") {
      const [a, b] = [mine, theirs].map((side) => (typeof side === "string" ? side : side.weight.dtype));
      found.notCompared.push({ name, reason: "unusable", base: a!, other: b! });
      continue;
    }
    const shapes = [mine, theirs].map(({ weight }) => formatShape(weight.shape));
    if (shapes[0] !== shapes[1]) {
      found.notCompared.push({ name, reason: "shape", base: shapes[0]!, other: shapes[1]! });
      continue;
    }
    const blocks = [base, other].map(({ arch: { block } }) => `${block.rows}×${block.cols}`);
    if (mine.scale && theirs.scale && blocks[0] !== blocks[1]) {
      found.notCompared.push({ name, reason: "block", base: blocks[0]!, other: blocks[1]! });
      continue;
    }
    found.pairs.push({
      name,
      place: arch.locate(name),
      shape: mine.weight.shape,
      elements: numElements(mine.weight.shape),
      block: (mine.scale ? base : other).arch.block,
      base: operandOf(mine),
      other: operandOf(theirs),
    });
  }
  for (const name of other.tensors.keys()) if (!base.tensors.has(name)) found.onlyInOther.push(name);
  return found;
}

function operandOf({ weight, scale }: LogicalTensor): PairOperand {
  const range = ({ shard, offset, byteLength }: StoredTensor) => ({ shard, offset, byteLength });
  const operand: PairOperand = { dtype: weight.dtype as FloatDtype, ...range(weight) };
  if (scale) operand.scale = { dtype: scale.dtype as ScaleDtype, ...range(scale) };
  return operand;
}

/** Bytes of a tensor as its checkpoint stores it, scales included. */
export function storedBytes({ byteLength, scale }: PairOperand): number {
  return byteLength + (scale?.byteLength ?? 0);
}
