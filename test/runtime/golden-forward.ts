/** The golden forward passes: checkpoints and what a reference computed from them (test/golden/forward). */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";

const FOLDER = "test/golden/forward";
/** Every folder that is there: so cases of scripts/make-forward-cases.py need only be copied to be tested. */
export const CASES: readonly string[] = readdirSync(FOLDER).sort();

export interface GoldenTensor {
  shape: number[];
  /** I64 as numbers. */
  values: Float32Array | number[];
}

export function expectedOf(name: string): Map<string, GoldenTensor> {
  const bytes = readFileSync(join(FOLDER, name, "expected.safetensors"));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [tensor, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (tensor === "__metadata__") continue;
    const data = bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]);
    const { buffer } = new Uint8Array(data);
    const values = dtype === "F32" ? new Float32Array(buffer) : Array.from(new BigInt64Array(buffer), Number);
    tensors.set(tensor, { shape, values });
  }
  return tensors;
}

/** The prompts of a case. */
export function promptsOf(expected: Map<string, GoldenTensor>): number[][] {
  const { shape, values } = expected.get("input_ids")!;
  const [batch, length] = shape as [number, number];
  return Array.from({ length: batch }, (_, b) => Array.from(values).slice(b * length, (b + 1) * length));
}

export function loadGolden(name: string, options: ModelOptions = {}): Promise<Model> {
  return loadModel(checkpointReference(join(FOLDER, name)), { threads: 1, chunk: 512, ...options });
}

/** Largest difference, relative to the largest magnitude that is expected. */
export function relativeError(actual: Float32Array, expected: ArrayLike<number>): number {
  let [most, off] = [0, 0];
  if (actual.length !== expected.length) return Number.NaN;
  for (let i = 0; i < actual.length; i++) {
    most = Math.max(most, Math.abs(expected[i]!));
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= off)) off = difference; // NaN stays
  }
  return off / most;
}

export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Logits of every row of one sequence, appended in pieces of these sizes. */
export async function logitsOf(
  model: Model,
  tokens: readonly number[],
  pieces: readonly number[],
): Promise<Float32Array> {
  const sequence = model.newSequence();
  const all: number[] = [];
  let at = 0;
  for (const size of pieces) {
    const some = tokens.slice(at, at + size);
    at += size;
    if (some.length === 0) break;
    const { logits } = await model.append([{ sequence, tokens: some }], {
      logitRows: range(some.length),
      attention: "absorbed",
    });
    all.push(...logits);
  }
  model.release(sequence);
  return Float32Array.from(all);
}
