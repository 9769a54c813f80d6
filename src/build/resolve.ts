/**
 * What only data can decide about a merge: whether it passes its threshold, and whether its parents turn
 * out to be identical (assembly.md sections 1 and 2). The answer is bytes to take or a sum to compute.
 */
import { distanceOf, identical, measureTensor } from "../logical/measure.ts";
import type { MergeEnvironment } from "../logical/merge.ts";
import type { PlanMerge, PlanOperand, PlanOutput } from "../plan/plan.ts";
import type { ParentSources } from "./sources.ts";

/**
 * How a merge came out. "merged": computed. "below-threshold": the base's. "one-parent": above the
 * threshold, and one parent has weight 1. "identical": all parents hold the same bytes.
 */
export type Outcome = "merged" | "below-threshold" | "one-parent" | "identical";

export interface Resolved {
  outcome: Outcome;
  /** With their weights; a single operand of weight 1 whose codes the child can hold is copied. */
  terms: { operand: PlanOperand; weight: number }[];
  copy: boolean;
}

export async function resolveMerge(
  merge: PlanMerge,
  environment: MergeEnvironment & { sources: ParentSources; output: PlanOutput },
): Promise<Resolved> {
  const { sources, output } = environment;
  const take = (operand: PlanOperand, outcome: Outcome): Resolved => ({
    outcome,
    terms: [{ operand, weight: 1 }],
    copy: keepsCodes(operand, merge),
  });
  if (merge.test && !(await passes(merge, environment))) return take(merge.test.base, "below-threshold");
  const [first] = merge.inputs;
  // Without a test this is a conversion, which the plan has decided.
  const isAlone = merge.inputs.length === 1 && first!.weight === 1;
  if (isAlone) return take(first!, merge.test ? "one-parent" : "merged");
  // Also where the child has another dtype: what is converted then is that tensor, not a sum that rounds.
  if (merge.sumsToOne) {
    const operands = await Promise.all(merge.inputs.map((input) => sources.operand(input, merge, output)));
    if (await identical(operands, environment)) return take(first!, "identical");
  }
  const terms = merge.inputs.map((input) => ({ operand: input, weight: input.weight }));
  return { outcome: "merged", terms, copy: false };
}

/**
 * Whether the child can hold an operand's values without rounding: its weight in the child's dtype, its
 * scales as they are or widened to float32.
 */
function keepsCodes({ dtype, scale }: PlanOperand, { dtype: wanted, scaleDtype }: PlanMerge): boolean {
  if (dtype !== wanted || (scale === undefined) !== (scaleDtype === undefined)) return false;
  return scale?.dtype === scaleDtype || scaleDtype === "F32";
}

async function passes(
  merge: PlanMerge,
  environment: MergeEnvironment & { sources: ParentSources; output: PlanOutput },
): Promise<boolean> {
  const { sources, output } = environment;
  const { threshold, measure, base, others } = merge.test!;
  const baseOperand = await sources.operand(base, merge, output);
  for (const other of others) {
    const distance = await measureTensor(
      baseOperand,
      await sources.operand(other, merge, output),
      environment,
    );
    if (distanceOf(distance, measure) > threshold) return true;
  }
  return false;
}
