/**
 * A logical tensor where it lies: a weight and, for FP8, its block scales, as one thing.
 *
 * Weight and scale may lie in different shards. They are read together and mean something only together
 * (assembly.md section 2). Everything that computes with parents' tensors starts from Operands.
 */
import { CheckpointError } from "../base/errors.ts";
import type { Source } from "../checkpoint/source.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { type BlockSize, scaleShape } from "../tensor/block.ts";
import type { Dtype, FloatDtype } from "../tensor/dtype.ts";
import type { Heap } from "./heap.ts";
import { elementIndex } from "./pieces.ts";

/** Types in which block scales are found on disk. */
export type ScaleDtype = "F32" | "BF16" | "F8_E8M0";

export function isScaleDtype(dtype: Dtype): dtype is ScaleDtype {
  return dtype === "F32" || dtype === "BF16" || dtype === "F8_E8M0";
}

export interface Operand {
  /** Name of the weight, for messages. */
  name: string;
  /** Whose it is, for messages: the parent's name. */
  owner: string;
  dtype: FloatDtype;
  shape: readonly number[];
  source: Source;
  offset: number;
  byteLength: number;
  scale?: { source: Source; offset: number; byteLength: number; dtype: ScaleDtype };
  block: BlockSize;
}

/** Fails for a value that is not finite: names tensor, parent, file and element. */
export function notFinite(operand: Operand, element: readonly number[], what: string): CheckpointError {
  const where = `element [${element.join(", ")}] of parent "${operand.owner}"`;
  return new CheckpointError(
    "not-finite",
    `Cannot use "${operand.name}": ${where} in "${operand.source.name}" is ${what}, wanted a finite number`,
  );
}

/** Fails for a scale that no quantiser writes. `index` counts blocks in row-major order. */
export function badScale(operand: Operand, index: number, value: number): CheckpointError {
  const block = elementIndex(scaleShape(operand.shape, operand.block), index).join(", ");
  const where = `block [${block}] of its scale in parent "${operand.owner}" (${operand.scale!.source.name})`;
  return new CheckpointError(
    "bad-scale",
    `Cannot use "${operand.name}": ${where} is ${value}, wanted a finite number above 0`,
  );
}

/**
 * The block scales of an operand as float32, checked: finite and above 0. 1/4096 of the weight's bytes.
 */
export async function readScales(operand: Operand, kernels: Kernels, heap: Heap): Promise<Float32Array> {
  const { source, offset, byteLength, dtype } = operand.scale!;
  const elementBytes = dtype === "F32" ? 4 : dtype === "BF16" ? 2 : 1;
  const scales = new Float32Array(byteLength / elementBytes);
  if (dtype === "F32") {
    await source.read(new Uint8Array(scales.buffer), offset);
  } else {
    // Through the heap in pieces, since the kernels convert.
    const step = 65536;
    for (let start = 0; start < scales.length; start += step) {
      const count = Math.min(step, scales.length - start);
      const mark = heap.mark();
      try {
        const from = heap.allocate(count * elementBytes);
        const to = heap.allocate(count * 4);
        await source.read(
          kernels.bytes.subarray(from, from + count * elementBytes),
          offset + start * elementBytes,
        );
        if (dtype === "BF16") kernels.widen("BF16", from, to, count);
        else kernels.widenUe8m0(from, to, count);
        scales.set(new Float32Array(kernels.bytes.buffer, kernels.bytes.byteOffset + to, count), start);
      } finally {
        heap.release(mark);
      }
    }
  }
  for (let index = 0; index < scales.length; index++) {
    const value = scales[index]!;
    if (!(value > 0 && value < Infinity)) throw badScale(operand, index, value);
  }
  return scales;
}
