/**
 * The largest of many values without sorting them: quickselect with weights.
 *
 * Takes by falling value, ties by rising index, until the weights reach a sum: with a weight of 1 each that
 * is top-k, with probabilities it is top-p.
 */
const SORTED_BELOW = 24;

/** The indexes of what was taken, in no order. Without `weights` each weighs 1. */
export function selectTop(values: Float32Array, weights: Float64Array | undefined, sum: number): Uint32Array {
  const chosen = new Uint32Array(values.length);
  let numChosen = 0;
  let left = sum;
  let rest = new Uint32Array(values.length); // always ascending
  for (let at = 0; at < rest.length; at++) rest[at] = at;

  while (left > 0 && rest.length >= SORTED_BELOW) {
    const pivot = pivotOf(values, rest);
    let [numLarger, numEqual, larger, equal] = [0, 0, 0, 0];
    for (let at = 0; at < rest.length; at++) {
      const index = rest[at]!;
      const value = values[index]!;
      if (value < pivot) continue;
      const weight = weights ? weights[index]! : 1;
      if (value > pivot) {
        numLarger++;
        larger += weight;
      } else {
        numEqual++;
        equal += weight;
      }
    }
    const isAmongLarger = larger >= left;
    const isAmongEqual = !isAmongLarger && larger + equal >= left;
    if (!isAmongLarger) left -= larger;
    const next = new Uint32Array(isAmongLarger ? numLarger : rest.length - numLarger - numEqual);
    let numNext = 0;
    for (let at = 0; at < rest.length; at++) {
      const index = rest[at]!;
      const value = values[index]!;
      if (value > pivot) {
        if (isAmongLarger) next[numNext++] = index;
        else chosen[numChosen++] = index;
      } else if (isAmongLarger) continue;
      else if (value < pivot) next[numNext++] = index;
      else if (!isAmongEqual || left > 0) {
        chosen[numChosen++] = index;
        left -= weights ? weights[index]! : 1;
      }
    }
    if (isAmongEqual) return chosen.subarray(0, numChosen);
    rest = next;
  }
  for (const index of Array.from(rest).sort((a, b) => values[b]! - values[a]! || a - b)) {
    if (left <= 0) break;
    chosen[numChosen++] = index;
    left -= weights ? weights[index]! : 1;
  }
  return chosen.subarray(0, numChosen);
}

/** The middle one of three: a sorted list is no worst case. */
function pivotOf(values: Float32Array, indexes: Uint32Array): number {
  const a = values[indexes[0]!]!;
  const b = values[indexes[indexes.length >> 1]!]!;
  const c = values[indexes[indexes.length - 1]!]!;
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
