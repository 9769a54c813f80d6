/**
 * The parents that give the child its tokenizer and its chat template: whether they have any to give.
 *
 * A child without the template that its recipe names would behave like another model, and nobody would be
 * told; so that is a problem of the plan.
 */
import type { Problem } from "../base/errors.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { position } from "./decide.ts";
import type { Parent } from "./parents.ts";

export const TOKENIZER_CONFIG = "tokenizer_config.json";
/** Files with a chat template alone; the first one wins over tokenizer_config.json. */
export const TEMPLATE_FILES: readonly string[] = ["chat_template.jinja", "chat_template.json"];
/** What makes a tokenizer: taken from one parent together. */
export const TOKENIZER_FILES: RegExp =
  /^(tokenizer\.json|tokenizer_config\.json|tokenizer\.model|vocab\.json|merges\.txt|vocab\.txt|special_tokens_map\.json|added_tokens\.json|.*\.tiktoken|tokenization_.*\.py|chat_template\.(jinja|json))$/;

/** Reads tokenizer_config.json of both donors when the template is not the tokenizer's own. */
export async function donorProblems(recipe: Recipe, parents: readonly Parent[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  const report = (code: string, parent: Parent, what: string) =>
    problems.push({ code, message: `Cannot take ${what}`, ...position(recipe, parent.ref.at) });
  const named = (name: string) => parents.find((parent) => parent.name === name)!;
  const [tokenizer, template] = [named(recipe.tokenizer), named(recipe.chatTemplate)];
  const has = ({ checkpoint }: Parent, wanted: (name: string) => boolean) =>
    checkpoint.files.some(({ name }) => wanted(name));

  if (tokenizer.name !== recipe.base && !has(tokenizer, (name) => TOKENIZER_FILES.test(name))) {
    report(
      "missing-tokenizer",
      tokenizer,
      `the tokenizer of "${tokenizer.name}": it has no file of one, wanted tokenizer.json or another`,
    );
  }
  if (template === tokenizer) return problems;
  const configs = new Map<Parent, Record<string, unknown> | undefined>();
  for (const parent of [tokenizer, template]) {
    const bytes = await parent.checkpoint.store.readSmall(TOKENIZER_CONFIG);
    const config = bytes && asObject(bytes);
    configs.set(parent, config);
    if (!bytes || config) continue;
    report(
      "tokenizer-json",
      parent,
      `"${TOKENIZER_CONFIG}" of "${parent.name}": it is not a JSON object, wanted one`,
    );
  }
  const isThere =
    has(template, (name) => TEMPLATE_FILES.includes(name)) || configs.get(template)?.chat_template;
  if (!isThere && problems.every(({ code }) => code !== "tokenizer-json")) {
    report(
      "missing-template",
      template,
      `the chat template of "${template.name}": it has none, wanted chat_template.jinja or an entry of ${TOKENIZER_CONFIG}`,
    );
  }
  return problems;
}

function asObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
