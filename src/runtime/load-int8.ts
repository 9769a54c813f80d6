/** Weights that become INT8 while they are loaded: through a little scratch, so that they are never there twice. */
import { type InferenceKernels, int8Bytes, type Weight } from "../kernels/inference.ts";
import { rowLength, type StoredWeight, type WeightSource } from "../logical/weight-source.ts";
import { floatSize } from "../tensor/dtype.ts";
import type { Arena } from "./arena.ts";
import { loadMatrix } from "./load-matrix.ts";
import { dtypeInHeap, type Load, OVERREAD } from "./weights.ts";

/** Some rows after the others: as they are stored, four of them as float32, INT8. */
export async function loadInt8(
  load: Load,
  options: { source: WeightSource; kernels: InferenceKernels; scratch?: Int8Scratch | undefined },
): Promise<void> {
  const { source, kernels, scratch } = options;
  if (scratch === undefined) throw new Error("internal: no scratch for INT8");
  const stored = source.weights.get(load.name)!;
  const cols = rowLength(stored);
  const step = rowsAtOnce(load, stored);
  for (let from = load.from; from < load.to; from += step) {
    const to = Math.min(from + step, load.to);
    const byteLength = (to - from) * cols * floatSize(stored.dtype);
    const scales = stored.hasScale && dtypeInHeap(stored) === stored.dtype ? scratch.scales : 0;
    await loadMatrix({ name: load.name, from, to, data: scratch.stored, byteLength, scales }, options);
    const { rows: blockRows, cols: blockCols } = source.block;
    const weight: Weight = {
      dtype: dtypeInHeap(stored),
      ...{ data: scratch.stored, rows: to - from, cols, scales, blockRows, blockCols, firstRow: from },
    };
    for (let row = 0; row < to - from; row += 4) {
      const count = Math.min(4, to - from - row);
      kernels.dequantise(weight, { from: row, count }, scratch.floats);
      const out = load.data + int8Bytes(from - load.from + row, cols);
      kernels.quantise({ data: scratch.floats, count, stride: cols }, cols, out);
    }
  }
}

/** Places in the heap for rows that become INT8. */
export interface Int8Scratch {
  stored: number;
  scales: number;
  /** Four rows of float32. */
  floats: number;
}

/** Stored bytes that are converted together, unless 128 rows are more. */
const STEP_BYTES = 4 << 20;
/** A recipe's rows are assembled by bands of this height: a part of one would be assembled twice. */
const BAND_ROWS = 128;

/** A multiple of four, so that each step begins a four of rows. */
function rowsAtOnce({ from, to }: Load, stored: StoredWeight): number {
  const bands = Math.floor(STEP_BYTES / (rowLength(stored) * floatSize(stored.dtype) * BAND_ROWS));
  return Math.min(Math.max(1, bands) * BAND_ROWS, Math.ceil((to - from) / 4) * 4);
}

/** Room for the largest step of these loads; undefined when none of them becomes INT8. */
export function placeInt8Scratch(
  loads: readonly Load[],
  { source, arena }: { source: Pick<WeightSource, "weights" | "block">; arena: Arena },
): Int8Scratch | undefined {
  let [storedBytes, scales, widest] = [0, 0, 0];
  for (const load of loads) {
    if (load.as !== "int8") continue;
    const stored = source.weights.get(load.name)!;
    const [rows, cols] = [rowsAtOnce(load, stored), rowLength(stored)];
    const size = floatSize(dtypeInHeap(stored));
    storedBytes = Math.max(storedBytes, rows * cols * size);
    const { rows: blockRows, cols: blockCols } = source.block;
    scales = Math.max(scales, (Math.ceil(rows / blockRows) + 1) * Math.ceil(cols / blockCols));
    widest = Math.max(widest, cols);
  }
  if (widest === 0) return undefined;
  const stored = arena.allocate(storedBytes + OVERREAD);
  return { stored, scales: arena.floats(scales), floats: arena.floats(4 * widest) };
}
