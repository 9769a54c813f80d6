/** How far the peer's logits are from ours, for the same tokens in both. */
import { argmax } from "../../src/runtime/generate.ts";
import type { Model } from "../../src/runtime/model.ts";
import type { PeerContext } from "./llama.ts";

export interface LogitDifference {
  /** Median over positions of |a - b| / |a|, each vector without its mean. */
  relative: number;
  /** Largest KL divergence of a position, in nats. */
  divergence: number;
  /** Share of positions with the same most likely token. */
  agreement: number;
}

export async function ourLogits(model: Model, tokens: readonly number[]): Promise<Float32Array> {
  const sequence = model.newSequence();
  const { logits } = await model.append([{ sequence, tokens }], { logitRows: tokens.map((_, i) => i) });
  model.release(sequence);
  return logits;
}

export async function differenceOf(
  ours: Float32Array,
  { context, tokens }: { context: PeerContext; tokens: readonly number[] },
): Promise<LogitDifference> {
  const vocab = ours.length / tokens.length;
  const theirs = await context.logits(tokens, vocab);
  const relative: number[] = [];
  let [divergence, same] = [0, 0];
  for (let row = 0; row < tokens.length; row++) {
    const a = ours.subarray(row * vocab, (row + 1) * vocab);
    const b = theirs.subarray(row * vocab, (row + 1) * vocab);
    relative.push(relativeError(centred(a), centred(b)));
    divergence = Math.max(divergence, klDivergence(logSoftmax(a), logSoftmax(b)));
    if (argmax(a) === argmax(b)) same++;
  }
  relative.sort((a, b) => a - b);
  return { relative: relative[relative.length >> 1]!, divergence, agreement: same / tokens.length };
}

function centred(values: Float32Array): Float64Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Float64Array.from(values, (value) => value - mean);
}

function relativeError(a: Float64Array, b: Float64Array): number {
  const square = (values: Float64Array) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(a.map((value, i) => value - b[i]!)) / square(a));
}

function logSoftmax(values: Float32Array): Float64Array {
  const largest = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const sum = values.reduce((total, value) => total + Math.exp(value - largest), 0);
  return Float64Array.from(values, (value) => value - largest - Math.log(sum));
}

function klDivergence(p: Float64Array, q: Float64Array): number {
  return p.reduce((sum, value, i) => sum + Math.exp(value) * (value - q[i]!), 0);
}
