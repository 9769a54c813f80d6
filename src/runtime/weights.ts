/**
 * A rank's share of the weights, and where each lies in its heap.
 *
 * Every product is shared out by its rows (attention by heads), never by what is summed: so a result does
 * not depend on the number of ranks. Vectors and the router, which are small, are with every rank. Placing
 * needs only names and shapes; loading follows the list of reads that placing has made.
 */
import {
  biasOf,
  EMBEDDING,
  FINAL_NORM,
  HEAD,
  isMoeLayer,
  layerNames,
  mtpNames,
  type SwigluNames,
} from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import type { Weight, WeightDtype } from "../kernels/inference.ts";
import { rowLength, type StoredWeight, type WeightSource } from "../logical/weight-source.ts";
import { floatSize } from "../tensor/dtype.ts";
import type { Arena } from "./arena.ts";

/** Bytes beyond a weight that kernels may read. */
const OVERREAD = 64;

export interface Share {
  rank: number;
  numRanks: number;
}

export interface Swiglu {
  gate: Weight;
  up: Weight;
  down: Weight;
}

/** Offsets of float32 vectors are plain numbers; 0 where there is none. */
export interface AttentionWeights {
  inputNorm: number;
  /** This rank's rows of q_a_proj and its norm; none without query LoRA. */
  queryDown: Weight | undefined;
  queryDownBias: number;
  queryNorm: number;
  /** Rows of this rank's heads. */
  queryUp: Weight;
  keyValueDown: Weight;
  keyValueDownBias: number;
  keyValueNorm: number;
  /** Rows of this rank's heads: for each, the keys' and then the values'. */
  keyValueUp: Weight;
  output: Weight;
  outputBias: number;
}

export interface LayerWeights extends AttentionWeights {
  outputNorm: number;
  mlp: { kind: "dense"; dense: Swiglu } | MoeWeights;
}

export interface MoeWeights {
  kind: "moe";
  router: Weight;
  /** Offset of its float32 bias; 0: none. */
  routerBias: number;
  shared: Swiglu | undefined;
  experts: Swiglu[];
}

export interface MtpWeights extends LayerWeights {
  embeddingNorm: number;
  hiddenNorm: number;
  join: Weight;
  headNorm: number;
  /** Its own where they are not copies of the main ones. */
  embedding: Weight;
  head: Weight;
}

export interface ModelWeights {
  embedding: Weight;
  layers: LayerWeights[];
  finalNorm: number;
  head: Weight;
  mtp: MtpWeights[];
}

/** A read that loading does. */
export interface Load {
  name: string;
  from: number;
  to: number;
  /** Where its bytes go. */
  data: number;
  byteLength: number;
  /** Where its block scales go; 0 without. */
  scales: number;
  /** A vector is widened to float32; a weight stays as it is, but for E5M2, which becomes F32, scales included. */
  as: "weight" | "vector";
}

export interface Placement {
  weights: ModelWeights;
  loads: Load[];
}

/** Rows from … to of what is shared out among the ranks. */
export function shareOf(count: number, { rank, numRanks }: Share): { from: number; to: number } {
  return { from: Math.floor((count * rank) / numRanks), to: Math.floor((count * (rank + 1)) / numRanks) };
}

export interface PlaceOptions {
  source: Pick<WeightSource, "weights" | "block">;
  config: ModelConfig;
  share: Share;
  arena: Arena;
  /** Whether the MTP layers are wanted. */
  mtp: boolean;
}

export function placeWeights(options: PlaceOptions): Placement {
  const placer = new Placer(options);
  const { sizes } = options.config;
  const layers = Array.from({ length: sizes.numLayers }, (_, layer) => placer.layer(layer));
  const embedding = placer.rows(EMBEDDING);
  const head = sizes.isTied ? embedding : placer.rows(HEAD);
  const finalNorm = placer.vector(FINAL_NORM);
  const numMtp = options.mtp ? sizes.numMtpLayers : 0;
  const mtp = Array.from({ length: numMtp }, (_, i) => placer.mtp(sizes.numLayers + i, { embedding, head }));
  return { weights: { embedding, layers, finalNorm, head, mtp }, loads: placer.loads };
}

