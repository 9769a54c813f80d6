/**
 * Pairing a checkpoint's physical tensors into logical ones: every FP8 weight with its block scales.
 *
 * A scale may lie in another shard than its weight. What cannot be paired is a problem of the checkpoint:
 * codes without their scale are never used as weights.
 */
import { scaleNameOf, weightNameOf } from "../arch/scale-names.ts";
import type { Problem } from "../base/errors.ts";
import type { StoredTensor } from "../checkpoint/checkpoint.ts";
import { type BlockSize, scaleShape } from "../tensor/block.ts";
import { formatShape, isFloat8 } from "../tensor/dtype.ts";
import { isScaleDtype } from "./operand.ts";

export interface LogicalTensor {
  /** The weight's name. */
  name: string;
  weight: StoredTensor;
  scale?: StoredTensor;
}

export interface Pairing {
  /** By the weight's name, in the checkpoint's order. */
  tensors: Map<string, LogicalTensor>;
  problems: Problem[];
}

/** Pairs weights and scales; every physical tensor ends in exactly one logical one. */
export function pairTensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  { label, block }: { label: string; block: BlockSize },
): Pairing {
  const logical = new Map<string, LogicalTensor>();
  const problems: Problem[] = [];
  const report = (code: string, name: string, what: string, note?: string) => {
    const message = `Cannot use "${name}" of "${label}" (${tensors.get(name)!.shard}): ${what}`;
    problems.push(note ? { code, message, note } : { code, message });
  };
  const scaleOf = (name: string) => scaleNameOf(name).find((candidate) => tensors.has(candidate));
  for (const tensor of tensors.values()) {
    const { name, dtype } = tensor;
    if (isFloat8(dtype)) {
      const scale = scaleOf(name);
      const fault = scale === undefined ? undefined : scaleFault(tensor, tensors.get(scale)!, block);
      if (scale === undefined) report("missing-block-scale", name, ...missingScale(tensor, block));
      else if (fault) report(fault.code, name, fault.what);
      else logical.set(name, { name, weight: tensor, scale: tensors.get(scale)! });
      continue;
    }
    const weightName = weightNameOf(name);
    const weight = weightName === undefined ? undefined : tensors.get(weightName);
    if (weight && isFloat8(weight.dtype) && scaleOf(weight.name) === name) continue; // comes with its weight
    if (weightName !== undefined && name.endsWith("_scale_inv")) {
      const found = weight ? `"${weightName}" is ${weight.dtype}` : `there is no "${weightName}"`;
      report("orphan-scale", name, `it is a block scale and ${found}, wanted an FP8 weight`);
      continue;
    }
    logical.set(name, { name, weight: tensor });
  }
  return { tensors: logical, problems };
}

/** What was wanted in place of no scale at all, and a note. */
function missingScale({ name, dtype, shape }: StoredTensor, block: BlockSize): [string, string] {
  const wanted =
    shape.length >= 2
      ? `a scale of shape ${formatShape(scaleShape(shape, block))}`
      : "two or more dimensions";
  const what = `${dtype} ${formatShape(shape)} without a block scale, wanted ${wanted}`;
  return [what, `"${scaleNameOf(name)[0]}" is missing; the download may be partial`];
}

function scaleFault(
  { shape }: StoredTensor,
  scale: StoredTensor,
  block: BlockSize,
): { code: string; what: string } | undefined {
  if (!isScaleDtype(scale.dtype)) {
    const what = `its scale "${scale.name}" (${scale.shard}) is ${scale.dtype}, wanted F32, BF16 or F8_E8M0`;
    return { code: "scale-dtype", what };
  }
  const wanted = shape.length >= 2 ? scaleShape(shape, block) : undefined;
  if (wanted?.length === scale.shape.length && wanted.every((dim, i) => dim === scale.shape[i]))
    return undefined;
  const blocks = `${block.rows}×${block.cols} blocks of ${formatShape(shape)}`;
  const want = wanted ? `wanted ${formatShape(wanted)} for ${blocks}` : "wanted two or more dimensions";
  return {
    code: "scale-shape",
    what: `its scale "${scale.name}" (${scale.shard}) is ${formatShape(scale.shape)}, ${want}`,
  };
}
