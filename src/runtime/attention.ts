/**
 * Latent attention (model.md section 6) over the paged cache, for the heads of one rank, in two forms that
 * are equal in real arithmetic.
 *
 * Absorbed: queries go through the keys' half of kv_b_proj, so that scores and outputs are taken on the
 * cached latents themselves; one key serves all heads. Expanded: keys and values of every head are computed
 * from the latents. Per query and key the absorbed form costs 2·latent + rope products and the expanded one
 * nope + rope + value; the expanded one pays (nope + value)·latent for each key, the absorbed one for each
 * query: behind a long context it is the cheaper from some 170 queries at once (section 6.3).
 *
 * Both take the softmax online, page by page or block by block (section 16). Contexts longer than
 * SPLIT_PAGES are attended part by part and joined by their log-sum-exp; where parts end depends on the
 * context alone, so a result does not depend on the number of ranks. In one form it does not depend on how many
 * queries go together either; between the two forms last bits differ.
 */
import type { ModelConfig } from "../arch/model-config.ts";
import type { InferenceKernels, Weight } from "../kernels/inference.ts";
import { AbsorbedAttention } from "./absorbed-attention.ts";
import { AttentionHeads } from "./attention-heads.ts";
import { ExpandedAttention } from "./expanded-attention.ts";
import type { LatentCache } from "./latent-cache.ts";
import { PageReader } from "./page-reader.ts";
import type { Segment } from "./pass.ts";
import { ATTENDED_ROWS, type RunState } from "./run-state.ts";

/** Decoding and the check of drafts never expand: their sums keep one order, however many rows they have. */
const LEAST_EXPANDED = 16;

/** The cheaper form for `count` queries behind `start` cached tokens, by the products of one head. */
export function cheaperForm(
  { sizes }: Pick<ModelConfig, "sizes">,
  { count, start }: Pick<Segment, "count" | "start">,
): "absorbed" | "expanded" {
  const { latent, nopeDim, ropeDim, valueDim } = sizes;
  const keys = start + count;
  const throughLatent = (nopeDim + valueDim) * latent;
  const absorbed = count * keys * (2 * latent + ropeDim) + count * throughLatent;
  const expanded = count * keys * (nopeDim + ropeDim + valueDim) + keys * throughLatent;
  return count >= LEAST_EXPANDED && expanded < absorbed ? "expanded" : "absorbed";
}

/** At most ATTENDED_ROWS rows of one sequence, in a form that is chosen. */
export interface FormedSegment extends Segment {
  form: "absorbed" | "expanded";
}

export class Attention {
  readonly #absorbed: AbsorbedAttention;
  readonly #expanded: ExpandedAttention;
  readonly #numHeads: number;

  constructor(
    kernels: InferenceKernels,
    options: { config: ModelConfig; state: RunState; cache: LatentCache; numHeads: number },
  ) {
    const heads = new AttentionHeads(kernels, options);
    const pages = new PageReader(heads, options.cache);
    this.#absorbed = new AbsorbedAttention(heads, pages);
    this.#expanded = new ExpandedAttention(heads, pages);
    this.#numHeads = options.numHeads;
  }

  /** state.queries and the cache -> state.heads, for all rows of a pass. */
  run(
    segments: readonly FormedSegment[],
    { layer, keyValueUp }: { layer: number; keyValueUp: Weight },
  ): void {
    if (this.#numHeads === 0) return;
    for (const together of togetherOf(segments)) {
      if (together[0]!.form === "absorbed") this.#absorbed.run(together, { layer, keyValueUp });
      else this.#expanded.run(together[0]!, { layer, keyValueUp });
    }
  }
}

/** Segments that attend together: neighbours in the absorbed form, as many as there is room for. */
function togetherOf(segments: readonly FormedSegment[]): FormedSegment[][] {
  const groups: FormedSegment[][] = [];
  let rows = 0;
  for (const segment of segments) {
    const group = groups.at(-1);
    rows += segment.count;
    if (group && segment.form === "absorbed" && group[0]!.form === "absorbed" && rows <= ATTENDED_ROWS)
      group.push(segment);
    else {
      groups.push([segment]);
      rows = segment.count;
    }
  }
  return groups;
}
