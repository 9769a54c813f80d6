/** Sums over an inventory: by dtype, role and layer, and layers that are alike put together. */
import { ROLES, type Role } from "../arch/place.ts";
import { totalsByDtype } from "../checkpoint/checkpoint.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { ListedTensor } from "./inventory.ts";

/** Of tensors as they are stored: block scales count like any other. */
export interface Total {
  tensors: number;
  elements: number;
  bytes: number;
}

export interface DtypeTotal extends Total {
  dtype: Dtype;
}

/** Scales count to the role of their weight; MTP layers stand apart from the main ones. */
export interface RoleTotal extends Total {
  role: Role;
  mtp: boolean;
}

/** "other": a layer with neither routed experts nor a dense MLP that we know. */
export type LayerKind = "dense" | "moe" | "mtp" | "other";

export interface LayerTotal extends Total {
  layer: number;
  kind: LayerKind;
}

/** Neighbouring layers that are equal in kind, tensors and sizes. The numbers are those of one layer. */
export interface LayerRun extends Total {
  first: number;
  last: number;
  kind: LayerKind;
}

export function sumOf(tensors: readonly ListedTensor[]): Total {
  const total = { tensors: 0, elements: 0, bytes: 0 };
  for (const tensor of tensors) add(total, tensor);
  return total;
}

/** Largest first. Tensors of which only the name is known are left out. */
export function byDtype(tensors: readonly ListedTensor[]): DtypeTotal[] {
  const known = tensors.flatMap(({ dtype, shape, bytes }) =>
    dtype && shape ? [{ dtype, shape: [...shape], byteLength: bytes }] : [],
  );
  const totals = [...totalsByDtype(known)].map(([dtype, total]) => ({ dtype, ...total }));
  return totals.sort((a, b) => b.bytes - a.bytes);
}

/** Main layers first, each in the order of ROLES. */
export function byRole(tensors: readonly ListedTensor[]): RoleTotal[] {
  const totals = new Map<string, RoleTotal>();
  for (const mtp of [false, true]) {
    for (const role of ROLES) totals.set(`${role}/${mtp}`, { role, mtp, tensors: 0, elements: 0, bytes: 0 });
  }
  for (const tensor of tensors) add(totals.get(`${tensor.place.role}/${tensor.place.mtp}`)!, tensor);
  return [...totals.values()].filter(({ tensors }) => tensors > 0);
}

/** Layers in order, and what belongs to none. */
export function byLayer(tensors: readonly ListedTensor[]): { layers: LayerTotal[]; outside: Total } {
  const outside: Total = { tensors: 0, elements: 0, bytes: 0 };
  const layers = new Map<number, LayerTotal>();
  for (const tensor of tensors) {
    const { layer, role, mtp } = tensor.place;
    if (layer === undefined) {
      add(outside, tensor);
      continue;
    }
    const total = layers.get(layer) ?? { layer, kind: "other", tensors: 0, elements: 0, bytes: 0 };
    layers.set(layer, total);
    add(total, tensor);
    if (mtp) total.kind = "mtp";
    else if (role === "routed-experts") total.kind = "moe";
    else if (role === "dense-mlp" && total.kind === "other") total.kind = "dense";
  }
  return { layers: [...layers.values()].sort((a, b) => a.layer - b.layer), outside };
}

export function layerRuns(layers: readonly LayerTotal[]): LayerRun[] {
  const runs: LayerRun[] = [];
  for (const { layer, ...rest } of layers) {
    const run = runs.at(-1);
    const isAlike =
      run !== undefined &&
      run.last === layer - 1 &&
      (["kind", "tensors", "elements", "bytes"] as const).every((key) => run[key] === rest[key]);
    if (isAlike) run.last = layer;
    else runs.push({ first: layer, last: layer, ...rest });
  }
  return runs;
}

function add(total: Total, { elements, bytes }: ListedTensor): void {
  total.tensors += 1;
  total.elements += elements;
  total.bytes += bytes;
}
