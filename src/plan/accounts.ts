/**
 * The books of a plan: what becomes of every tensor of every parent, and what that costs to read.
 */
import { HEAP_BYTES } from "../logical/heap.ts";
import type { LogicalTensor } from "../logical/pairs.ts";
import { numElements } from "../tensor/dtype.ts";
import type { Decision } from "./decide.ts";
import type { Parent } from "./parents.ts";
import type { BuildPlan, PlanAccount, PlanOperand, PlanTotals } from "./plan.ts";

/** Every physical tensor of every parent as copied, merged, or left out with a reason. */
export function accountFor(
  parents: readonly Parent[],
  base: number,
  decisions: ReadonlyMap<string, Decision>,
): PlanAccount[] {
  return parents.map(({ name: parent, checkpoint, tensors }, index) => {
    const account: PlanAccount = { parent, copied: 0, merged: 0, leftOut: [] };
    const leftOut = new Map<string, string[]>();
    const leave = (names: string[], reason: string) => {
      const list = leftOut.get(reason);
      if (list) list.push(...names);
      else leftOut.set(reason, names);
    };
    let paired = 0;
    for (const tensor of tensors.values()) {
      const names = namesOf(tensor);
      paired += names.length;
      const decision = decisions.get(tensor.name);
      if (decision && uses(decision, index))
        account[decision.kind === "copy" ? "copied" : "merged"] += names.length;
      else leave(names, reasonLeftOut(decision));
    }
    // What could not be paired is told as a problem, unless no rule needs this parent's tensors.
    if (paired < checkpoint.tensors.size) {
      const known = new Set([...tensors.values()].flatMap(namesOf));
      const rest = [...checkpoint.tensors.keys()].filter((name) => !known.has(name));
      for (const name of rest) leave([name], reasonLeftOut(decisions.get(name)));
    }
    account.leftOut = [...leftOut].map(([reason, names]) => ({ reason, tensors: names }));
    return account;
  });

  function reasonLeftOut(decision: Decision | undefined): string {
    if (!decision) return "the base has no tensor of this name";
    if (decision.kind === "copy" && decision.parent !== base)
      return `copied from "${parents[decision.parent]!.name}"`;
    const rule = decision.kind === "copy" ? decision.rule?.index : decision.merge.rule;
    if (rule === undefined) return "no rule takes it: the base's bytes are copied";
    return `rule ${rule + 1} gives this parent no weight there`;
  }
}

/** Whether a decision reads a parent's tensor. */
function uses(decision: Decision, parent: number): boolean {
  if (decision.kind === "copy") return decision.parent === parent;
  const { inputs, test } = decision.merge;
  const reads = (operand: PlanOperand) => operand.parent === parent;
  return inputs.some(reads) || (test !== undefined && (reads(test.base) || test.others.some(reads)));
}

function namesOf({ weight, scale }: LogicalTensor): string[] {
  return scale ? [weight.name, scale.name] : [weight.name];
}

type Work = Pick<BuildPlan, "shards" | "merges">;

/** What a plan comes to. Nothing but its shards and merges decides it. */
export function totalsOf({ shards, merges, numParents }: Work & { numParents: number }): PlanTotals {
  const all = shards.flatMap(({ tensors }) => tensors);
  const copied = all.filter(({ action }) => action.kind === "copy").length;
  return {
    tensors: { copied, merged: all.length - copied, all: all.length },
    elements: all.reduce((sum, { shape }) => sum + numElements(shape), 0),
    readBytes: readBytes(numParents, { shards, merges }),
    writeBytes: shards.reduce((sum, { byteLength }) => sum + byteLength, 0),
    tensorBytes: all.reduce((sum, { byteLength }) => sum + byteLength, 0),
    workerBytes: HEAP_BYTES,
  };
}

/** Bytes that a build reads from each parent. A scale far from its weight costs the weight again. */
function readBytes(numParents: number, { shards, merges }: Work): number[] {
  const bytes = new Array<number>(numParents).fill(0);
  const add = ({ parent, byteLength, scale }: PlanOperand) => {
    bytes[parent]! += byteLength + (scale?.byteLength ?? 0);
  };
  for (const { tensors } of shards) {
    const here = new Set<number>();
    for (const { action, byteLength } of tensors) {
      if (action.kind === "copy") bytes[action.parent]! += byteLength;
      else here.add(action.merge);
    }
    for (const index of here) {
      const { inputs, test } = merges[index]!;
      inputs.forEach(add);
      if (test) [test.base, ...test.others].forEach(add);
    }
  }
  return bytes;
}
