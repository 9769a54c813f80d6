/**
 * Weights as the runtime takes them: by name, by rows, as they would lie on disk. A checkpoint is one maker
 * of them; a recipe, whose tensors are assembled as they are asked for, is another (build/virtual-child.ts).
 *
 * Ranks are threads and open their own source. What travels to them is a reference: the module that knows
 * how, and plain data for it. So the runtime runs children without knowing recipes or builds.
 */
import type { Source } from "../checkpoint/source.ts";
import type { BlockSize } from "../tensor/block.ts";
import type { FloatDtype } from "../tensor/dtype.ts";
import { importWeights } from "./import-weights.ts";

/** A logical tensor: a weight, with its block scales where it has them. */
export interface StoredWeight {
  name: string;
  dtype: FloatDtype;
  shape: readonly number[];
  hasScale: boolean;
}

/** Rows from … to - 1. */
export interface RowRange {
  from: number;
  to: number;
}

/** A run of bytes. */
export interface Extent {
  source: Source;
  offset: number;
}

export interface WeightSource {
  /** For messages. */
  readonly label: string;
  /** Parsed config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly block: BlockSize;
  readonly weights: ReadonlyMap<string, StoredWeight>;
  /** Small files beside the weights: tokenizer, template, generation config. */
  readSmall(name: string, limitBytes?: number): Promise<Uint8Array | undefined>;
  /**
   * Rows from … to - 1 of a weight (a vector is rows of one element), in its dtype, contiguous, into
   * `into`, which is as long as they are. Returns the block scales of the rows of blocks that hold these
   * rows, row-major, checked to be finite and above 0; undefined without scales.
   * Throws CheckpointError.
   */
  read(name: string, rows: RowRange, into: Uint8Array): Promise<Float32Array | undefined>;
  /** The block scales that read() returns, alone. */
  readScales(name: string, rows: RowRange): Promise<Float32Array | undefined>;
  /**
   * Where the bytes of these rows lie, for whoever reads them again and again; undefined where they have to be
   * computed. The source belongs to this one and reads past the system's cache (see Source.alignment).
   */
  extentOf(name: string, rows: RowRange): Promise<Extent | undefined>;
  close(): Promise<void>;
}

/** How another thread opens the same source: `openWeights(data)` of a module. */
export interface WeightReference {
  /** URL of the module. */
  module: string;
  /** Plain data. */
  data: unknown;
}

export interface WeightModule {
  openWeights(data: unknown): Promise<WeightSource>;
}

export async function openReference({ module, data }: WeightReference): Promise<WeightSource> {
  const { openWeights } = await importWeights(module);
  return openWeights(data);
}

/** Elements of one row. */
export function rowLength({ shape }: Pick<StoredWeight, "shape">): number {
  return shape.slice(1).reduce((product, dim) => product * dim, 1);
}
