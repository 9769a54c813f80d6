/**
 * A recipe file for `chimera recipe init`: the answers as YAML, with the comments a first reader needs.
 *
 * What is not asked for stands there too, commented out, so that the file shows what can be said next.
 */
import { parseRecipe } from "./parse.ts";
import type { Measure, OutputDtype, SelectableRole } from "./recipe.ts";
import { SELECTABLE_ROLES } from "./vocabulary.ts";

export interface RecipeAnswers {
  /** In the order of summation. Paths relative to the folder of the recipe. */
  parents: readonly { name: string; path: string }[];
  base: string;
  /** What is merged. Empty or absent: nothing, the child is the base in another dtype or with another template. */
  roles?: readonly SelectableRole[];
  /** λ by parent; the base, if not named, gets the rest to 1. */
  weights?: Readonly<Record<string, number>>;
  threshold?: number;
  measure?: Measure;
  tokenizer?: string;
  chatTemplate?: string;
  dtype?: OutputDtype;
  /** "as-base" or a size such as "5GB". */
  maxShardSize?: string;
  /** Where the editor finds the schema, relative to the recipe. */
  schema?: string;
}

/** Text that parseRecipe() accepts. Throws its RecipeError when the answers do not make a recipe. */
export function recipeTemplate(answers: RecipeAnswers): string {
  const { parents, base, tokenizer, chatTemplate, dtype = "as-base", maxShardSize = "as-base" } = answers;
  const schema = (answers.schema ?? "./recipe.schema.json").replace(/\s/g, "%20");
  const lines = [
    `# yaml-language-server: $schema=${schema}`,
    "#",
    "# A recipe for chimera: which tensors of the child come from which parent.",
    "# See what it does before anything is written:  chimera plan <this file>",
    "version: 1",
    "",
    "# Name: folder, relative to this file. The order is the order of summation.",
    "parents:",
    ...parents.map(({ name, path }) => `  ${scalar(name)}: ${scalar(path)}`),
    "",
    "# Tensors that no rule selects, and config.json, come from here.",
    `base: ${scalar(base)}`,
    "",
    ...rules(answers),
    "# Whose tokenizer files (default: the base's).",
    tokenizer === undefined ? `# tokenizer: ${scalar(base)}` : `tokenizer: ${scalar(tokenizer)}`,
    "",
    "# Whose chat template (default: that of the tokenizer's parent). It is a decision, not a copy: a template",
    "# that opens <think> makes a child always think, one that does not leaves it to the weights.",
    chatTemplate === undefined
      ? `# chat_template: ${scalar(tokenizer ?? base)}`
      : `chat_template: ${scalar(chatTemplate)}`,
    "",
    "output:",
    `  dtype: ${scalar(dtype)} # as-base, f8_e4m3 (with block scales), bf16, f16 or f32`,
    `  max_shard_size: ${scalar(maxShardSize)} # as-base (the base's shard boundaries) or a size like 5GB`,
  ];
  const text = `${lines.join("\n")}\n`;
  parseRecipe(text);
  return text;
}

function rules({ roles = [], weights = {}, threshold, measure }: RecipeAnswers): string[] {
  if (roles.length === 0) {
    return [
      "# No rules: every tensor is the base's. A rule looks like this:",
      "# rules:",
      "#   - tensors: routed-experts",
      "#     weights: { name-of-a-parent: 0.5 }",
      "",
    ];
  }
  const shares = Object.entries(weights).map(([name, weight]) => `${scalar(name)}: ${weight}`);
  return [
    "# A tensor takes the LAST rule that selects it.",
    "rules:",
    `  # Roles: ${SELECTABLE_ROLES.join(", ")}.`,
    '  # Narrower: { role: attention, layers: 3-60, matrices: [o_proj] }, or by name: { name: "*.o_proj.weight" }.',
    `  - tensors: ${roles.length === 1 ? roles[0] : `[${roles.join(", ")}]`}`,
    "    # Share of each parent; the base gets the rest to 1 unless it is named. A list is a gradient over layers.",
    `    weights: { ${shares.join(", ")} }`,
    "    # Merge only what differs from the base by more than this (chimera compare shows by how much).",
    threshold === undefined ? "    # threshold: 0.0004" : `    threshold: ${threshold}`,
    measure === undefined ? "    # measure: rms # or relative" : `    measure: ${measure} # rms or relative`,
    "",
  ];
}

/** Plain where YAML cannot take it for anything else, else quoted. */
function scalar(text: string): string {
  const isPlain = /^(?:\.{0,2}\/)?[A-Za-z][\w./-]*$/.test(text) && !/^(?:null|true|false)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}
