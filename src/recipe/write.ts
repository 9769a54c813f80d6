/**
 * Recipe -> text, for recipes that programs make: a point of a sweep, the best of a search. Comments of a recipe
 * that was read are not kept; everything that decides the child is.
 */
import { Document, isMap, isSeq, type Node } from "yaml";
import { formatRanges } from "./ranges.ts";
import type { Recipe, Rule, Selector } from "./recipe.ts";

/** A rule without the places of its words: one that no file says. */
export type NewRule = Pick<Rule, "weights"> &
  Partial<Pick<Rule, "threshold" | "measure" | "method">> & { selectors: Omit<Selector, "at">[] };

export interface RecipeParts {
  parents: readonly { name: string; path: string }[];
  base: string;
  rules: readonly NewRule[];
  tokenizer: string;
  chatTemplate: string;
  output: Recipe["output"];
}

/** Text that parseRecipe() reads as the same parts. `comment`: lines at the top. */
export function writeRecipe(parts: RecipeParts, { comment }: { comment?: string } = {}): string {
  const { parents, base, rules, tokenizer, chatTemplate, output } = parts;
  const { dtype, maxShardSize } = output;
  const document = new Document({
    version: 1,
    // A Map: an object would move names like "1776" to the front, and the order is that of summation.
    parents: new Map(parents.map(({ name, path }) => [name, path])),
    base,
    rules: rules.map(ruleValue),
    tokenizer,
    chat_template: chatTemplate,
    output: { dtype, max_shard_size: maxShardSize },
  });
  const written = document.get("rules", true) as Node;
  if (isSeq(written)) {
    for (const rule of written.items) {
      if (!isMap(rule)) continue;
      for (const key of ["tensors", "weights"]) {
        const value = rule.get(key, true) as unknown;
        if (isMap(value) || isSeq(value)) value.flow = true; // short, and read at a glance
      }
    }
  }
  if (comment !== undefined) document.commentBefore = comment.replace(/^/gm, " ");
  return document.toString({ lineWidth: 0 });
}

function ruleValue({ selectors, weights, threshold, measure, method }: NewRule): object {
  const tensors = selectors.map(selectorValue);
  return {
    tensors: tensors.length === 1 ? tensors[0] : tensors,
    weights,
    ...(threshold === undefined ? {} : { threshold }),
    ...(measure === undefined || (measure === "rms" && threshold === undefined) ? {} : { measure }),
    ...(method === undefined || method === "linear" ? {} : { method }),
  };
}

function selectorValue({ role, layers, experts, matrices, name, includeMtp }: Omit<Selector, "at">): unknown {
  const conditions = {
    ...(role === undefined ? {} : { role }),
    ...(layers ? { layers: layers.map((range) => formatRanges([range])) } : {}),
    ...(experts ? { experts: experts.map((range) => formatRanges([range])) } : {}),
    ...(matrices ? { matrices } : {}),
    ...(name === undefined ? {} : { name }),
    ...(includeMtp === undefined ? {} : { include_mtp: includeMtp }),
  };
  return Object.keys(conditions).length === 1 && role !== undefined ? role : conditions;
}
