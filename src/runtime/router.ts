/**
 * Which experts a token goes to, and with what weights: model.md section 8. All in float32.
 *
 * The bias takes part in the choice only. Experts of groups that are not kept are out of the choice
 * altogether (a score of -∞; 0 would let them in where biased scores are negative). Ties go to the lowest
 * index.
 */
import type { RouterConfig } from "../arch/model-config.ts";

const { fround } = Math;

export interface Routing {
  /** Ascending. */
  experts: Int32Array;
  /** Final weights, of the same order. */
  weights: Float32Array;
}

/** Rooms that are used again and again: a thread routes one token at a time, many thousand of them a second. */
let scores = new Float32Array(0);
let choice = new Float32Array(0);
let powers = new Float64Array(0);
let groups = new Float32Array(0);
let best = new Int32Array(0);

export function route(logits: Float32Array, bias: Float32Array | undefined, router: RouterConfig): Routing {
  const count = logits.length;
  if (scores.length !== count) {
    scores = new Float32Array(count);
    choice = new Float32Array(count);
    powers = new Float64Array(count);
  }
  if (router.scoring === "sigmoid") sigmoids(logits);
  else softmax(logits);
  for (let e = 0; e < count; e++) choice[e] = bias ? fround(scores[e]! + bias[e]!) : scores[e]!;
  if (router.numGroups > 1 && router.method !== "greedy") keepBestGroups(router);
  const experts = largest(choice, 0, count, router.numChosen).slice(0, router.numChosen).sort();
  const weights = new Float32Array(experts.length);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    weights[i] = scores[experts[i]!]!;
    sum = fround(sum + weights[i]!);
  }
  if (router.normalise) {
    sum = fround(sum + fround(1e-20));
    for (let i = 0; i < weights.length; i++) weights[i] = weights[i]! / sum;
  }
  const scale = fround(router.scale);
  for (let i = 0; i < weights.length; i++) weights[i] = fround(weights[i]! * scale);
  return { experts, weights };
}

function sigmoids(logits: Float32Array): void {
  for (let e = 0; e < logits.length; e++) scores[e] = 1 / (1 + Math.exp(-logits[e]!));
}

function softmax(logits: Float32Array): void {
  let most = -Infinity;
  for (let e = 0; e < logits.length; e++) most = Math.max(most, logits[e]!);
  let sum = 0;
  for (let e = 0; e < logits.length; e++) {
    powers[e] = Math.exp(logits[e]! - most);
    sum += powers[e]!;
  }
  for (let e = 0; e < logits.length; e++) scores[e] = powers[e]! / sum;
}

/** Sets the choice of all groups but the best to -∞. V3 ranks groups by their best two, V2 by their best. */
function keepBestGroups({ method, numGroups, numGroupsKept }: RouterConfig): void {
  const size = choice.length / numGroups;
  if (groups.length !== numGroups) groups = new Float32Array(numGroups);
  for (let group = 0; group < numGroups; group++) {
    const found = largest(choice, group * size, size, 2);
    const first = choice[found[0]!]!;
    groups[group] = method === "noaux_tc" && size > 1 ? fround(first + choice[found[1]!]!) : first;
  }
  const kept = largest(groups, 0, numGroups, numGroupsKept);
  for (let group = 0; group < numGroups; group++) {
    let isKept = false;
    for (let i = 0; i < numGroupsKept; i++) isKept ||= kept[i] === group;
    if (!isKept) choice.fill(-Infinity, group * size, (group + 1) * size);
  }
}

/**
 * Indices of the k largest of `count` values from `from` on, best first, the lower index first where values are
 * equal. In a room that the next call takes again.
 */
function largest(values: Float32Array, from: number, count: number, k: number): Int32Array {
  if (best.length < k) best = new Int32Array(k);
  let found = 0;
  for (let i = from; i < from + count; i++) {
    const value = values[i]!;
    if (found === k && !(value > values[best[k - 1]!]!)) continue;
    let at = found < k ? found++ : k - 1;
    for (; at > 0 && value > values[best[at - 1]!]!; at--) best[at] = best[at - 1]!;
    best[at] = i;
  }
  return best;
}
