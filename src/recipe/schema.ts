/**
 * The JSON Schema of a recipe, for editors: completion, hover texts and red lines while typing.
 *
 * Written to recipes/recipe.schema.json, which the first line of a recipe names. It accepts every recipe that
 * parseRecipe() accepts; what needs more than one place of the file (known parents, sums of weights, ranges
 * that run forwards) only the reader can say.
 */
import { z } from "zod";
import {
  MEASURES,
  METHODS,
  MIN_SHARD_BYTES,
  OUTPUT_DTYPES,
  PARENT_NAME,
  RANGE,
  SELECTABLE_ROLES,
} from "./vocabulary.ts";

const ROLE_HELP: Record<string, string> = {
  embeddings: "the token embedding",
  attention: "everything under self_attn, its two inner norms included",
  norms: "the norms of the layers and the final norm",
  "dense-mlp": "the MLPs of the first, dense layers",
  router: "the matrix that scores the experts, and its bias",
  "shared-experts": "the experts that every token passes",
  "routed-experts": "the experts that the router chooses from: 95 % of a DeepSeek-V3",
  "lm-head": "the output head",
  mtp: "every tensor of the MTP layers",
  all: "every tensor",
};

const roleHelp = SELECTABLE_ROLES.map((role) => `- \`${role}\`: ${ROLE_HELP[role]}`).join("\n");

const role = z.enum(SELECTABLE_ROLES).meta({
  description: `What a tensor is. Roles but \`mtp\` and \`all\` leave MTP layers out unless include_mtp is true.\n${roleHelp}`,
});

// 3.1 and 1776 are numbers to YAML and good names for parents.
const parentName = z.union([z.string().regex(PARENT_NAME), z.number()]);

const range = z.union([z.int().min(0), z.string().regex(RANGE)]);

function ranges(of: string): z.ZodType {
  const description = `Indexes of ${of}, from 0, both ends included: \`7\`, \`3-60\` or \`[3-9, 20]\`.`;
  return z.union([range, z.array(range).min(1)]).meta({ description });
}

const selector = z
  .strictObject({
    role: role.optional(),
    layers: ranges("layers").optional(),
    experts: ranges("routed experts").optional(),
    matrices: z
      .array(z.string().min(1))
      .min(1)
      .meta({ description: "Matrices by their last name: `[gate_proj, up_proj, down_proj]`." })
      .optional(),
    name: z
      .string()
      .min(1)
      .meta({
        description:
          "A glob on the full tensor name: `*` any run of characters, dots too, `?` one, `[0-9]` a class, `{a,b}` alternatives. Quote it.",
      })
      .optional(),
    include_mtp: z
      .boolean()
      .meta({
        description:
          "Whether tensors of the MTP layers are meant too. Default: true for the roles `all` and `mtp` and without a role, else false.",
      })
      .optional(),
  })
  .meta({ description: "All conditions given must hold.", minProperties: 1 });

const weight = z.union([z.number(), z.array(z.number()).min(1)]).meta({
  description: "λ: a number, or a list of numbers = a gradient over the layers that the rule selects.",
});

const rule = z.strictObject({
  tensors: z
    .union([role, selector, z.array(z.union([role, selector])).min(1)])
    .meta({ description: "Which tensors: a role, a selector, or a list of them (any of them selects)." }),
  weights: z.record(z.string().regex(PARENT_NAME), weight).meta({
    description: "λ by parent. Parents not named: 0. The base not named: 1 − the sum of the others.",
    minProperties: 1,
  }),
  threshold: z
    .number()
    .min(0)
    .nullable()
    .meta({
      description:
        "δ: a tensor is merged only where a parent with a weight differs from the base by more. Left out or null: no test.",
    })
    .optional(),
  measure: z
    .enum(MEASURES)
    .meta({
      description:
        "How the difference is measured: `rms` ‖A − B‖ / √elements (default), `relative` ‖A − B‖ / ‖B‖, B the base.",
    })
    .optional(),
  method: z
    .enum(METHODS)
    .meta({ description: "How tensors are merged: `linear`, the weighted sum." })
    .optional(),
});

const output = z.strictObject({
  dtype: z
    .enum(OUTPUT_DTYPES)
    .meta({
      description:
        "How the child is stored: `as-base` (default), `f8_e4m3` with block scales, `bf16`, `f16`, `f32`.",
    })
    .optional(),
  max_shard_size: z
    .union([z.string().min(1), z.int().min(MIN_SHARD_BYTES)])
    .meta({ description: "`as-base` (default): the base's shard boundaries. Or a size: `5GB`, `4.5GiB`." })
    .optional(),
});

const recipe = z
  .strictObject({
    version: z.literal(1).meta({ description: "The version of this format." }),
    parents: z.record(z.string().regex(PARENT_NAME), z.string().min(1)).meta({
      description:
        "Name: folder of the checkpoint, relative to this file. The order is the order of summation.",
      minProperties: 1,
    }),
    base: parentName.meta({
      description: "The parent whose bytes stand wherever no rule says otherwise; also its config.json.",
    }),
    rules: z
      .array(rule)
      .meta({ description: "A tensor takes the LAST rule that selects it. None: the base's bytes." })
      .optional(),
    tokenizer: parentName.meta({ description: "Whose tokenizer files. Default: the base's." }).optional(),
    chat_template: parentName
      .meta({ description: "Whose chat template. Default: that of the tokenizer's parent." })
      .optional(),
    output: output.meta({ description: "How the child is stored." }).optional(),
  })
  .meta({
    title: "Chimera recipe, version 1",
    description: "How a child checkpoint is assembled from its parents.",
  });

/** JSON Schema, draft 2020-12. */
export function recipeSchema(): object {
  return z.toJSONSchema(recipe, { io: "input", target: "draft-2020-12" });
}
