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
  const taken = new Set<string>();
  const report = (code: string, name: string, what: string, note?: string) => {
    const message = `Cannot use "${name}" of "${label}": ${what}`;
    problems.push(note ? { code, message, note } : { code, message });
  };
  for (const weight of tensors.values()) {
    if (!isFloat8(weight.dtype)) continue;
    const { name, shape, dtype } = weight;
    const scaleName = scaleNameOf(name).find((candidate) => tensors.has(candidate));
    const wanted = shape.length >= 2 ? scaleShape(shape, block) : undefined;
    if (scaleName === undefined) {
      const scale = wanted ? `wanted a scale of shape ${formatShape(wanted)}` : "wanted two or more dimensions";
      const note = `"${scaleNameOf(name)[0]}" is missing; the download may be partial`;
      report("missing-block-scale", name, `${dtype} ${formatShape(shape)} without a block scale, ${scale}`, note);
      continue;
    }
    const scale = tensors.get(scaleName)!;
    taken.add(scaleName);
    if (!isScaleDtype(scale.dtype)) {
      report("scale-dtype", name, `its scale "${scaleName}" is ${scale.dtype}, wanted F32, BF16 or F8_E8M0`);
    } else if (!wanted || formatShape(scale.shape) !== formatShape(wanted)) {
      const blocks = `${block.rows}×${block.cols} blocks of ${formatShape(shape)}`;
      const want = wanted ? `wanted ${formatShape(wanted)} for ${blocks}` : "wanted two or more dimensions";
      report("scale-shape", name, `its scale "${scaleName}" is ${formatShape(scale.shape)}, ${want}`);
    } else logical.set(name, { name, weight, scale });
  }
  for (const tensor of tensors.values()) {
    if (taken.has(tensor.name) || isFloat8(tensor.dtype)) continue;
    const weightName = tensor.name.endsWith("_scale_inv") ? weightNameOf(tensor.name) : undefined;
    if (weightName !== undefined) {
      const weight = tensors.get(weightName);
      const found = weight ? `"${weightName}" is ${weight.dtype}` : `there is no "${weightName}"`;
      report("orphan-scale", tensor.name, `it is a block scale and ${found}, wanted an FP8 weight`);
      continue;
    }
    logical.set(tensor.name, { name: tensor.name, weight: tensor });
  }
  return { tensors: inOrder(tensors, logical), problems };
}

function inOrder(
  tensors: ReadonlyMap<string, StoredTensor>,
  logical: ReadonlyMap<string, LogicalTensor>,
): Map<string, LogicalTensor> {
  const ordered = new Map<string, LogicalTensor>();
  for (const name of tensors.keys()) {
    const tensor = logical.get(name);
    if (tensor) ordered.set(name, tensor);
  }
  return ordered;
}
