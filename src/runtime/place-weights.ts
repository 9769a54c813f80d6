/**
 * Places a rank's share of the weights in its heap. It needs only names and shapes; loading then follows the list
 * of reads that placing has made.
 */
import {
  biasOf,
  EMBEDDING,
  FINAL_NORM,
  HEAD,
  isMoeLayer,
  type LayerNames,
  layerNames,
  mtpNames,
  type SwigluNames,
} from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import { INT8_BLOCK, int8Bytes, type Weight } from "../kernels/inference.ts";
import { type RowRange, rowLength, type StoredWeight, type WeightSource } from "../logical/weight-source.ts";
import { floatSize } from "../tensor/dtype.ts";
import type { Arena } from "./arena.ts";
import {
  dtypeInHeap,
  type LayerWeights,
  type Load,
  type ModelWeights,
  type MoeWeights,
  type MtpWeights,
  OVERREAD,
  type Share,
  type StreamedExpert,
  type StreamedPart,
  type Swiglu,
  shareOf,
  type WeightForm,
} from "./weights.ts";

export interface Placement {
  weights: ModelWeights;
  loads: Load[];
  /** Routed experts that are not loaded but read on demand; none unless that is wanted. */
  streamed: StreamedExpert[];
}

export interface PlaceOptions {
  source: Pick<WeightSource, "weights" | "block">;
  config: ModelConfig;
  share: Share;
  arena: Arena;
  /** Whether the MTP layers are wanted. */
  mtp: boolean;
  /** Leaves routed experts out, to be read on demand. */
  streamExperts?: boolean;
  /** Of what linear() multiplies; what is taken row by row stays as it is stored, and so does the router. */
  weights: WeightForm;
}

/** Everything that a rank needs of a model, from the arena. Throws nothing that checkWeights() has not told of. */
export function placeWeights(options: PlaceOptions): Placement {
  const placer = new Placer(options);
  const { sizes } = options.config;
  const layers = Array.from({ length: sizes.numLayers }, (_, layer) => placer.layer(layer));
  const embedding = placer.rows(EMBEDDING);
  const head = sizes.isTied ? placer.tiedHead(embedding) : placer.product(HEAD);
  const finalNorm = placer.vector(FINAL_NORM);
  const numMtp = options.mtp ? sizes.numMtpLayers : 0;
  const mtp = Array.from({ length: numMtp }, (_, i) => placer.mtp(sizes.numLayers + i, { embedding, head }));
  const weights = { embedding, layers, finalNorm, head, mtp };
  return { weights, loads: placer.loads, streamed: placer.streamed };
}

class Placer {
  readonly loads: Load[] = [];
  readonly streamed: StreamedExpert[] = [];
  readonly #options: PlaceOptions;

  constructor(options: PlaceOptions) {
    this.#options = options;
  }

