/** A distribution over few of many token ids, as sampling leaves it. */

export interface SparseDistribution {
  /** Ascending. */
  ids: Uint32Array;
  /** Of the same length; they sum to 1. */
  probabilities: Float64Array;
}

export function oneHot(id: number): SparseDistribution {
  return { ids: Uint32Array.of(id), probabilities: Float64Array.of(1) };
}

/** 0 for an id that is not in it. */
export function probabilityOf({ ids, probabilities }: SparseDistribution, id: number): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids[middle]! < id) low = middle + 1;
    else high = middle;
  }
  return ids[low] === id ? probabilities[low]! : 0;
}

/** The id at which the running sum of probabilities passes `uniform`, which is in [0, 1). */
export function drawFrom({ ids, probabilities }: SparseDistribution, uniform: number): number {
  let sum = 0;
  let last = -1;
  for (let at = 0; at < ids.length; at++) {
    if (probabilities[at] === 0) continue;
    sum += probabilities[at]!;
    last = ids[at]!;
    if (sum > uniform) return last;
  }
  if (last < 0) throw new RangeError("Cannot draw a token: no id has a probability, wanted one at least");
  return last; // the sum ended a rounding below 1
}

/** Divides the weights by their sum, in place. */
export function normalise(ids: Uint32Array, weights: Float64Array): SparseDistribution {
  let sum = 0;
  for (let at = 0; at < weights.length; at++) sum += weights[at]!;
  for (let at = 0; at < weights.length; at++) weights[at]! /= sum;
  return { ids, probabilities: weights };
}
