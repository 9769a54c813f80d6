/** Prefill and decoding of a running model, timed: the quickest of some rounds, each on an empty cache. */
import { availableParallelism } from "node:os";
import { argmax, generate, newStats } from "../src/runtime/generate.ts";
import type { Model } from "../src/runtime/model.ts";

export const PROMPT_TOKENS = 512;
export const DECODED = 48;
const ROUNDS = 3;

export interface Speed {
  /** Tokens per second. */
  prefill: number;
  decode: number;
  /** What was decoded. */
  tokens: number[];
}

/** Ids all over a vocabulary. */
export function promptOf(vocab: number, length: number = PROMPT_TOKENS): number[] {
  return Array.from({ length }, (_, i) => (i * 7919 + 13) % vocab);
}

/** 1 and 2, and what more cores can do. */
export function threadCounts(): number[] {
  return [1, 2, 4, 8].filter((threads) => threads <= Math.max(2, availableParallelism()));
}

/** One round: tokens, and seconds of the prompt and of what follows the first token. */
export type Round = () => Promise<{ tokens: number[]; promptSeconds: number; seconds: number }>;

/** Runs all in turn, some rounds of it, and gives the quickest of each: what drifts, drifts for all. */
export async function speedsOf(contestants: readonly Round[]): Promise<Speed[]> {
  const speeds = contestants.map((): Speed => ({ prefill: 0, decode: 0, tokens: [] }));
  for (let i = 0; i < ROUNDS; i++) {
    for (const [at, run] of contestants.entries()) {
      const { tokens, promptSeconds, seconds } = await run();
      const speed = speeds[at]!;
      speed.tokens = tokens;
      speed.prefill = Math.max(speed.prefill, PROMPT_TOKENS / promptSeconds);
      speed.decode = Math.max(speed.decode, (tokens.length - 1) / seconds);
    }
  }
  return speeds;
}

/** A round of a model of ours, greedy. */
export function roundOf(model: Model, prompt: readonly number[]): Round {
  return async () => {
    const sequence = model.newSequence();
    const stats = newStats();
    const tokens: number[] = [];
    const stream = generate(model, sequence, { prompt, stats, choose: argmax, maxTokens: DECODED });
    for await (const token of stream) tokens.push(token);
    model.release(sequence);
    return { tokens, promptSeconds: stats.promptSeconds, seconds: stats.seconds };
  };
}
