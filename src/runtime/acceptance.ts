/**
 * Whether a drafted token stands (model.md section 10.3): what comes out is distributed as if nothing had been
 * drafted.
 *
 * p is the main model's distribution, q the one that the draft was drawn from, both after temperature and
 * filters. A draft chosen by argmax has q = 1 for itself. With greedy decoding p is 1 for one token, and the
 * rule is equality.
 */
import { drawFrom, normalise, oneHot, probabilityOf, type SparseDistribution } from "./distribution.ts";

export interface Verdict {
  accepted: boolean;
  /** The token at this position: the draft, or what takes its place. */
  id: number;
}

/** The numbers are in [0, 1): `accept` for the test, `residual` for the draw that follows a rejection. */
export function judgeDraft(
  draft: number,
  p: SparseDistribution,
  { q = oneHot(draft), accept, residual }: { q?: SparseDistribution; accept: number; residual: number },
): Verdict {
  const drafted = probabilityOf(q, draft);
  if (drafted === 0)
    throw new RangeError(`Cannot judge draft ${draft}: q gives it no probability, wanted some`);
  if (accept * drafted < probabilityOf(p, draft)) return { accepted: true, id: draft };
  return { accepted: false, id: drawFrom(residualOf(p, q), residual) };
}

/** max(0, p - q), renormalised; p itself where q covers it all and only rounding led here. */
export function residualOf(p: SparseDistribution, q: SparseDistribution): SparseDistribution {
  const rest = p.probabilities.map((probability, at) =>
    Math.max(0, probability - probabilityOf(q, p.ids[at]!)),
  );
  return rest.some((value) => value > 0) ? normalise(p.ids, rest) : p;
}

/** Σ min(p, q): how often a draft from q stands. */
export function acceptanceRate(p: SparseDistribution, q: SparseDistribution): number {
  let rate = 0;
  for (const [at, id] of p.ids.entries()) rate += Math.min(p.probabilities[at]!, probabilityOf(q, id));
  return rate;
}
