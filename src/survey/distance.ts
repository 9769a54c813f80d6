/** A measured pair of tensors, and how its distances are read and written. */
import type { Role } from "../arch/place.ts";
import { type Distance, distanceOf, type Measure } from "../logical/measure.ts";
import type { Dtype } from "../tensor/dtype.ts";
import { type Pair, storedBytes } from "./pair-up.ts";

export interface CompareRow {
  /** The weight's name; its block scales are part of it. */
  name: string;
  role: Role;
  layer?: number;
  expert?: number;
  matrix: string;
  mtp: boolean;
  dtype: Dtype;
  otherDtype: Dtype;
  elements: number;
  /** As the base stores it, scales included. */
  bytes: number;
  /** ‖other − base‖ / √elements: what a threshold with `measure: rms` is held against. */
  rms: number;
  /** ‖other − base‖ / ‖base‖; null where the base is all zeros and the other is not. */
  relative: number | null;
  /** The difference is 0 in every element that was looked at. */
  equal: boolean;
  /** The same bytes in the same dtype, scales included. Implies `equal`. */
  identical: boolean;
}

export function rowOf(
  { name, place, elements, base, other }: Pair,
  sums: Distance,
  identical: boolean,
): CompareRow {
  const { role, layer, expert, matrix, mtp } = place;
  return {
    name,
    role,
    ...(layer === undefined ? {} : { layer }),
    ...(expert === undefined ? {} : { expert }),
    matrix,
    mtp,
    dtype: base.dtype,
    otherDtype: other.dtype,
    elements,
    bytes: storedBytes(base),
    rms: distanceOf(sums, "rms"),
    relative: finite(distanceOf(sums, "relative")),
    equal: sums.difference === 0,
    identical,
  };
}

/** JSON has no infinity. */
export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** The number that a threshold sees; infinite where the base is all zeros. */
export function distanceIn(row: Pick<CompareRow, Measure>, measure: Measure): number {
  return row[measure] ?? Number.POSITIVE_INFINITY;
}

/** Three significant digits: "0.00123", "4.56e-5", "1.20e4", "0", "∞". */
export function formatDistance(value: number | null): string {
  if (value === null || value === Number.POSITIVE_INFINITY) return "∞";
  if (value === 0) return "0";
  if (value >= 1e-4 && value < 999.5) return value.toPrecision(3);
  const [digits, exponent] = value.toExponential(2).split("e");
  return `${digits}e${Number(exponent)}`;
}
