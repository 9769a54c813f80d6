/** Writing a few tensors that are in memory as one safetensors file: results, not checkpoints. */
import type { Dtype } from "../tensor/dtype.ts";
import { encodeHeader } from "./header.ts";
import { writeFileAtomically } from "./node.ts";

export interface NamedTensor {
  dtype: Dtype;
  shape: readonly number[];
  bytes: Uint8Array;
}

/** Writes them in order; returns the file's length. The name appears when the file is complete. */
export async function writeTensors(path: string, tensors: ReadonlyMap<string, NamedTensor>): Promise<number> {
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const parts = [encodeHeader(entries, new Map([["format", "pt"]]))];
  for (const { bytes } of tensors.values()) parts.push(bytes);
  await writeFileAtomically(path, parts);
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
