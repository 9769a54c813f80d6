/**
 * The parts that a child is made of, as an ablation swaps them: the tensors of a role, of a layer, or of a role within
 * a layer; and whose they are in a recipe's child. MTP layers are left out: they change no answer.
 */
import type { Role } from "../arch/place.ts";
import { openParents } from "../plan/parents.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { Recipe } from "../recipe/recipe.ts";
import type { NewRule } from "../recipe/write.ts";

export const GROUPINGS = ["role", "layer", "cell"] as const;
/** cell: a role within a layer. */
export type Grouping = (typeof GROUPINGS)[number];

export interface TensorGroup {
  /** "attention", "layer 3", "attention of layer 3". */
  name: string;
  grouping: Grouping;
  role?: Exclude<Role, "other" | "mtp">;
  layer?: number;
  selectors: NewRule["selectors"];
  numTensors: number;
  numElements: number;
  /** Whose its tensors are in the child: one parent's, or a sum. */
  owner: string | undefined;
}

/** Groups in the order of roles and layers. `plan` is that of the recipe. */
export async function groupsOf(
  recipe: Recipe,
  plan: BuildPlan,
  {
    groupings,
    locations,
  }: { groupings: readonly Grouping[]; locations?: Readonly<Record<string, string>> | undefined },
): Promise<TensorGroup[]> {
  const parents = await openParents(recipe, locations ? { locations } : {});
  const base = parents.find(({ name }) => name === recipe.base)!;
  const owners = ownersOf(plan);
  const groups = new Map<string, TensorGroup & { owners: Set<string | undefined> }>();
  for (const [name, { weight }] of base.tensors) {
    const { role, layer, mtp } = base.arch.locate(name);
    if (mtp || role === "other" || role === "mtp") continue;
    for (const grouping of groupings) {
      const group = groupFor(grouping, role, layer);
      if (!group) continue;
      const held = groups.get(group.name) ?? {
        ...{ ...group, numTensors: 0, numElements: 0, owner: undefined },
        owners: new Set<string | undefined>(),
      };
      groups.set(group.name, held);
      held.numTensors++;
      held.numElements += weight.shape.reduce((product, dim) => product * dim, 1);
      held.owners.add(owners.get(name));
    }
  }
  return [...groups.values()]
    .map(({ owners: all, ...group }) => ({ ...group, owner: all.size === 1 ? [...all][0] : undefined }))
    .sort((a, b) => groupings.indexOf(a.grouping) - groupings.indexOf(b.grouping) || rankOf(a) - rankOf(b));
}

function groupFor(
  grouping: Grouping,
  role: Exclude<Role, "other" | "mtp">,
  layer: number | undefined,
): Pick<TensorGroup, "name" | "grouping" | "role" | "layer" | "selectors"> | undefined {
  if (grouping === "role") return { name: role, grouping, role, selectors: [{ role }] };
  const layers = layer === undefined ? [] : [{ from: layer, to: layer }];
  if (grouping === "layer") {
    if (layer === undefined) return undefined; // the embedding, the head: they are roles
    return { name: `layer ${layer}`, grouping, layer, selectors: [{ layers }] };
  }
  if (layer === undefined) return { name: role, grouping, role, selectors: [{ role }] };
  return { name: `${role} of layer ${layer}`, grouping, role, layer, selectors: [{ role, layers }] };
}

function rankOf({ layer = -1 }: TensorGroup): number {
  return layer;
}

/** The parent that a tensor is copied from; undefined for a sum. */
function ownersOf(plan: BuildPlan): Map<string, string | undefined> {
  const owners = new Map<string, string | undefined>();
  for (const { tensors } of plan.shards) {
    for (const { name, action } of tensors)
      owners.set(name, action.kind === "copy" ? plan.parents[action.parent]!.name : undefined);
  }
  return owners;
}
