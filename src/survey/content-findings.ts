/**
 * Findings about the tensors themselves: against what config.json implies, weights against their scales,
 * layers and experts against their declared number, and names that say the same thing twice.
 */
import { scaleNameOf, weightNameOf } from "../arch/scale-names.ts";
import type { Problem } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import type { StoredTensor } from "../checkpoint/checkpoint.ts";
import { shown } from "../checkpoint/shown.ts";
import { pairTensors } from "../logical/pairs.ts";
import { formatShape, isFloat8 } from "../tensor/dtype.ts";
import type { Expected } from "./inventory.ts";
import type { Subject } from "./subject.ts";

export function contentFindings(subject: Subject): Problem[] {
  const missingLayers = absentLayers(subject);
  return [
    ...missingLayers.map((layer) => layerFinding(layer, subject)),
    ...(subject.expected
      ? expectedFindings(subject, subject.expected, new Set(missingLayers))
      : expertFindings(subject)),
    ...pairingFindings(subject),
    ...twiceFindings(subject),
  ];
}

/** Layers that config.json declares and no tensor has. */
function absentLayers({ arch, inventory, isPart }: Subject): number[] {
  if (!arch.known || arch.numLayers === undefined || isPart) return [];
  const present = new Set(inventory.map(({ place }) => place.layer));
  // A broken config may declare any number; where it does, all layers from some index on are absent.
  const declared = Math.min(arch.numLayers + arch.numMtpLayers, 10_000);
  return Array.from({ length: declared }, (_, layer) => layer).filter((layer) => !present.has(layer));
}

function layerFinding(layer: number, { arch, checkpoint }: Subject): Problem {
  const kind = layer >= arch.numLayers! ? "MTP layer" : "layer";
  const message = `Cannot find ${kind} ${layer} of "${checkpoint.label}": config.json declares it, no tensor belongs to it`;
  return { code: "missing-layer", message };
}

function expectedFindings(
  { checkpoint, arch, inventory, isPart }: Subject,
  expected: Expected,
  missingLayers: ReadonlySet<number>,
): Problem[] {
  const { tensors, label } = checkpoint;
  const present = new Map(inventory.map((tensor) => [tensor.name, tensor]));
  const problems: Problem[] = [];
  for (const { name, dtype, shape } of isPart ? [] : expected.values()) {
    if (present.has(name) || missingLayers.has(arch.locate(name).layer ?? -1)) continue;
    if (isScaleOfStored(name, tensors)) continue; // pairing says so
    const message = `Cannot find "${name}" of "${label}": config.json implies it, ${dtype} ${formatShape(shape)}`;
    problems.push({ code: "missing-tensor", message });
  }
  for (const { name, dtype, shape, basis } of inventory) {
    const wanted = expected.get(name);
    if (!wanted) {
      const message = `Found "${shown(name)}" in "${label}", which config.json does not imply`;
      problems.push({ code: "unexpected-tensor", message });
      continue;
    }
    if (basis !== "header" || !dtype || !shape) continue;
    if (formatShape(shape) !== formatShape(wanted.shape)) {
      if (isScaleOfStored(name, tensors)) continue; // held against its weight by pairing
      const shapes = `its shape is ${formatShape(shape)}, wanted ${formatShape(wanted.shape)}`;
      const message = `Cannot match "${name}" of "${label}" with config.json: ${shapes}`;
      problems.push({ code: "shape-mismatch", message });
    }
    if (dtype !== wanted.dtype) {
      const message = `Cannot match "${name}" of "${label}" with config.json: it is ${dtype}, wanted ${wanted.dtype}`;
      problems.push({ code: "dtype-mismatch", message });
    }
  }
  return problems;
}

function isScaleOfStored(name: string, tensors: ReadonlyMap<string, StoredTensor>): boolean {
  const weight = tensors.get(weightNameOf(name) ?? "");
  return weight !== undefined && isFloat8(weight.dtype);
}

/** For families whose tensors we cannot derive: MoE layers must have as many experts as config.json says. */
function expertFindings({ checkpoint, arch, inventory, isPart }: Subject): Problem[] {
  if (!arch.known || arch.numExperts === undefined || isPart) return [];
  const experts = new Map<number, Set<number>>();
  for (const { place } of inventory) {
    if (place.role !== "routed-experts" || place.expert === undefined) continue;
    const found = experts.get(place.layer!) ?? new Set();
    experts.set(place.layer!, found.add(place.expert));
  }
  return [...experts]
    .filter(([, found]) => found.size !== arch.numExperts)
    .map(([layer, { size }]) => {
      const counts = `${formatInteger(size)} routed experts, wanted ${formatInteger(arch.numExperts!)} as config.json says`;
      return {
        code: "expert-count",
        message: `Cannot match layer ${layer} of "${checkpoint.label}": it has ${counts}`,
      };
    });
}

function pairingFindings({ checkpoint, arch, isPart }: Subject): Problem[] {
  const { tensors, unread, label } = checkpoint;
  const unseen = new Set(unread);
  // What lies in a shard that is not there, or in another file, may be paired all the same.
  const mayPair = ({ name, dtype }: StoredTensor): boolean => {
    const partners = isFloat8(dtype) ? scaleNameOf(name) : [weightNameOf(name) ?? ""];
    if (partners.some((partner) => tensors.has(partner))) return false;
    return (
      partners.some((partner) => unseen.has(partner)) || (isPart && (isFloat8(dtype) || partners[0] !== ""))
    );
  };
  const settled = new Map([...tensors].filter(([, tensor]) => !mayPair(tensor)));
  return pairTensors(settled, { label, block: arch.block }).problems;
}

/** One place of one layer under two names, as when a wrapped and a plain copy lie side by side. */
function twiceFindings({ checkpoint, inventory }: Subject): Problem[] {
  const seen = new Map<string, string>();
  const problems: Problem[] = [];
  for (const { name, place } of inventory) {
    if (place.layer === undefined) continue;
    const path = name.slice(name.indexOf("layers."));
    const other = seen.get(path);
    if (other === undefined) seen.set(path, name);
    else {
      const message = `Found layer ${place.layer} twice in "${checkpoint.label}": "${shown(name)}" and "${shown(other)}"`;
      problems.push({ code: "duplicate-place", message });
    }
  }
  return problems;
}
