/**
 * Logits as weights exp((logit - max) / temperature), and the largest of them.
 *
 * The distances from the largest logit are counted in bins of 1/16 nat. A larger logit is never in a further
 * bin, so the counts of the bins, or their sums of weights, tell in which one top-k or a nucleus ends: all of
 * the nearer ones is in, and only that one must be looked at closely.
 */
import { selectTop } from "./select-top.ts";

const PER_NAT = 16; // so that the counts stay in the fastest cache
/** The exponential of -n / 16; beyond the last one it is 0 as a double. */
const EXP: Float64Array = Float64Array.from({ length: 746 * PER_NAT + 1 }, (_, n) => Math.exp(-n / PER_NAT));
const FURTHEST = EXP.length - 1;
/** The bin of what is further away. */
const FAR = EXP.length;
const MASKED = 0xffff;
/** From this bin on even 2^32 ids are lost in the rounding of a sum that holds the largest. */
const NEGLIGIBLE = 60 * PER_NAT;

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

  weightsOf(ids: Uint32Array): Float64Array {
    const [bins, logits, max, scale] = [this.#bins, this.#logits, this.#max, this.#scale];
    const weights = new Float64Array(ids.length);
    for (let at = 0; at < ids.length; at++) {
      const id = ids[at]!;
      weights[at] = weightAt(bins[id]!, (max - logits[id]!) * scale);
    }
    return weights;
  }

  /** The ids of the `count` largest logits, ascending; the lowest ids on ties. */
  top(count: number): Uint32Array {
    const counts = this.#counts;
    let [bin, nearer] = [0, 0];
    while (bin < this.#lastBin && nearer + counts[bin]! < count) nearer += counts[bin++]!;
    return this.#upToBestOf(bin, (ids) => selectTop(this.#valuesOf(ids), undefined, count - nearer));
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
    const sums = this.#sumsOfBins();
    const wanted = part * sumOf(sums);
    let [bin, nearer] = [0, 0];
    while (bin < this.#lastBin && nearer + sums[bin]! < wanted) nearer += sums[bin++]!;
    return this.#upToBestOf(bin, (ids) =>
      selectTop(this.#valuesOf(ids), this.weightsOf(ids), wanted - nearer),
    );
  }

  #sumsOfBins(): Float64Array {
    const sums = new Float64Array(this.#lastBin + 1);
    const [bins, logits, max, scale] = [this.#bins, this.#logits, this.#max, this.#scale];
    for (let id = 0; id < bins.length; id++) {
      const bin = bins[id]!;
      if (bin < NEGLIGIBLE) sums[bin]! += weightAt(bin, (max - logits[id]!) * scale);
    }
    return sums;
  }

  /** Ids of nearer bins, and those of one bin that are at the chosen places among them; ascending. */
  #upToBestOf(bin: number, choose: (ids: Uint32Array) => Uint32Array): Uint32Array {
    const bins = this.#bins;
    const border = new Uint32Array(this.#counts[bin]!);
    for (let id = 0, at = 0; at < border.length; id++) if (bins[id] === bin) border[at++] = id;
    const places = choose(border);
    const isChosen = new Uint8Array(border.length);
    for (const place of places) isChosen[place] = 1;

    let length = places.length;
    for (let nearer = 0; nearer < bin; nearer++) length += this.#counts[nearer]!;
    const ids = new Uint32Array(length);
    for (let id = 0, at = 0, place = 0; at < length; id++) {
      if (bins[id]! < bin || (bins[id] === bin && isChosen[place++])) ids[at++] = id;
    }
    return ids;
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

  #valuesOf(ids: Uint32Array): Float32Array {
    const values = new Float32Array(ids.length);
    for (let at = 0; at < ids.length; at++) values[at] = this.#logits[ids[at]!]!;
    return values;
  }

  #chosen(ids: Uint32Array, weights: Float64Array | undefined, sum: number): Uint32Array {
    return ascending(selectTop(this.#valuesOf(ids), weights, sum), ids);
  }
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

/**
 * The exponential of the bin's middle, times that of the rest, at most 1/32, by its series: exact to a rounding
 * or two. Not by Horner's scheme, whose steps wait for each other.
 */
function weightAt(bin: number, distance: number): number {
  if (bin >= FAR) return 0;
  const x = (bin - distance) / PER_NAT;
  const [x2, x4] = [x * x, x * x * (x * x)];
  const low = 1 + x + x2 * (1 / 2 + x * (1 / 6)) + x4 * (1 / 24 + x * (1 / 120));
  return EXP[bin]! * (low + x4 * x2 * (1 / 720 + x * (1 / 5040) + x2 * (1 / 40320)));
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
