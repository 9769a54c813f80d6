/** What a search wants much of, and what it is to cost. */
import type { RunSummary } from "../eval/summary.ts";
import { hypervolume } from "./dominance.ts";

export const GAINS = ["accuracy", "openness"] as const;
/** openness: the share of answers that are no refusals. */
export type Gain = (typeof GAINS)[number];

export const COSTS = ["token", "thinking-token", "refusal"] as const;
export type Cost = (typeof COSTS)[number];

export interface Objectives {
  gain: Gain;
  cost: Cost;
}

/** null where the run says nothing of it. */
export function gainOf({ overall }: RunSummary, { gain }: Objectives): number | null {
  if (!overall) return null;
  switch (gain) {
    case "accuracy":
      return overall.accuracy?.value ?? null;
    case "openness":
      return 1 - overall.refused.value;
    default:
      throw gain satisfies never;
  }
}

export function costOf({ overall }: RunSummary, { cost }: Objectives): number | null {
  if (!overall) return null;
  switch (cost) {
    case "token":
      return overall.tokens?.mean ?? null;
    case "thinking-token":
      return overall.thinkingTokens?.mean ?? null;
    case "refusal":
      return overall.refused.value;
    default:
      throw cost satisfies never;
  }
}

/** For axes and tables. */
export const GAIN_LABEL: Record<Gain, string> = {
  accuracy: "accuracy",
  openness: "answers that are no refusals",
};
export const COST_LABEL: Record<Cost, string> = {
  token: "output tokens, mean",
  "thinking-token": "thinking tokens, mean",
  refusal: "share of refusals",
};

/**
 * The area that a front dominates below the worst cost and above a gain of 0, as a part of what there is: 1 would be a
 * gain of 1 at no cost.
 */
export function dominatedShare(
  points: readonly { gain: number | null; cost: number | null }[],
  worstCost: number,
): number {
  if (!(worstCost > 0)) return 0;
  const known = points.flatMap(({ gain, cost }) => (gain === null || cost === null ? [] : [[-gain, cost]]));
  return hypervolume(known, [0, worstCost]) / worstCost;
}
