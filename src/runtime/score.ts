/**
 * What a model says about a text that is there: logits of every position, perplexity, and how far two models
 * are apart on it.
 */
import { Interrupted } from "../base/errors.ts";
import type { Model } from "./model.ts";

/** Some positions of a sequence, in order. */
export interface ScoredRows {
  /** Index of the first one. */
  from: number;
  count: number;
  /** (count, vocab) */
  logits: Float32Array;
  /** With traces: (numLayers + 2, count, hidden). */
  traces: Float32Array | undefined;
}

/** Rows whose logits one pass can give. */
function rowsOfPass({ maxRows, maxLogitRows }: Model): number {
  return Math.min(maxRows, maxLogitRows);
}

/** Runs a sequence and gives the logits of all its positions: `step` at a time, by default as fit one pass. */
export async function* scoreRows(
  model: Model,
  tokens: readonly number[],
  { signal, step = rowsOfPass(model) }: { signal?: AbortSignal; step?: number } = {},
): AsyncGenerator<ScoredRows> {
  const sequence = model.newSequence();
  try {
    for (let from = 0; from < tokens.length; from += step) {
      if (signal?.aborted) throw new Interrupted("The computation was stopped");
      const some = tokens.slice(from, from + step);
      const logitRows = some.map((_, i) => i);
      const { logits, traces } = await model.append([{ sequence, tokens: some }], { logitRows });
      yield { from, count: some.length, logits, traces };
    }
  } finally {
    model.release(sequence);
  }
}

/** A text cut into windows that are scored each for itself; every one begins with BOS where there is one. */
export function windowsOf(
  tokens: readonly number[],
  { length, bos }: { length: number; bos: number | undefined },
): number[][] {
  const room = bos === undefined ? length : length - 1;
  const windows: number[][] = [];
  for (let from = 0; from < tokens.length; from += room) {
    const some = tokens.slice(from, from + room);
    windows.push(bos === undefined ? some : [bos, ...some]);
  }
  return windows;
}

export interface PerplexityReport {
  /** Tokens that were predicted: all but the first of each window. */
  tokens: number;
  /** exp of the mean negative log-likelihood. */
  perplexity: number;
  /** Mean negative log-likelihood, in nats. */
  nll: number;
  seconds: number;
}

export interface DivergenceReport {
  tokens: number;
  /** Mean of KL(first ‖ second) over positions, its median and its largest, in nats. */
  meanKl: number;
  medianKl: number;
  largestKl: number;
  /** Share of positions whose likeliest token is the same. */
  top1Agreement: number;
}

interface Running {
  nll: number;
  tokens: number;
}

/** ln Σ exp, in float64. */
export function logSumExp(row: Float32Array): number {
  let most = -Infinity;
  for (const value of row) if (value > most) most = value;
  let sum = 0;
  for (const value of row) sum += Math.exp(value - most);
  return most + Math.log(sum);
}

/** Perplexity of each model over the same windows, and the divergence of the second from the first. */
export async function perplexity(
  models: readonly [Model] | readonly [Model, Model],
  windows: readonly (readonly number[])[],
  { signal, onTokens }: { signal?: AbortSignal; onTokens?: (tokens: number) => void } = {},
): Promise<{ reports: PerplexityReport[]; divergence: DivergenceReport | undefined }> {
  const running = models.map((): Running & { seconds: number } => ({ nll: 0, tokens: 0, seconds: 0 }));
  const distances: number[] = [];
  let agreeing = 0;
  const [first, other] = models;
  const options = { step: Math.min(...models.map(rowsOfPass)), ...(signal ? { signal } : {}) };
  for (const window of windows) {
    const others = other && scoreRows(other, window, options);
    try {
      let startedAt = performance.now();
      for await (const rows of scoreRows(first, window, options)) {
        running[0]!.seconds += (performance.now() - startedAt) / 1000;
        const vocab = first.config.sizes.vocab;
        startedAt = performance.now();
        const against = others && ((await others.next()).value as ScoredRows);
        if (against) running[1]!.seconds += (performance.now() - startedAt) / 1000;
        for (let i = 0; i < rows.count; i++) {
          const next = window[rows.from + i + 1];
          if (next === undefined) continue; // nothing follows the last one
          const p = rows.logits.subarray(i * vocab, (i + 1) * vocab);
          const lp = logSumExp(p);
          add(running[0]!, lp - p[next]!);
          if (!against) continue;
          const q = against.logits.subarray(i * vocab, (i + 1) * vocab);
          const lq = logSumExp(q);
          add(running[1]!, lq - q[next]!);
          const { kl, agrees } = compareRows({ p, lp }, { q, lq });
          distances.push(kl);
          if (agrees) agreeing++;
        }
        onTokens?.(rows.count);
        startedAt = performance.now();
      }
    } finally {
      await others?.return(undefined); // it waits behind its last rows, and holds their memory
    }
  }
  const reports = running.map(({ nll, tokens, seconds }) => {
    const mean = nll / tokens;
    return { tokens, perplexity: Math.exp(mean), nll: mean, seconds };
  });
  return { reports, divergence: models.length === 2 ? divergenceOf(distances, agreeing) : undefined };
}

