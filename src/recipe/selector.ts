/**
 * Which tensors a rule selects, and which rule takes a tensor: the last one that selects it.
 *
 * The conditions of a selector stand in one list that both the answer (`selects`) and its explanation
 * (`whyNot`) go through, so an explanation cannot say anything but what happens.
 */
import type { Place } from "../arch/place.ts";
import { oneOf, quote } from "../yaml/wording.ts";
import { compileGlob, type Glob } from "./glob.ts";
import { contains, formatRanges } from "./ranges.ts";
import type { Recipe, Rule, Selector } from "./recipe.ts";

interface Condition {
  holds(selector: Selector, place: Place, name: string): boolean;
  /** What is, and what the selector wants. Asked only when it does not hold. */
  why(selector: Selector, place: Place): string;
}

const CONDITIONS: readonly Condition[] = [
  {
    holds: ({ role }, place) =>
      role === undefined || role === "all" || (role === "mtp" ? place.mtp : place.role === role),
    why: ({ role }, place) =>
      role === "mtp"
        ? "it belongs to no MTP layer"
        : `its role is ${quote(place.role)}, wanted ${quote(role!)}`,
  },
  {
    holds: (selector, place) => !place.mtp || includesMtp(selector),
    why: ({ role, includeMtp }) =>
      includeMtp === false
        ? "it belongs to an MTP layer, which include_mtp: false leaves out"
        : `it belongs to an MTP layer, which the role ${quote(role!)} leaves out unless include_mtp is true`,
  },
  {
    holds: ({ layers }, { layer }) => !layers || (layer !== undefined && contains(layers, layer)),
    why: ({ layers }, { layer }) =>
      `it stands ${layer === undefined ? "outside the layers" : `in layer ${layer}`}, wanted ${formatRanges(layers!)}`,
  },
  {
    holds: ({ experts }, { expert }) => !experts || (expert !== undefined && contains(experts, expert)),
    why: ({ experts }, { expert }) =>
      `it ${expert === undefined ? "belongs to no single expert" : `is expert ${expert}`}, wanted ${formatRanges(experts!)}`,
  },
  {
    holds: ({ matrices }, { matrix, alias }) =>
      !matrices || matrices.includes(matrix) || (alias !== undefined && matrices.includes(alias)),
    why: ({ matrices }, { matrix }) => `its matrix is ${quote(matrix)}, wanted ${oneOf(matrices!)}`,
  },
  {
    holds: (selector, _place, name) => selector.name === undefined || globOf(selector).matches(name),
    why: ({ name }) => `its name does not match ${quote(name!)}`,
  },
];

/** Whether all conditions of the selector hold. `name` is the weight's, also where a scale goes with it. */
export function selects(selector: Selector, place: Place, name: string): boolean {
  return CONDITIONS.every((condition) => condition.holds(selector, place, name));
}

/** The conditions that do not hold, in words; none when the selector selects the tensor. */
export function whyNot(selector: Selector, place: Place, name: string): string[] {
  const failed = CONDITIONS.filter((condition) => !condition.holds(selector, place, name));
  return failed.map((condition) => condition.why(selector, place));
}

/** Whether any selector of the rule selects the tensor. A later rule may still take it. */
export function ruleSelects(rule: Rule, place: Place, name: string): boolean {
  return rule.selectors.some((selector) => selects(selector, place, name));
}

/** The last rule that selects the tensor; undefined: the base's bytes. */
export function ruleFor(recipe: Recipe, place: Place, name: string): Rule | undefined {
  return recipe.rules.findLast((rule) => ruleSelects(rule, place, name));
}

/** The layers of the tensors that the rule selects, each once, ascending: what its gradients run over. */
export function layersSelected(rule: Rule, tensors: Iterable<{ place: Place; name: string }>): number[] {
  const layers = new Set<number>();
  for (const { place, name } of tensors) {
    if (place.layer === undefined || layers.has(place.layer)) continue;
    if (ruleSelects(rule, place, name)) layers.add(place.layer);
  }
  return [...layers].sort((a, b) => a - b);
}

/** Roles select within the main model unless they say otherwise; names and layers mean what they say. */
function includesMtp({ role, includeMtp }: Selector): boolean {
  return includeMtp ?? (role === undefined || role === "all" || role === "mtp");
}

const globs = new WeakMap<Selector, { pattern: string; glob: Glob }>();

function globOf(selector: Selector): Glob {
  const pattern = selector.name!;
  const known = globs.get(selector);
  if (known?.pattern === pattern) return known.glob;
  const glob = compileGlob(pattern);
  globs.set(selector, { pattern, glob });
  return glob;
}

/** `role attention, layers 40-60`: a selector on one line. */
export function formatSelector(selector: Selector): string {
  const { role, layers, experts, matrices, name, includeMtp } = selector;
  const parts = [
    role && `role ${role}`,
    layers && `layers ${formatRanges(layers)}`,
    experts && `experts ${formatRanges(experts)}`,
    matrices && `matrices ${matrices.join(", ")}`,
    name !== undefined && `name ${quote(name)}`,
    includeMtp !== undefined && `include_mtp ${includeMtp}`,
  ];
  return parts.filter((part) => typeof part === "string").join(", ");
}
