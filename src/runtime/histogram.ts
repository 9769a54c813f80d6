/**
 * Logits as weights exp((logit - max) / temperature), and the largest of them.
 *
 * The distances from the largest logit are counted in bins of 1/16 nat. Counts alone tell top-k up to one bin,
 * and the sum of all weights within 3 %: enough to leave out most ids before a weight is computed. Where the
 * rest of that 3 % could decide which token is the last of a nucleus, the exact sum is taken.
 */
import { selectTop } from "./select-top.ts";

const PER_NAT = 16; // so that the counts stay in the fastest cache
/** The exponential of -n / 16; beyond the last one it is 0 as a double. */
const EXP: Float64Array = Float64Array.from({ length: 746 * PER_NAT + 1 }, (_, n) => Math.exp(-n / PER_NAT));
const FURTHEST = EXP.length - 1;
/** The bin of what is further away. */
const FAR = EXP.length;
const MASKED = 0xffff;
/** So many ids have a clear border between them; of more, each weighs too little. */
const FEW = 8192;
/** A weight against that of the middle of its bin, at most; with room for roundings. */
const SPREAD = Math.exp(0.5 / PER_NAT) * (1 + 1e-9);

export class Histogram {
  #logits: Float32Array = new Float32Array(0);
  #max = 0;
  /** From logits to bins. */
  #scale = 1;
  /** Of each id. */
  #bins = new Uint16Array(0);
  readonly #counts = new Uint32Array(FAR + 1);
  #lastBin = 0;

