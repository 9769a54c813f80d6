/**
 * Logits to the next token: repeat penalty, temperature, top-k, top-p, min-p, renormalise, draw.
 *
 * Each filter works on what the one before left (top-p on the renormalised top-k). Nothing is sorted: a
 * histogram of the distances from the largest logit (histogram.ts) leaves few ids to look at closely, so that
 * 129,280 logits take 0.7 ms with top-k, 2 ms with top-p, 3 ms where half of them stay (1 core, Zen 4).
 */
import { DRAW, type Draw, type Seed, uniform } from "./counter-random.ts";
import { drawFrom, normalise, oneHot, type SparseDistribution } from "./distribution.ts";
import { Histogram, notFinite, unusable } from "./histogram.ts";

export interface SamplerOptions {
  /** 0: the most likely token, the lowest id on ties. Default 1. */
  temperature?: number;
  /** 0 or absent: all. */
  topK?: number;
  /** The fewest tokens whose probabilities reach this sum. Default 1: all. */
  topP?: number;
  /** Least probability, as a part of the largest. Default 0. */
  minP?: number;
  /** Divides positive logits of tokens that were there, multiplies negative ones. Default 1. */
  repeatPenalty?: number;
  /** How many of the last tokens the penalty looks at. Default 64. */
  repeatWindow?: number;
  /** Default: a random one, which the sampler tells. */
  seed?: Seed;
  /** Ids that must never come: rows of the head without a token. */
  maskedIds?: readonly number[];
}

export interface SampleContext {
  /** Of the token to be drawn, counted from the start of the sequence. */
  position: number;
  /** The tokens so far, for the repeat penalty. */
  history?: ArrayLike<number>;
  /** Bit i of word w: whether id 32 w + i may come. Default: all may. */
  allowed?: Uint32Array | undefined;
}

export class Sampler {
  readonly seed: Seed;
  readonly #temperature: number;
  readonly #topK: number;
  readonly #topP: number;
  readonly #minP: number;
  readonly #repeatPenalty: number;
  readonly #repeatWindow: number;
  readonly #maskedIds: readonly number[];
  #logits = new Float32Array(0);
  readonly #histogram = new Histogram();

  constructor(options: SamplerOptions = {}) {
    const { temperature = 1, topK = 0, topP = 1, minP = 0, repeatPenalty = 1, repeatWindow = 64 } = options;
    check("temperature", temperature, temperature >= 0 && temperature < Infinity, "a number from 0 on");
    check("topK", topK, Number.isInteger(topK) && topK >= 0, "a whole number from 0 on");
    check("topP", topP, topP > 0 && topP <= 1, "a number above 0 and up to 1");
    check("minP", minP, minP >= 0 && minP <= 1, "a number from 0 to 1");
    check("repeatPenalty", repeatPenalty, repeatPenalty > 0 && repeatPenalty < Infinity, "a number above 0");
    check(
      "repeatWindow",
      repeatWindow,
      Number.isInteger(repeatWindow) && repeatWindow >= 0,
      "a whole number from 0 on",
    );
    const { seed = randomSeed() } = options;
    check("seed", seed, typeof seed === "bigint" || Number.isSafeInteger(seed), "a whole number");
    this.seed = seed;
    this.#temperature = temperature;
    this.#topK = topK;
    this.#topP = topP;
    this.#minP = minP;
    this.#repeatPenalty = repeatPenalty;
    this.#repeatWindow = repeatWindow;
    this.#maskedIds = options.maskedIds ?? [];
  }

  /** Whether every draw is the most likely token. */
  get isGreedy(): boolean {
    return this.#temperature === 0;
  }

  /** The token at a position. The logits are not changed. */
  sample(logits: Float32Array, context: SampleContext): number {
    if (this.isGreedy) return best(this.#prepared(logits, context));
    return this.draw(this.distribution(logits, context), context.position);
  }

  draw(distribution: SparseDistribution, position: number, draw: Draw = DRAW.token): number {
    return drawFrom(distribution, this.uniform(position, draw));
  }

  /** The random number of a position: the same whenever it is asked for. */
  uniform(position: number, draw: Draw): number {
    return uniform(this.seed, position, draw);
  }

  /** What sample() draws from. */
  distribution(logits: Float32Array, context: SampleContext): SparseDistribution {
    const prepared = this.#prepared(logits, context);
    if (this.isGreedy) return oneHot(best(prepared));
    const histogram = this.#histogram;
    histogram.fill(prepared, this.#temperature);
    let ids: Uint32Array;
    if (this.#topK > 0) {
      ids = histogram.top(this.#topK);
      if (this.#topP < 1) ids = histogram.nucleusOf(ids, this.#topP);
    } else ids = this.#topP < 1 ? histogram.nucleus(this.#topP) : histogram.atLeast(this.#minP);
    const weights = histogram.weightsOf(ids);
    if (this.#minP === 0) return normalise(ids, weights);
    let kept = 0;
    for (let at = 0; at < ids.length; at++) {
      if (weights[at]! < this.#minP) continue; // of the largest, whose weight is 1
      ids[kept] = ids[at]!;
      weights[kept++] = weights[at]!;
    }
    return normalise(ids.slice(0, kept), weights.slice(0, kept));
  }

  /** A copy, with the penalty and without the ids that must not come. */
  #prepared(logits: Float32Array, { history = [], allowed }: SampleContext): Float32Array {
    if (this.#logits.length !== logits.length) this.#logits = new Float32Array(logits.length);
    const copy = this.#logits;
    copy.set(logits);
    if (this.#repeatPenalty !== 1) {
      const start = Math.max(0, history.length - this.#repeatWindow);
      const seen = new Set(Array.prototype.slice.call(history, start) as number[]);
      for (const id of seen) {
        const logit = copy[id];
        if (logit === undefined) continue;
        copy[id] = bounded(logit > 0 ? logit / this.#repeatPenalty : logit * this.#repeatPenalty, logit);
      }
    }
    for (const id of this.#maskedIds) if (id < copy.length) copy[id] = -Infinity;
    if (allowed) {
      for (let id = 0; id < copy.length; id++)
        if (((allowed[id >>> 5] ?? 0) & (1 << (id & 31))) === 0) copy[id] = -Infinity;
    }
    return copy;
  }
}

const LARGEST = 2 ** 127;

/** Kept finite, whatever the penalty; a logit that was not finite stays, to be told. */
function bounded(value: number, logit: number): number {
  return Number.isFinite(logit) ? Math.min(Math.max(value, -LARGEST), LARGEST) : logit;
}

/** The id of the largest logit, the lowest on ties. */
function best(logits: Float32Array): number {
  let id = -1;
  let value = -Infinity;
  for (let at = 0; at < logits.length; at++) {
    const logit = logits[at]!;
    if (logit > value) {
      value = logit;
      id = at;
    } else if (!(logit <= value)) throw unusable(at, logit);
  }
  if (id < 0) throw notFinite(logits);
  if (value === Infinity) throw unusable(id, value);
  return id;
}

function check(name: string, value: unknown, isGood: boolean, wanted: string): void {
  if (!isGood) throw new RangeError(`Cannot sample with ${name} ${value}, wanted ${wanted}`);
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
