/**
 * What the child stores for each logical tensor: its dtype and whether it has block scales.
 *
 * As the base has it, unless the recipe names an output dtype. The router bias stays F32 in every half
 * format (checkpoint-format.md section 4), and FP8 is for the matrices that the family's own releases
 * quantise.
 */
import type { Architecture } from "../arch/architecture.ts";
import { scaleNameOf } from "../arch/scale-names.ts";
import type { ScaleDtype } from "../logical/operand.ts";
import type { LogicalTensor } from "../logical/pairs.ts";
import type { OutputDtype } from "../recipe/recipe.ts";
import { type BlockSize, scaleShape } from "../tensor/block.ts";
import { byteLengthOf, type Dtype, isFloat } from "../tensor/dtype.ts";

export interface Target {
  dtype: Dtype;
  byteLength: number;
  scale?: { name: string; dtype: ScaleDtype; shape: number[]; byteLength: number };
}

/** The child's form of a tensor of the base. */
export function targetOf(
  tensor: LogicalTensor,
  { output, arch, block }: { output: OutputDtype; arch: Architecture; block: BlockSize },
): Target {
  const { name, weight } = tensor;
  const asStored: Target = {
    dtype: weight.dtype,
    byteLength: weight.byteLength,
    ...(tensor.scale ? { scale: { ...tensor.scale, dtype: tensor.scale.dtype as ScaleDtype } } : {}),
  };
  if (output === "as-base" || !isFloat(weight.dtype)) return asStored;
  if (weight.dtype === "F32" && arch.keepsF32(name)) return asStored;
  if (output === "f8_e4m3") {
    if (weight.dtype === "F8_E4M3" || weight.shape.length < 2 || !arch.quantizable(name)) return asStored;
    const shape = scaleShape(weight.shape, block);
    // An E5M2 weight has one already, perhaps under another of its names.
    const scaleName = tensor.scale?.name ?? scaleNameOf(name)[0]!;
    const scale = { name: scaleName, dtype: "F32" as const, shape, byteLength: byteLengthOf("F32", shape) };
    return { dtype: "F8_E4M3", byteLength: byteLengthOf("F8_E4M3", weight.shape), scale };
  }
  const dtype = ({ bf16: "BF16", f16: "F16", f32: "F32" } as const)[output];
  return { dtype, byteLength: byteLengthOf(dtype, weight.shape) };
}