  #stored(name: string): StoredWeight {
    const stored = this.#options.source.weights.get(name);
    if (stored === undefined) throw new Error(`internal: "${name}" is missing, and was not noticed before`);
    return stored;
  }

  vector(name: string): number {
    const stored = this.#stored(name);
    const count = stored.shape.reduce((product, dim) => product * dim, 1);
    const data = this.#options.arena.floats(count);
    const byteLength = count * floatSize(stored.dtype);
    const load = { name, from: 0, to: stored.shape[0]!, data, byteLength, heapBytes: 4 * count };
    this.loads.push({ ...load, scales: 0, as: "vector" });
    return data;
  }

  #bias(weight: string): number {
    const name = biasOf(weight);
    return this.#options.source.weights.has(name) ? this.vector(name) : 0;
  }

  matrix(name: string, { from, to }: RowRange): Weight {
    const weight = this.#unplaced(name, { from, to });
    const sizes = this.#sizes(name, { from, to });
    weight.data = this.#options.arena.allocate(sizes.heapBytes + OVERREAD);
    if (to === from) return weight;
    const { data, scales } = weight;
    this.loads.push({ name, from, to, data, ...sizes, scales, as: "weight" });
    return weight;
  }

  #sizes(name: string, { from, to }: RowRange): { byteLength: number; heapBytes: number } {
    const stored = this.#stored(name);
    const count = (to - from) * rowLength(stored);
    return { byteLength: count * floatSize(stored.dtype), heapBytes: count * floatSize(dtypeInHeap(stored)) };
  }

  /** A weight with room for its scales, and none yet for its data. */
  #unplaced(name: string, { from, to }: RowRange): Weight {
    const { arena, source } = this.#options;
    const stored = this.#stored(name);
    const cols = rowLength(stored);
    const dtype = dtypeInHeap(stored);
    const { rows: blockRows, cols: blockCols } = source.block;
    const rows = to - from;
    const weight: Weight = { dtype, data: 0, rows, cols, scales: 0, blockRows, blockCols, firstRow: from };
    if (rows > 0 && stored.hasScale && dtype === stored.dtype) {
      const blocks = (Math.ceil(to / blockRows) - Math.floor(from / blockRows)) * Math.ceil(cols / blockCols);
      weight.scales = arena.floats(blocks);
    }
    return weight;
  }

  /** Rows that linear() multiplies, in the form that is wanted. */
  #multiplied(name: string, { from, to }: RowRange): Weight {
    const { arena, weights } = this.#options;
    if (weights === "stored" || to === from) return this.matrix(name, { from, to });
    const stored = this.#stored(name);
    const [rows, cols] = [to - from, rowLength(stored)];
    const heapBytes = int8Bytes(rows, cols);
    const data = arena.allocate(heapBytes + OVERREAD);
    const byteLength = rows * cols * floatSize(stored.dtype);
    this.loads.push({ name, from, to, data, byteLength, heapBytes, scales: 0, as: "int8" });
    const blocks = { scales: 0, blockRows: 1, blockCols: INT8_BLOCK };
    return { dtype: "INT8", data, rows, cols, ...blocks, firstRow: from };
  }

  /** This rank's share of a matrix's rows, as stored. */
  rows(name: string): Weight {
    return this.matrix(name, shareOf(this.#stored(name).shape[0]!, this.#options.share));
  }

  /** This rank's share of a matrix's rows, to be multiplied. */
  product(name: string): Weight {
    return this.#multiplied(name, shareOf(this.#stored(name).shape[0]!, this.#options.share));
  }

  /** The embedding itself, unless products take another form. */
  tiedHead(embedding: Weight): Weight {
    return this.#options.weights === "stored" ? embedding : this.product(EMBEDDING);
  }

  /** The rows of this rank's heads. */
  #headRows(name: string): RowRange {
    const { numHeads } = this.#options.config.sizes;
    const perHead = this.#stored(name).shape[0]! / numHeads;
    const { from, to } = shareOf(numHeads, this.#options.share);
    return { from: from * perHead, to: to * perHead };
  }

  #swiglu({ gate, up, down }: SwigluNames): Swiglu {
    return { gate: this.product(gate), up: this.product(up), down: this.product(down) };
  }

  #streamedExpert({ gate, up, down }: SwigluNames, place: { layer: number; expert: number }): Swiglu {
    const parts: StreamedPart[] = [];
    const part = (name: string): Weight => {
      const rows = shareOf(this.#stored(name).shape[0]!, this.#options.share);
      const weight = this.#unplaced(name, rows);
      if (weight.rows > 0) parts.push({ name, ...rows, ...this.#sizes(name, rows), weight });
      return weight;
    };
    this.streamed.push({ ...place, parts });
    return { gate: part(gate), up: part(up), down: part(down) };
  }

  #moe(layer: number, names: LayerNames): MoeWeights {
    const { sizes } = this.#options.config;
    const { streamExperts = false } = this.#options;
    const firstStreamed = streamExperts ? this.streamed.length : undefined;
    const expert = (e: number) =>
      streamExperts
        ? this.#streamedExpert(names.expert(e), { layer, expert: e })
        : this.#swiglu(names.expert(e));
    return {
      kind: "moe",
      router: this.matrix(names.router, { from: 0, to: sizes.numExperts }),
      routerBias: sizes.hasRouterBias ? this.vector(names.routerBias) : 0,
      shared: sizes.numSharedExperts > 0 ? this.#swiglu(names.shared) : undefined,
      experts: Array.from({ length: sizes.numExperts }, (_, e) => expert(e)),
      firstStreamed,
    };
  }

  layer(layer: number): LayerWeights {
    const { sizes } = this.#options.config;
    const names = layerNames(layer, { hasQueryRank: sizes.queryRank > 0 });
    const { query } = names;
    const isLow = "down" in query;
    const queryUp = isLow ? query.up : query.whole;
    return {
      inputNorm: this.vector(names.inputNorm),
      queryDown: isLow ? this.product(query.down) : undefined,
      queryDownBias: isLow ? this.#bias(query.down) : 0,
      queryNorm: isLow ? this.vector(query.norm) : 0,
      queryUp: this.#multiplied(queryUp, this.#headRows(queryUp)),
      keyValueDown: this.product(names.keyValueDown),
      keyValueDownBias: this.#bias(names.keyValueDown),
      keyValueNorm: this.vector(names.keyValueNorm),
      // The absorbed form takes its rows as float32, so it stays as it is stored.
      keyValueUp: this.matrix(names.keyValueUp, this.#headRows(names.keyValueUp)),
      output: this.product(names.output),
      outputBias: this.#bias(names.output),
      outputNorm: this.vector(names.outputNorm),
      mlp: isMoeLayer(sizes, layer)
        ? this.#moe(layer, names)
        : { kind: "dense", dense: this.#swiglu(names.dense) },
    };
  }

  mtp(layer: number, main: { embedding: Weight; head: Weight }): MtpWeights {
    const names = mtpNames(layer);
    const { weights } = this.#options.source;
    return {
      ...this.layer(layer),
      embeddingNorm: this.vector(names.embeddingNorm),
      hiddenNorm: this.vector(names.hiddenNorm),
      join: this.product(names.join),
      headNorm: this.vector(names.headNorm),
      embedding: weights.has(names.embedding) ? this.rows(names.embedding) : main.embedding,
      head: weights.has(names.head) ? this.product(names.head) : main.head,
    };
  }
}
