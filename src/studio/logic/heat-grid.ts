/** What a comparison says of each layer, laid out as grids: by role, and by expert. */

export interface GridCell {
  /** Of all tensors of the cell as one. */
  mean: number;
  /** Of the one that differs most: at or above it as threshold, nothing of the cell is merged. */
  max: number;
  tensors: number;
}

export interface Grid {
  rows: { name: string; layer: number | undefined; mtp: boolean }[];
  columns: string[];
  /** Row by row; undefined: there is nothing. */
  cells: (GridCell | undefined)[];
}

interface Spread {
  mean: number | null;
  max: number | null;
}

interface Item {
  layer?: number;
  mtp: boolean;
  tensors: number;
  rms: Spread;
  relative: Spread;
}

export type Measure = "rms" | "relative";

/** Columns in the order of `columns`; layers in order, MTP layers last of them, and then what belongs to no layer. */
export function gridOf<T extends Item>(
  items: readonly T[],
  measure: Measure,
  {
    columns,
    columnOf,
    rows: given = [],
  }: {
    columns: readonly string[];
    columnOf: (item: T) => string;
    /** Rows that are there in any case, so that two grids stand beside each other. */
    rows?: Grid["rows"];
  },
): Grid {
  const keyOf = ({ layer, mtp }: { layer?: number | undefined; mtp: boolean }) => `${layer ?? "none"} ${mtp}`;
  const rows = new Map(given.map((row) => [keyOf(row), row]));
  for (const { layer, mtp } of items) {
    const name = layer === undefined ? "outside" : mtp ? `${layer} MTP` : String(layer);
    rows.set(keyOf({ layer, mtp }), { name, layer, mtp });
  }
  const ordered = [...rows.values()].sort(
    (a, b) => (a.layer ?? Number.POSITIVE_INFINITY) - (b.layer ?? Number.POSITIVE_INFINITY) || 0,
  );
  const rowAt = new Map(ordered.map((row, index) => [keyOf(row), index]));
  const columnAt = new Map(columns.map((name, index) => [name, index]));
  const cells: Grid["cells"] = new Array(ordered.length * columns.length).fill(undefined);
  for (const item of items) {
    const column = columnAt.get(columnOf(item));
    if (column === undefined) continue;
    const { mean, max } = item[measure];
    cells[rowAt.get(keyOf(item))! * columns.length + column] = {
      mean: mean ?? Number.POSITIVE_INFINITY,
      max: max ?? Number.POSITIVE_INFINITY,
      tensors: item.tensors,
    };
  }
  return { rows: ordered, columns: [...columns], cells };
}