class Placer {
  readonly loads: Load[] = [];
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
    this.loads.push({ name, from: 0, to: stored.shape[0]!, data, byteLength, scales: 0, as: "vector" });
    return data;
  }

  #bias(weight: string): number {
    const name = biasOf(weight);
    return this.#options.source.weights.has(name) ? this.vector(name) : 0;
  }

  matrix(name: string, { from, to }: { from: number; to: number }): Weight {
    const { arena, source } = this.#options;
    const stored = this.#stored(name);
    const cols = rowLength(stored);
    const dtype: WeightDtype = stored.dtype === "F8_E5M2" ? "F32" : stored.dtype;
    const byteLength = (to - from) * cols * floatSize(stored.dtype);
    const data = arena.allocate((to - from) * cols * floatSize(dtype) + OVERREAD);
    const { rows: blockRows, cols: blockCols } = source.block;
    const weight: Weight = {
      dtype,
      data,
      rows: to - from,
      cols,
      scales: 0,
      blockRows,
      blockCols,
      firstRow: from,
    };
    if (to === from) return weight;
    if (stored.hasScale && dtype === stored.dtype) {
      const blocks = (Math.ceil(to / blockRows) - Math.floor(from / blockRows)) * Math.ceil(cols / blockCols);
      weight.scales = arena.floats(blocks);
    }
    this.loads.push({ name, from, to, data, byteLength, scales: weight.scales, as: "weight" });
    return weight;
  }

  /** This rank's share of a matrix's rows. */
  rows(name: string): Weight {
    return this.matrix(name, shareOf(this.#stored(name).shape[0]!, this.#options.share));
  }

  /** The rows of this rank's heads. */
  #heads(name: string): Weight {
    const { numHeads } = this.#options.config.sizes;
    const perHead = this.#stored(name).shape[0]! / numHeads;
    const { from, to } = shareOf(numHeads, this.#options.share);
    return this.matrix(name, { from: from * perHead, to: to * perHead });
  }

  #swiglu({ gate, up, down }: SwigluNames): Swiglu {
    return { gate: this.rows(gate), up: this.rows(up), down: this.rows(down) };
  }

  layer(layer: number): LayerWeights {
    const { sizes } = this.#options.config;
    const names = layerNames(layer, { hasQueryRank: sizes.queryRank > 0 });
    const { query } = names;
    const isLow = "down" in query;
    return {
      inputNorm: this.vector(names.inputNorm),
      queryDown: isLow ? this.rows(query.down) : undefined,
      queryDownBias: isLow ? this.#bias(query.down) : 0,
      queryNorm: isLow ? this.vector(query.norm) : 0,
      queryUp: this.#heads(isLow ? query.up : query.whole),
      keyValueDown: this.rows(names.keyValueDown),
      keyValueDownBias: this.#bias(names.keyValueDown),
      keyValueNorm: this.vector(names.keyValueNorm),
      keyValueUp: this.#heads(names.keyValueUp),
      output: this.rows(names.output),
      outputBias: this.#bias(names.output),
      outputNorm: this.vector(names.outputNorm),
      mlp: isMoeLayer(sizes, layer)
        ? {
            kind: "moe",
            router: this.matrix(names.router, { from: 0, to: sizes.numExperts }),
            routerBias: sizes.hasRouterBias ? this.vector(names.routerBias) : 0,
            shared: sizes.numSharedExperts > 0 ? this.#swiglu(names.shared) : undefined,
            experts: Array.from({ length: sizes.numExperts }, (_, e) => this.#swiglu(names.expert(e))),
          }
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
      join: this.rows(names.join),
      headNorm: this.vector(names.headNorm),
      embedding: weights.has(names.embedding) ? this.rows(names.embedding) : main.embedding,
      head: weights.has(names.head) ? this.rows(names.head) : main.head,
    };
  }
}