function add(running: Running, nll: number): void {
  running.nll += nll;
  running.tokens++;
}

/** KL(p ‖ q) in float64, and whether both have the same likeliest token. */
function compareRows(
  { p, lp }: { p: Float32Array; lp: number },
  { q, lq }: { q: Float32Array; lq: number },
): { kl: number; agrees: boolean } {
  let kl = 0;
  let [bestP, bestQ] = [0, 0];
  for (let i = 0; i < p.length; i++) {
    const log = p[i]! - lp;
    kl += Math.exp(log) * (log - (q[i]! - lq));
    if (p[i]! > p[bestP]!) bestP = i;
    if (q[i]! > q[bestQ]!) bestQ = i;
  }
  return { kl: Math.max(0, kl), agrees: bestP === bestQ };
}

function divergenceOf(distances: readonly number[], agreeing: number): DivergenceReport {
  const sorted = [...distances].sort((a, b) => a - b);
  const tokens = sorted.length;
  return {
    tokens,
    meanKl: sorted.reduce((sum, kl) => sum + kl, 0) / tokens,
    medianKl: sorted[Math.floor(tokens / 2)] ?? Number.NaN,
    largestKl: sorted.at(-1) ?? Number.NaN,
    top1Agreement: agreeing / tokens,
  };
}

export interface ScoreOptions {
  signal?: AbortSignal;
  /** Told how many more positions are done. */
  onTokens?: (count: number) => void;
}

/** By name: "hidden.embed", "hidden.layer.0" …, "hidden.norm". */
export type HiddenStates = Map<string, Float32Array>;

/**
 * Logits of every position of sequences of one length, (B, T, vocab), and with a model that keeps traces its
 * hidden states, (B, T, hidden) each.
 */
export async function scoreLogits(
  model: Model,
  batch: readonly (readonly number[])[],
  { signal, onTokens }: ScoreOptions = {},
): Promise<{ logits: Float32Array; hidden: HiddenStates | undefined }> {
  const { vocab, hidden: width, numLayers } = model.config.sizes;
  const [numSequences, length] = [batch.length, batch[0]!.length];
  const logits = new Float32Array(numSequences * length * vocab);
  const layers = Array.from({ length: numLayers }, (_, i) => `hidden.layer.${i}`);
  const names = ["hidden.embed", ...layers, "hidden.norm"];
  let hidden: HiddenStates | undefined;
  for (const [b, tokens] of batch.entries()) {
    for await (const rows of scoreRows(model, tokens, signal ? { signal } : {})) {
      onTokens?.(rows.count);
      const row = b * length + rows.from;
      logits.set(rows.logits, row * vocab);
      if (!rows.traces) continue;
      hidden ??= new Map(names.map((name) => [name, new Float32Array(numSequences * length * width)]));
      for (const [slot, name] of names.entries()) {
        const from = slot * rows.count * width;
        hidden.get(name)!.set(rows.traces.subarray(from, from + rows.count * width), row * width);
      }
    }
  }
  return { logits, hidden };
}

/** A result as safetensors hold it. */
interface ResultTensor {
  dtype: "F32" | "I64";
  shape: number[];
  bytes: Uint8Array;
}

/** As scoreLogits(), as tensors: input_ids I64 (B, T), logits and hidden states F32. */
export async function scoreBatch(
  model: Model,
  batch: readonly (readonly number[])[],
  options: ScoreOptions = {},
): Promise<Map<string, ResultTensor>> {
  const { logits, hidden } = await scoreLogits(model, batch, options);
  const shape = [batch.length, batch[0]!.length];
  const ids = BigInt64Array.from(batch.flat(), BigInt);
  const tensors = new Map<string, ResultTensor>();
  tensors.set("input_ids", { dtype: "I64", shape, bytes: new Uint8Array(ids.buffer) });
  for (const [name, values] of [["logits", logits] as const, ...(hidden ?? [])]) {
    const width = values.length / ids.length;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    tensors.set(name, { dtype: "F32", shape: [...shape, width], bytes });
  }
  return tensors;
}
