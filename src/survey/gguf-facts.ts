/** What a GGUF holds, as it is stored: the rest of a report is about what its tensors decode to. */
import type { Architecture } from "../arch/architecture.ts";
import { shown } from "../checkpoint/shown.ts";
import type { GgufValue } from "../gguf/cursor.ts";
import type { GgufModel } from "../gguf/model.ts";
import type { GgufType } from "../gguf/types.ts";
import { viewOf } from "../gguf/view.ts";
import { numElements } from "../tensor/dtype.ts";

export interface GgufFacts {
  version: number;
  /** Parts of a split file, in order. */
  files: string[];
  fileBytes: number;
  /** Keys of the first file; long texts are cut, of lists only the length is told. */
  metadata: Record<string, number | boolean | string>;
  /** In order of first appearance. */
  byType: { type: GgufType; tensors: number; elements: number; bytes: number }[];
  /** Tensors by role and type. */
  byRole: { role: string; types: Partial<Record<GgufType, number>> }[];
}

export function ggufFacts(model: GgufModel, arch: Architecture): GgufFacts {
  const byType = new Map<GgufType, GgufFacts["byType"][number]>();
  for (const { type, shape, byteLength } of model.tensors.values()) {
    const total = byType.get(type) ?? { type, tensors: 0, elements: 0, bytes: 0 };
    byType.set(type, total);
    total.tensors++;
    total.elements += numElements(shape);
    total.bytes += byteLength;
  }
  return {
    version: model.files[0]!.header.version,
    files: model.files.map(({ name }) => name),
    fileBytes: model.files.reduce((sum, { header }) => sum + header.fileBytes, 0),
    metadata: Object.fromEntries([...model.metadata].map(([key, { value }]) => [key, brief(value)])),
    byType: [...byType.values()],
    byRole: rolesOf(model, arch),
  };
}

function rolesOf(model: GgufModel, arch: Architecture): GgufFacts["byRole"] {
  const roles = new Map<string, Partial<Record<GgufType, number>>>();
  const seen = new Set<string>();
  for (const { name, parts } of viewOf(model)) {
    const { role } = arch.locate(name);
    for (const { tensor } of parts) {
      if (seen.has(tensor.name)) continue; // the experts of a layer, the heads of a matrix
      seen.add(tensor.name);
      const types = roles.get(role) ?? {};
      roles.set(role, types);
      types[tensor.type] = (types[tensor.type] ?? 0) + 1;
    }
  }
  return [...roles].map(([role, types]) => ({ role, types }));
}

function brief(value: GgufValue): number | boolean | string {
  if (typeof value === "string") return shown(value);
  if (typeof value === "object") return `${value.length} ${Array.isArray(value) ? "strings" : "numbers"}`;
  return value;
}
