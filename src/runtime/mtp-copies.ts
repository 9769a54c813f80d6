/**
 * Copies within a checkpoint: an MTP layer may bring the embedding and the head of the main model once more
 * (model.md section 10.1), 1.85 GB each for DeepSeek-V3. Where they are the same bytes they are not loaded.
 */
import { EMBEDDING, HEAD, mtpNames } from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import { Interrupted } from "../base/errors.ts";
import { rowLength, type WeightSource } from "../logical/weight-source.ts";
import { floatSize, formatShape } from "../tensor/dtype.ts";

/** Bytes of each of two tensors that are compared at a time. */
const CHUNK_BYTES = 4 << 20;

/**
 * Names of the MTP layers' tensors that equal the main ones: same shape, dtype, bytes and scales. Reads both
 * to the first difference. Throws CheckpointError for what cannot be read, Interrupted when the signal fired.
 */
export async function findMtpCopies(
  source: WeightSource,
  { sizes }: ModelConfig,
  { signal }: { signal?: AbortSignal } = {},
): Promise<string[]> {
  const copies: string[] = [];
  for (let i = 0; i < sizes.numMtpLayers; i++) {
    const { embedding, head } = mtpNames(sizes.numLayers + i);
    if (await isCopy(source, embedding, EMBEDDING, signal)) copies.push(embedding);
    if (await isCopy(source, head, sizes.isTied ? EMBEDDING : HEAD, signal)) copies.push(head);
  }
  return copies;
}

/** What placing asks of a source, without some weights. */
export function withoutWeights(
  { weights, block }: Pick<WeightSource, "weights" | "block">,
  names: readonly string[],
): Pick<WeightSource, "weights" | "block"> {
  const kept = new Map(weights);
  for (const name of names) kept.delete(name);
  return { weights: kept, block };
}

/** Whether a weight equals another: same shape, dtype, bytes and scales. False where one of them is missing. */
export async function isCopy(
  source: WeightSource,
  name: string,
  of: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const [a, b] = [source.weights.get(name), source.weights.get(of)];
  if (a === undefined || b === undefined || a.dtype !== b.dtype || a.hasScale !== b.hasScale) return false;
  if (formatShape(a.shape) !== formatShape(b.shape)) return false;
  const rowBytes = rowLength(a) * floatSize(a.dtype);
  const numRows = a.shape[0]!;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  for (let from = 0; from < numRows; from += step) {
    if (signal?.aborted) throw new Interrupted("Loading was stopped");
    const rows = { from, to: Math.min(from + step, numRows) };
    // Together: where both fail, one error is told and none is left without anyone who waits for it.
    const both = [name, of].map((tensor) => readRows(source, tensor, rows, rowBytes));
    const [first, second] = await Promise.all(both);
    if (!isSame(first!, second!)) return false;
  }
  return true;
}

interface StoredRows {
  bytes: Uint8Array;
  scales: Float32Array | undefined;
}

async function readRows(
  source: WeightSource,
  name: string,
  rows: { from: number; to: number },
  rowBytes: number,
): Promise<StoredRows> {
  const bytes = new Uint8Array((rows.to - rows.from) * rowBytes);
  return { bytes, scales: await source.read(name, rows, bytes) };
}

function isSame(a: StoredRows, b: StoredRows): boolean {
  const equal = Buffer.compare(a.bytes, b.bytes) === 0;
  return equal && (a.scales ?? []).every((scale, i) => scale === b.scales![i]);
}
