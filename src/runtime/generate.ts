/**
 * Token after token: prefill of a prompt behind what the cache holds of it already, then decoding, with the
 * checkpoint's own MTP layer proposing one token ahead (model.md section 10.2).
 *
 * Speculation is lossless to the bit: the next token is a function of the logits and of its position, and a
 * pass over two rows gives the very logits of two passes. So a draft is kept where it is the token that would
 * have been chosen anyway. The draft is chosen as that token will be, from the MTP layer's logits with the same
 * random number: where the two distributions are alike they agree on nearly every draw, as often as the rule of
 * section 10.3 would accept, and more often than the likeliest token is drawn (docs/LOG.md).
 */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import { type ExpertUse, expertUseSince } from "./expert-use.ts";
import type { Model, PassResult, Sequence } from "./model.ts";

export interface GenerateOptions {
  /** Most tokens to generate. Default: until the context is full. */
  maxTokens?: number;
  /**
   * The next token from its logits; `position` counts from the start of the sequence. Must not depend on more:
   * it is asked for drafts too, with the MTP layer's logits.
   */
  choose: (logits: Float32Array, position: number, tokens: readonly number[]) => number;
  /** Tokens that end the generation; the last one given out. */
  stopTokens?: ReadonlySet<number>;
  /**
   * Propose tokens with the MTP layer, where the model has one. Default: as long as that makes it quicker (see
   * draft-balance.ts). The tokens do not depend on it.
   */
  speculate?: boolean;
  /** Told after each chunk of the prompt how many of its tokens are in the cache. */
  onPrompt?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export type FinishReason = "stop" | "length" | "context" | "aborted";

/** Grows while tokens come; complete when the last one has. */
export interface GenerateStats {
  promptTokens: number;
  /** Of these, found in the cache. */
  cachedTokens: number;
  promptSeconds: number;
  tokens: number;
  /** Of decoding: from the first token to the last. */
  seconds: number;
  drafts: number;
  accepted: number;
  /** Whether drafts make this model quicker; undefined: not known yet, or not asked. */
  draftsPay?: boolean;
  /** What the cache of experts did for the prompt and behind it, where experts are read from disk. */
  experts?: { prompt: ExpertUse; answer: ExpertUse };
  finish: FinishReason | undefined;
}

export function newStats(): GenerateStats {
  return {
    ...{ promptTokens: 0, cachedTokens: 0, promptSeconds: 0 },
    ...{ tokens: 0, seconds: 0, drafts: 0, accepted: 0, finish: undefined },
  };
}

/**
 * Generates behind a prompt. `sequence` may hold an earlier conversation: what it shares with the prompt is
 * not computed again. Every token is yielded, the one that stops included.
 */
export async function* generate(
  model: Model,
  sequence: Sequence,
  { prompt, ...options }: GenerateOptions & { prompt: readonly number[]; stats?: GenerateStats },
): AsyncGenerator<number, GenerateStats> {
  if (prompt.length === 0) throw new RangeError("Cannot generate behind an empty prompt, wanted a token");
  const { choose, signal, stopTokens = new Set(), stats = newStats() } = options;
  const { draftBalance } = model;
  const isAuto = options.speculate === undefined;
  const speculate = model.hasMtp && (options.speculate ?? draftBalance.pays !== false);
  const limit = Math.min(model.context, model.config.maxPositions);
  const most = Math.min(options.maxTokens ?? limit, limit);
  if (prompt.length > limit) {
    const message = `Cannot use the prompt: it has ${prompt.length} tokens, wanted at most the ${limit} of the context`;
    throw new CheckpointError("context", message);
  }
  const startedAt = performance.now();
  const useBefore = model.expertUse();
  stats.promptTokens = prompt.length;
  stats.cachedTokens = keepPrefix(model, sequence, { prompt, speculate });
  let last = await prefill(model, sequence, { ...options, prompt, speculate });
  stats.promptSeconds = (performance.now() - startedAt) / 1000;
  const useOfPrompt = model.expertUse();
  const seeExperts = () => {
    const now = model.expertUse();
    if (!now) return;
    const [prompt, answer] = [expertUseSince(useOfPrompt!, useBefore!), expertUseSince(now, useOfPrompt!)];
    stats.experts = { prompt, answer };
  };
  seeExperts();

  const decodingAt = performance.now();
  const tokens = [...prompt];
  /** Takes a token into the stream; says whether it goes on. */
  const take = (token: number): boolean => {
    tokens.push(token);
    stats.tokens++;
    stats.seconds = (performance.now() - decodingAt) / 1000;
    seeExperts();
    if (stopTokens.has(token)) stats.finish = "stop";
    else if (stats.tokens >= most)
      stats.finish = tokens.length >= limit && most === limit ? "context" : "length";
    else if (tokens.length >= limit) stats.finish = "context";
    else if (signal?.aborted) stats.finish = "aborted";
    return stats.finish === undefined;
  };
  const { vocab, hidden } = model.config.sizes;
  if (most === 0) stats.finish = "length";
  if (stats.finish) return stats;
  let current = choose(last.logits, tokens.length, tokens);
  let goesOn = take(current);
  yield current;
  if (isAuto && draftBalance.pays !== undefined) stats.draftsPay = draftBalance.pays;
  const triesDraft = () => speculate && (!isAuto || draftBalance.triesDraft) && tokens.length + 1 < limit;
  /** What the MTP layer has not seen yet: tokens, each behind a row of hidden states. */
  let unseen = { tokens: [current], hidden: lastRow(last.normed, hidden) };
  while (goesOn) {
    const stepAt = performance.now();
    let draft: number | undefined;
    if (triesDraft()) {
      draft = choose(await propose(model, sequence, unseen), tokens.length, tokens);
      unseen = { tokens: [], hidden: new Float32Array() };
      stats.drafts++;
    }
    const rows = draft === undefined ? [current] : [current, draft];
    last = await model.append([{ sequence, tokens: rows }], { logitRows: rows.map((_, i) => i) });
    const first = choose(last.logits.subarray(0, vocab), tokens.length, tokens);
    const isKept = first === draft;
    if (draft !== undefined && !isKept) model.truncate(sequence, tokens.length);
    if (isAuto && speculate) {
      const seconds = (performance.now() - stepAt) / 1000;
      draftBalance.add({ seconds, isDrafted: draft !== undefined, isKept });
      if (draftBalance.pays !== undefined) stats.draftsPay = draftBalance.pays;
    }
    goesOn = take(first);
    yield first;
    const following = [first];
    if (isKept) {
      stats.accepted++;
      if (goesOn) {
        const second = choose(last.logits.subarray(vocab, 2 * vocab), tokens.length, tokens);
        goesOn = take(second);
        yield second;
        following.push(second);
      }
    }
    current = following.at(-1)!;
    if (speculate && (!isAuto || draftBalance.pays !== false)) {
      const states = last.normed.subarray(0, following.length * hidden);
      unseen = { tokens: [...unseen.tokens, ...following], hidden: joined(unseen.hidden, states) };
    }
  }
  return stats;
}

/**
 * Cuts the sequence to what it shares with the prompt; returns how many tokens stay. At least the prompt's last
 * token is computed, for its logits; and where the MTP layer runs, the row before it needs that token's hidden
 * state, so one more.
 */
function keepPrefix(
  model: Model,
  sequence: Sequence,
  { prompt, speculate }: { prompt: readonly number[]; speculate: boolean },
): number {
  let shared = 0;
  while (shared < prompt.length && sequence.tokens[shared] === prompt[shared]) shared++;
  const kept = speculate
    ? Math.max(0, Math.min(shared - 1, prompt.length - 1, sequence.mtpLength))
    : Math.min(shared, prompt.length - 1);
  model.truncate(sequence, kept);
  // A row of the MTP layer belongs to the token behind it, which may be another one now.
  sequence.mtpLength = Math.min(sequence.mtpLength, Math.max(0, shared - 1));
  return kept;
}

/** Computes the prompt chunk by chunk, with the MTP layer's rows behind; returns the last chunk's result. */
async function prefill(
  model: Model,
  sequence: Sequence,
  options: Pick<GenerateOptions, "signal" | "onPrompt"> & { prompt: readonly number[]; speculate: boolean },
): Promise<PassResult> {
  const { prompt, speculate, signal, onPrompt } = options;
  const { hidden } = model.config.sizes;
  let result: PassResult | undefined;
  for (let from = sequence.tokens.length; from < prompt.length; ) {
    if (signal?.aborted) throw new Interrupted("The generation was stopped");
    const to = Math.min(from + model.maxRows, prompt.length);
    const logitRows = to === prompt.length ? [to - from - 1] : [];
    result = await model.append([{ sequence, tokens: prompt.slice(from, to) }], { logitRows });
    const next = prompt.slice(from + 1, to + 1); // the last row of the prompt waits for the first answer
    if (speculate && next.length > 0) {
      const states = result.normed.subarray(0, next.length * hidden);
      await model.appendMtp(sequence, { tokens: next, hidden: states }, []);
    }
    from = to;
    onPrompt?.(to, prompt.length);
  }
  return result!;
}

/** The MTP layer's logits behind the last of some rows. */
async function propose(
  model: Model,
  sequence: Sequence,
  { tokens, hidden }: { tokens: readonly number[]; hidden: Float32Array },
): Promise<Float32Array> {
  const width = hidden.length / tokens.length;
  for (let from = 0; ; from += model.maxRows) {
    const some = tokens.slice(from, from + model.maxRows);
    const isLast = from + some.length === tokens.length;
    const rows = { tokens: some, hidden: hidden.subarray(from * width, (from + some.length) * width) };
    const { logits } = await model.appendMtp(sequence, rows, isLast ? [some.length - 1] : []);
    if (isLast) return logits;
  }
}

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const all = new Float32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

function lastRow(rows: Float32Array, width: number): Float32Array {
  return rows.subarray(rows.length - width);
}

/** Index of the largest, the lowest one where several are. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
