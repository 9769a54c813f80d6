/**
 * A rank's share of the weights as it lies in its heap, and the reads that bring it there.
 *
 * Every product is shared out by its rows (attention by heads), never by what is summed: so a result does
 * not depend on the number of ranks. Vectors and the router, which are small, are with every rank.
 */
import type { StoredDtype, Weight } from "../kernels/inference.ts";
import type { RowRange, StoredWeight } from "../logical/weight-source.ts";

/** Bytes beyond a weight that kernels may read. */
export const OVERREAD = 64;

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
  /** Where they are read on demand, their data is what the cache says while it holds them. */
  experts: Swiglu[];
  /** Read on demand: place of expert 0 in Placement.streamed, the others behind it. */
  firstStreamed: number | undefined;
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
  /** Bytes that are read. */
  byteLength: number;
  /** Bytes that it takes when it is loaded. */
  heapBytes: number;
  /** Where its block scales go; 0 without. */
  scales: number;
  /** A vector is widened to float32; a weight stays as it is, but for E5M2: see dtypeInHeap(). */
  as: "weight" | "vector" | "int8";
}

/** An expert that is read on demand: this rank's rows of its three matrices. */
export interface StreamedExpert {
  layer: number;
  expert: number;
  parts: StreamedPart[];
}

export interface StreamedPart {
  name: string;
  from: number;
  to: number;
  /** Bytes in the source, and in the heap. */
  byteLength: number;
  heapBytes: number;
  /** Room for its block scales is its own; its data moves. */
  weight: Weight;
}

/** How weights are multiplied: as they are stored, or as INT8, which is faster and inexact. */
export const WEIGHT_FORMS = ["stored", "int8"] as const;
export type WeightForm = (typeof WEIGHT_FORMS)[number];

/** E5M2, which no kernel multiplies from, becomes F32, scales included. */
export function dtypeInHeap({ dtype }: Pick<StoredWeight, "dtype">): StoredDtype {
  return dtype === "F8_E5M2" ? "F32" : dtype;
}

/** Rows from … to of what is shared out among the ranks. */
export function shareOf(count: number, { rank, numRanks }: Share): RowRange {
  return { from: Math.floor((count * rank) / numRanks), to: Math.floor((count * (rank + 1)) / numRanks) };
}
