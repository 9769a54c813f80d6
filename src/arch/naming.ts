/**
 * Reading the names of tensors by a family's tables.
 *
 * A name is cut at fixed places (wrapper, layer, expert) by anchored expressions without nested repetition and
 * the rest is looked up, so the time is linear in the name's length whoever wrote it: an index of 92,000
 * names takes about a tenth of a second.
 */
import { type Family, OUTSIDE, type Patterns } from "./families.ts";
import type { Place, Role } from "./place.ts";
import { weightNameOf } from "./scale-names.ts";

/** Layers that a config declares. Undefined: it does not say. */
export interface LayerCounts {
  numLayers: number | undefined;
  numMtpLayers: number | undefined;
}

// Multimodal models put the language model under a name of its own; base models may leave out "model.".
const WRAPPER = /^(?:model\.language_model\.|(?:language_model\.|language\.)?(?:model\.)?)/;
// At most six digits: no model has a million layers or experts, and longer numbers would not stay exact.
const LAYER = /^layers\.(0|[1-9]\d{0,5})\.(.+)$/s;
const EXPERT = /^([a-z_]+\.experts)\.(0|[1-9]\d{0,5})\.(.+)$/s;

interface Rule {
  role: Role;
  matrix: string;
  alias: string | undefined;
  isFp8: boolean;
  isF32: boolean;
}

/** What a name says: the tables are about the path, without layer and expert. */
interface Reading {
  layer: number | undefined;
  expert: number | undefined;
  path: string;
  rule: Rule | undefined;
}

export class Naming {
  readonly #layers: LayerCounts;
  readonly #outside: Rules;
  readonly #layer: Rules;
  readonly #experts: Rules;

  constructor(family: Family, layers: LayerCounts) {
    const isOfExpert = (pattern: string): boolean => pattern.includes(".E.");
    this.#layers = layers;
    this.#outside = new Rules(family, OUTSIDE);
    this.#layer = new Rules(family, family.layer, (pattern) => !isOfExpert(pattern));
    this.#experts = new Rules(family, family.layer, isOfExpert);
  }

  /** Where a weight stands. A scale is where its weight is. */
  locate(name: string): Place {
    const { layer, expert, path, rule } = this.#read(weightNameOf(name) ?? name);
    const matrix = rule?.matrix ?? matrixOf(path);
    const role = rule?.role ?? "other";
    if (layer === undefined) return { role, matrix, mtp: false };

    const { numLayers, numMtpLayers = Number.POSITIVE_INFINITY } = this.#layers;
    const isBeyondMain = numLayers !== undefined && layer >= numLayers;
    const isMtp = isBeyondMain ? layer < numLayers + numMtpLayers : numLayers === undefined && role === "mtp";
    // A layer that the config does not have, or an MTP layer's extras in a layer that is none.
    if ((isBeyondMain || role === "mtp") && !isMtp) return { role: "other", layer, matrix, mtp: false };
    if (expert === undefined) return { role, layer, matrix, mtp: isMtp };
    return { role, layer, expert, matrix, ...(rule?.alias ? { alias: rule.alias } : {}), mtp: isMtp };
  }

  quantizable(name: string): boolean {
    return name.endsWith(".weight") && this.#read(name).rule?.isFp8 === true;
  }

  keepsF32(name: string): boolean {
    return this.#read(name).rule?.isF32 === true;
  }

  #read(name: string): Reading {
    const wrapper = WRAPPER.exec(name)![0];
    const inLayer = LAYER.exec(name.slice(wrapper.length));
    if (!inLayer) {
      const path = name.slice(wrapper.length);
      return { layer: undefined, expert: undefined, path, rule: this.#outside.find(path) };
    }
    const layer = Number(inLayer[1]);
    const path = inLayer[2]!;
    const inExpert = EXPERT.exec(path);
    if (inExpert) {
      const rule = this.#experts.find(`${inExpert[1]}.E.${inExpert[3]}`);
      if (rule) return { layer, expert: Number(inExpert[2]), path, rule };
    }
    return { layer, expert: undefined, path, rule: this.#layer.find(path) };
  }
}

/** Patterns of a family, ready for look-up. */
class Rules {
  readonly #exact = new Map<string, Rule>();
  readonly #subtrees: [prefix: string, rule: Rule][] = [];

  constructor(family: Family, patterns: Patterns, takes: (pattern: string) => boolean = () => true) {
    for (const [role, list] of Object.entries(patterns) as [Role, readonly string[]][]) {
      for (const pattern of list.filter(takes)) {
        const isFp8 = family.fp8.includes(pattern);
        const matrix = lastPart(pattern);
        const alias = family.aliases?.[matrix];
        const rule = { role, matrix, alias, isFp8, isF32: family.f32.includes(pattern) };
        if (pattern.endsWith(".*")) this.#subtrees.push([pattern.slice(0, -1), rule]);
        else this.#exact.set(pattern, rule);
      }
    }
    // The quantised projections under a `*`, which the patterns by role do not name one by one.
    for (const pattern of family.fp8) {
      const subtree = this.#subtrees.find(([prefix]) => pattern.startsWith(prefix));
      if (subtree) this.#exact.set(pattern, { ...subtree[1], matrix: lastPart(pattern), isFp8: true });
    }
  }

  /** The rule for a tensor of just this name, else for its module, else for what that lies in. */
  find(path: string): Rule | undefined {
    const module = path.slice(0, Math.max(path.lastIndexOf("."), 0));
    const exact = this.#exact.get(path) ?? this.#exact.get(module);
    if (exact) return exact;
    const subtree = this.#subtrees.find(([prefix]) => path.startsWith(prefix));
    return subtree && { ...subtree[1], matrix: matrixOf(path) };
  }
}

/** "mlp.gate.weight" -> "gate"; a parameter that is neither weight nor bias keeps its own name. */
export function matrixOf(path: string): string {
  const leaf = path.endsWith(".weight") ? ".weight" : path.endsWith(".bias") ? ".bias" : "";
  return lastPart(path.slice(0, path.length - leaf.length));
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}