  /** Throws RangeError for logits that are NaN or +Infinity, or when all are -Infinity. Keeps the array. */
  fill(logits: Float32Array, temperature: number): void {
    const max = largest(logits);
    if (max === -Infinity || max === Infinity) throw notFinite(logits);
    if (this.#bins.length !== logits.length) this.#bins = new Uint16Array(logits.length);
    this.#logits = logits;
    this.#max = max;
    // Finite, so that the largest logit has the distance 0 at any temperature.
    const scale = Math.min(PER_NAT / temperature, Number.MAX_VALUE);
    this.#scale = scale;
    const [bins, counts] = [this.#bins, this.#counts];
    counts.fill(0);
    for (let id = 0; id < logits.length; id++) {
      const distance = (max - logits[id]!) * scale;
      if (distance < FURTHEST) {
        const bin = (distance + 0.5) | 0;
        bins[id] = bin;
        counts[bin]!++;
      } else if (logits[id] === -Infinity) bins[id] = MASKED;
      else if (Number.isNaN(distance)) throw unusable(id, logits[id]!);
      else {
        bins[id] = FAR;
        counts[FAR]!++;
      }
    }
    let last = FAR;
    while (counts[last] === 0) last--;
    this.#lastBin = last;
  }

  weight(id: number): number {
    const distance = (this.#max - this.#logits[id]!) * this.#scale;
    return Math.exp(-distance / PER_NAT);
  }

  weightsOf(ids: Uint32Array): Float64Array {
    const weights = new Float64Array(ids.length);
    for (let at = 0; at < ids.length; at++) weights[at] = this.weight(ids[at]!);
    return weights;
  }

  /** The ids of the `count` largest logits, ascending; the lowest ids on ties. */
  top(count: number): Uint32Array {
    let bin = 0;
    for (let sum = this.#counts[0]!; sum < count && bin < this.#lastBin; ) sum += this.#counts[++bin]!;
    const ids = this.#upTo(bin);
    return ids.length <= count ? ids : this.#chosen(ids, undefined, count);
  }

  /** Ids of weights from `part` on, and perhaps some more. */
  atLeast(part: number): Uint32Array {
    const furthest = part > 0 ? Math.ceil(-Math.log(part) * PER_NAT) + 1 : FAR;
    return this.#upTo(Math.min(furthest, this.#lastBin));
  }

  /** Of the given ids the fewest, by falling logit, whose weights reach `part` of the sum of them all. */
  nucleusOf(ids: Uint32Array, part: number): Uint32Array {
    const weights = this.weightsOf(ids);
    return this.#chosen(ids, weights, part * sumOf(weights));
  }

  /** The same of all ids. */
  nucleus(part: number): Uint32Array {
    const counts = this.#counts;
    let total = 0;
    for (let bin = 0; bin <= this.#lastBin; bin++) total += counts[bin]! * expOfBin(bin);
    // The head holds the nucleus though its own weights be at their least and the others at their most; and so
    // much more that what is left can hardly move the border.
    const odds = (part / (1 - part)) * SPREAD * SPREAD;
    const wanted = Math.max(odds / (1 + odds), 1 - (1 - part) / 64) * total;
    let head = 0;
    let bin = -1;
    while (bin < this.#lastBin && head < wanted) {
      bin++;
      head += counts[bin]! * expOfBin(bin);
    }
    const ids = this.#upTo(bin);
    const weights = this.weightsOf(ids);
    const sum = sumOf(weights);
    if (ids.length < FEW) {
      const tail = Math.max(0, total - head) + 1e-12 * total;
      const chosen = selectTop(this.#valuesOf(ids), weights, part * (sum + tail * SPREAD));
      const least = part * (sum + tail / SPREAD - 2e-12 * total);
      if (!reachedWithoutLast(chosen, weights, least)) return ascending(chosen, ids);
    }
    return this.#chosen(ids, weights, part * (sum + this.#sumBeyond(bin)));
  }

  /** Ids up to a bin, ascending. */
  #upTo(last: number): Uint32Array {
    let length = 0;
    for (let bin = 0; bin <= last; bin++) length += this.#counts[bin]!;
    const ids = new Uint32Array(length);
    const bins = this.#bins;
    for (let id = 0, at = 0; at < length; id++) if (bins[id]! <= last) ids[at++] = id;
    return ids;
  }

  #sumBeyond(last: number): number {
    let sum = 0;
    for (let id = 0; id < this.#bins.length; id++) {
      const bin = this.#bins[id]!;
      if (bin > last && bin < FAR) sum += this.weight(id);
    }
    return sum;
  }

  #valuesOf(ids: Uint32Array): Float32Array {
    const values = new Float32Array(ids.length);
    for (let at = 0; at < ids.length; at++) values[at] = this.#logits[ids[at]!]!;
    return values;
  }

  #chosen(ids: Uint32Array, weights: Float64Array | undefined, sum: number): Uint32Array {
    return ascending(selectTop(this.#valuesOf(ids), weights, sum), ids);
  }
}

/** Whether the sum is reached by all but the least of the chosen: then that one may be one too many. */
function reachedWithoutLast(chosen: Uint32Array, weights: Float64Array, sum: number): boolean {
  let [all, least] = [0, Infinity];
  for (let at = 0; at < chosen.length; at++) {
    const weight = weights[chosen[at]!]!;
    all += weight;
    if (weight < least) least = weight;
  }
  return all - least >= sum;
}

/** The ids at some places, in their order. */
function ascending(places: Uint32Array, ids: Uint32Array): Uint32Array {
  const isChosen = new Uint8Array(ids.length);
  for (let at = 0; at < places.length; at++) isChosen[places[at]!] = 1;
  const chosen = new Uint32Array(places.length);
  for (let place = 0, at = 0; at < chosen.length; place++) if (isChosen[place]) chosen[at++] = ids[place]!;
  return chosen;
}

/** Four at a time, which are independent. NaN is passed over: fill() meets it again. */
function largest(logits: Float32Array): number {
  let [a, b, c, d] = [-Infinity, -Infinity, -Infinity, -Infinity];
  let at = 0;
  for (; at + 4 <= logits.length; at += 4) {
    if (logits[at]! > a) a = logits[at]!;
    if (logits[at + 1]! > b) b = logits[at + 1]!;
    if (logits[at + 2]! > c) c = logits[at + 2]!;
    if (logits[at + 3]! > d) d = logits[at + 3]!;
  }
  for (; at < logits.length; at++) if (logits[at]! > a) a = logits[at]!;
  return Math.max(a, b, c, d);
}

function expOfBin(bin: number): number {
  return bin < FAR ? EXP[bin]! : 0;
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += values[at]!;
  return sum;
}

export function notFinite(logits: Float32Array): RangeError {
  const id = logits.findIndex((logit) => Number.isNaN(logit) || logit === Infinity);
  if (id >= 0) return unusable(id, logits[id]!);
  return new RangeError("Cannot sample: no id has a finite logit, wanted one at least");
}

export function unusable(id: number, logit: number): RangeError {
  return new RangeError(`Cannot sample: the logit of id ${id} is ${logit}, wanted a finite number`);
}
