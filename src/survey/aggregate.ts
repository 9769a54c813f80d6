/**
 * Distances of many tensors as one: by role, layer, expert and matrix.
 *
 * A mean is the distance of all of them taken as one tensor: √(Σ difference² / Σ elements), or
 * √(Σ difference² / Σ base²). Of a sample, each tensor's sums are scaled up to its size first. Sums run in
 * the order of the rows, so that they do not depend on who measured what first.
 */
import { ROLES, type Role } from "../arch/place.ts";
import type { Distance } from "../logical/measure.ts";
import { type CompareRow, distanceIn, finite } from "./distance.ts";

/** null: infinite, where the base is all zeros. */
export interface Spread {
  mean: number | null;
  min: number | null;
  max: number | null;
}

export interface Aggregate {
  /** Logical tensors: a weight and its block scales are one. */
  tensors: number;
  equal: number;
  identical: number;
  elements: number;
  bytes: number;
  rms: Spread;
  relative: Spread;
}

export interface Measured {
  row: CompareRow;
  sums: Distance;
}

export function aggregate(measured: readonly Measured[]): Aggregate {
  const total = { tensors: 0, equal: 0, identical: 0, elements: 0, bytes: 0 };
  let [difference, base] = [0, 0];
  for (const { row, sums } of measured) {
    total.tensors += 1;
    total.equal += row.equal ? 1 : 0;
    total.identical += row.identical ? 1 : 0;
    total.elements += row.elements;
    total.bytes += row.bytes;
    const scale = sums.elements > 0 ? row.elements / sums.elements : 1;
    difference += sums.difference * scale;
    base += sums.base * scale;
  }
  const range = (measure: "rms" | "relative", mean: number): Spread => {
    let [min, max] = [Number.POSITIVE_INFINITY, 0];
    for (const { row } of measured) {
      const distance = distanceIn(row, measure);
      min = Math.min(min, distance);
      max = Math.max(max, distance);
    }
    return { mean: finite(mean), min: finite(min), max: finite(max) };
  };
  return {
    ...total,
    rms: range("rms", total.elements === 0 ? 0 : Math.sqrt(difference / total.elements)),
    relative: range("relative", difference === 0 ? 0 : Math.sqrt(difference / base)),
  };
}

export interface RoleAggregate extends Aggregate {
  role: Role;
  mtp: boolean;
}
/** `layer` is absent for what belongs to none. */
export interface LayerRoleAggregate extends RoleAggregate {
  layer?: number;
}
export interface LayerExpertAggregate extends Aggregate {
  layer: number;
  expert: number;
  mtp: boolean;
}
export interface MatrixAggregate extends Aggregate {
  matrix: string;
  mtp: boolean;
}

/** Groups by the given keys of the rows. Main layers first; what belongs to no layer comes last. */
export function aggregateBy<Key extends "role" | "layer" | "expert" | "matrix" | "mtp">(
  measured: readonly Measured[],
  keys: readonly Key[],
): (Aggregate & Pick<CompareRow, Key>)[] {
  const groups = new Map<string, Measured[]>();
  for (const item of measured) {
    const key = keys.map((name) => item.row[name]).join("/");
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  const order = (a: CompareRow, b: CompareRow): number =>
    Number(a.mtp) - Number(b.mtp) ||
    compareWith(keys, "layer", (a.layer ?? Infinity) - (b.layer ?? Infinity)) ||
    compareWith(keys, "role", ROLES.indexOf(a.role) - ROLES.indexOf(b.role)) ||
    compareWith(keys, "expert", (a.expert ?? 0) - (b.expert ?? 0)) ||
    compareWith(keys, "matrix", a.matrix < b.matrix ? -1 : 1);
  const sorted = [...groups.values()].sort(([a], [b]) => order(a!.row, b!.row));
  return sorted.map((group) => {
    const { row } = group[0]!;
    const own = keys.filter((key) => row[key] !== undefined).map((key) => [key, row[key]]);
    return { ...(Object.fromEntries(own) as Pick<CompareRow, Key>), ...aggregate(group) };
  });
}

/** Only what the groups were made by tells them apart. NaN: neither has a layer. */
function compareWith(keys: readonly string[], key: string, difference: number): number {
  return keys.includes(key) ? difference || 0 : 0;
}
