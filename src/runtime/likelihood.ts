/** How likely a model holds tokens: texts that are given, which multiple choice is scored by, and its own. */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import type { Model, Sequence } from "./model.ts";
import { logSumExp } from "./score.ts";

/** How likely a token was, and the likeliest ones of its place. */
export interface TokenLikelihood {
  token: number;
  /** ln p, without temperature. */
  logprob: number;
  /** The likeliest first. */
  top: { token: number; logprob: number }[];
}

export function tokenLikelihood(logits: Float32Array, token: number, numTop: number): TokenLikelihood {
  const sum = logSumExp(logits);
  const top = largest(logits, numTop).map((id) => ({ token: id, logprob: logits[id]! - sum }));
  return { token, logprob: logits[token]! - sum, top };
}

/** Ids of the largest logits, the largest first, the lower id on ties. */
function largest(logits: Float32Array, count: number): number[] {
  const ids: number[] = [];
  if (count === 0) return ids;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (ids.length === count && !(logit > logits[ids.at(-1)!]!)) continue;
    let at = ids.length;
    while (at > 0 && logit > logits[ids[at - 1]!]!) at--;
    ids.splice(at, 0, id);
    if (ids.length > count) ids.pop();
  }
  return ids;
}

/**
 * ln p of each continuation behind one context, both as ids; the context at least one token. The context is computed
 * once. Throws CheckpointError "context" for what is longer than the context, Interrupted when the signal fired.
 */
export async function likelihoodsBehind(
  model: Model,
  context: readonly number[],
  { continuations, signal }: { continuations: readonly (readonly number[])[]; signal?: AbortSignal },
): Promise<number[]> {
  if (context.length === 0) throw new RangeError("Cannot score behind an empty context, wanted a token");
  const limit = Math.min(model.context, model.config.maxPositions);
  const longest = context.length + Math.max(0, ...continuations.map(({ length }) => length));
  if (longest > limit) {
    const message = `Cannot score a text of ${longest} tokens: wanted at most the ${limit} of the context`;
    throw new CheckpointError("context", message);
  }
  const sequence = model.newSequence();
  const scorer = new Scorer(model, sequence, signal);
  try {
    // The context's last token gives the logits of a continuation's first: it is computed with each.
    await scorer.skip(context.slice(0, -1));
    const results: number[] = [];
    for (const continuation of continuations) {
      model.truncate(sequence, context.length - 1);
      results.push(await scorer.add([context.at(-1)!, ...continuation]));
    }
    return results;
  } finally {
    model.release(sequence);
  }
}

class Scorer {
  readonly #model: Model;
  readonly #sequence: Sequence;
  readonly #signal: AbortSignal | undefined;

  constructor(model: Model, sequence: Sequence, signal: AbortSignal | undefined) {
    this.#model = model;
    this.#sequence = sequence;
    this.#signal = signal;
  }

  async skip(tokens: readonly number[]): Promise<void> {
    const { maxRows } = this.#model;
    for (let from = 0; from < tokens.length; from += maxRows)
      await this.#append(tokens.slice(from, from + maxRows), 0);
  }

  /** Sum of ln p of all tokens but the first. */
  async add(tokens: readonly number[]): Promise<number> {
    const { maxRows, maxLogitRows, config } = this.#model;
    const { vocab } = config.sizes;
    const rows = Math.min(maxRows, maxLogitRows);
    let sum = 0;
    for (let from = 0; from < tokens.length - 1; from += rows) {
      const some = tokens.slice(from, Math.min(from + rows, tokens.length - 1));
      const logits = await this.#append(some, some.length);
      for (let i = 0; i < some.length; i++) {
        const row = logits.subarray(i * vocab, (i + 1) * vocab);
        sum += row[tokens[from + i + 1]!]! - logSumExp(row);
      }
    }
    return sum;
  }

  async #append(tokens: readonly number[], numLogits: number): Promise<Float32Array> {
    if (this.#signal?.aborted) throw new Interrupted("The computation was stopped");
    const logitRows = Array.from({ length: numLogits }, (_, i) => i);
    const { logits } = await this.#model.append([{ sequence: this.#sequence, tokens }], { logitRows });
    return logits;
  }
}
