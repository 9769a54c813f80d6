/** Operands in memory. Reads can be made to take their time, so that what must wait is seen to wait. */
import type { Source } from "../../src/checkpoint/source.ts";
import type { Operand, ScaleDtype } from "../../src/logical/operand.ts";
import type { BlockSize } from "../../src/tensor/block.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import type { TestTensor } from "../support/safetensors.ts";

export interface MemorySourceOptions {
  /** Called before each read; the read waits for it. */
  delay?: () => Promise<void>;
}

/** A file that holds these tensors one after another behind `lead` bytes of something else. */
export function sourceOf(
  name: string,
  bytes: Uint8Array,
  { delay }: MemorySourceOptions = {},
): Source & { bytesRead: number } {
  return {
    name,
    byteLength: bytes.length,
    identity: "1:1",
    alignment: 1,
    bytesRead: 0,
    async read(into: Uint8Array, offset: number): Promise<void> {
      await delay?.();
      if (offset + into.length > bytes.length) throw new Error(`read beyond the end of ${name}`);
      this.bytesRead += into.length;
      into.set(bytes.subarray(offset, offset + into.length));
    },
    async checkUnchanged(): Promise<void> {},
    async close(): Promise<void> {},
  };
}

/** An operand whose weight lies at an odd offset of one source and whose scale lies in another. */
export function operandOf(
  owner: string,
  weight: TestTensor,
  { scale, block, delay }: { scale?: TestTensor; block: BlockSize } & MemorySourceOptions,
): Operand {
  const lead = 3;
  const file = (name: string, { bytes }: TestTensor) => {
    const all = new Uint8Array(lead + bytes.length).fill(0xff); // NaN, should it be read
    all.set(bytes, lead);
    return { source: sourceOf(name, all, delay ? { delay } : {}), offset: lead, byteLength: bytes.length };
  };
  return {
    name: weight.name,
    owner,
    dtype: weight.dtype as FloatDtype,
    shape: weight.shape,
    ...file("weights.safetensors", weight),
    ...(scale ? { scale: { ...file("scales.safetensors", scale), dtype: scale.dtype as ScaleDtype } } : {}),
    block,
  };
}

/** Small waits of a seeded length: some reads overtake others. */
export function jitter(random: () => number): () => Promise<void> {
  return () => {
    const ticks = Math.floor(random() * 3);
    return ticks === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ticks - 1));
  };
}
