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

export function route(logits: Float32Array, bias: Float32Array | undefined, router: RouterConfig): Routing {
  const scores = router.scoring === "sigmoid" ? sigmoids(logits) : softmax(logits);
  const choice = bias ? scores.map((score, e) => fround(score + bias[e]!)) : scores.slice();
  if (router.numGroups > 1 && router.method !== "greedy") keepBestGroups(choice, router);
  const experts = Int32Array.from(largest(choice, router.numChosen)).sort();
  const weights = Float32Array.from(experts, (e) => scores[e]!);
  if (router.normalise) {
    let sum = 0;
    for (const weight of weights) sum = fround(sum + weight);
    sum = fround(sum + fround(1e-20));
    for (let i = 0; i < weights.length; i++) weights[i] = weights[i]! / sum;
  }
  for (let i = 0; i < weights.length; i++) weights[i] = fround(weights[i]! * fround(router.scale));
  return { experts, weights };
}

function sigmoids(logits: Float32Array): Float32Array {
  return logits.map((z) => 1 / (1 + Math.exp(-z)));
}

function softmax(logits: Float32Array): Float32Array {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, (z) => Math.exp(z - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

/** Sets the scores of all groups but the best to -∞. V3 ranks groups by their best two, V2 by their best. */
function keepBestGroups(choice: Float32Array, { method, numGroups, numGroupsKept }: RouterConfig): void {
  const size = choice.length / numGroups;
  const groups = Float32Array.from({ length: numGroups }, (_, group) => {
    const members = choice.subarray(group * size, (group + 1) * size);
    const [first, second] = largest(members, 2);
    const best = members[first!]!;
    return method === "noaux_tc" && second !== undefined ? fround(best + members[second]!) : best;
  });
  const kept = new Set(largest(groups, numGroupsKept));
  for (let group = 0; group < numGroups; group++) {
    if (!kept.has(group)) choice.fill(-Infinity, group * size, (group + 1) * size);
  }
}

/** Indices of the k largest, best first, the lower index first where values are equal. */
function largest(values: Float32Array, k: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === k && !(values[i]! > values[best[k - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && values[i]! > values[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}
