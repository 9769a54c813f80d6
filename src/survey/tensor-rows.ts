/** The tensors of a checkpoint as rows of a table that can be searched: 92,000 of them in a few milliseconds. */
import { architectureOf } from "../arch/architecture.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { openLocation } from "../checkpoint/stores.ts";

export interface TensorRow {
  name: string;
  dtype: string;
  shape: number[];
  byteLength: number;
  shard: string;
  role: string;
  layer?: number;
  expert?: number;
}

export interface TensorQuery {
  /** Words that all are in the name, in any case. */
  search?: string;
  role?: string;
  dtype?: string;
  layer?: string;
}

/** By layer and name as people count; what belongs to no layer first. Throws CheckpointError. */
export async function tensorRows(location: string): Promise<TensorRow[]> {
  const { store, options } = openLocation(location);
  const checkpoint = await openCheckpoint(store, options);
  const arch = architectureOf(checkpoint.config);
  const rows = [...checkpoint.tensors.values()].map(
    ({ name, dtype, shape, byteLength, shard }): TensorRow => {
      const { role, layer, expert } = arch.locate(name);
      return {
        ...{ name, dtype, shape: [...shape], byteLength, shard, role },
        ...(layer === undefined ? {} : { layer }),
        ...(expert === undefined ? {} : { expert }),
      };
    },
  );
  const { compare } = new Intl.Collator("en", { numeric: true });
  return rows.sort((a, b) => (a.layer ?? -1) - (b.layer ?? -1) || compare(a.name, b.name));
}

export function selectRows(
  rows: readonly TensorRow[],
  { search = "", role, dtype, layer }: TensorQuery,
): TensorRow[] {
  const words = search
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return rows.filter(
    (row) =>
      (!role || row.role === role) &&
      (!dtype || row.dtype === dtype) &&
      (!layer || String(row.layer) === layer) &&
      words.every((word) => row.name.toLowerCase().includes(word)),
  );
}
