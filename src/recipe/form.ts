/** A recipe as the fields of a form: what it says, without the places of its words. For editors of recipes. */
import type { Recipe } from "./recipe.ts";
import { MEASURES, METHODS, OUTPUT_DTYPES, SELECTABLE_ROLES } from "./vocabulary.ts";
import { type RecipeParts, writeRecipe } from "./write.ts";

/** Of rules what recipes say, in the order of the file. */
export interface RecipeForm {
  parents: { name: string; path: string }[];
  base: string;
  rules: RuleForm[];
  tokenizer: string;
  chatTemplate: string;
  output: { dtype: string; maxShardSize: "as-base" | number };
}

export interface RuleForm {
  selectors: SelectorForm[];
  /** λ by parent; a list is a gradient over the layers. */
  weights: Record<string, number | number[]>;
  threshold?: number;
  measure?: string;
  method?: string;
}

export interface SelectorForm {
  role?: string;
  layers?: { from: number; to: number }[];
  experts?: { from: number; to: number }[];
  matrices?: string[];
  name?: string;
  includeMtp?: boolean;
}

/** What forms choose from. */
export interface RecipeWords {
  roles: string[];
  measures: string[];
  methods: string[];
  dtypes: string[];
}

export function recipeWords(): RecipeWords {
  return {
    ...{ roles: [...SELECTABLE_ROLES], measures: [...MEASURES] },
    ...{ methods: [...METHODS], dtypes: [...OUTPUT_DTYPES] },
  };
}

export function formOf({ parents, base, rules, tokenizer, chatTemplate, output }: Recipe): RecipeForm {
  return {
    parents: parents.map(({ name, path }) => ({ name, path })),
    base,
    rules: rules.map(({ selectors, weights, threshold, measure, method }) => ({
      selectors: selectors.map(({ at: _, ...selector }) => selector),
      weights,
      ...(threshold === undefined ? {} : { threshold }),
      ...{ measure, method },
    })),
    ...{ tokenizer, chatTemplate, output },
  };
}

/** The text of a form. Words that are none are written too: reading the text tells what is wrong with them, and where. */
export function recipeOfForm(form: RecipeForm): string {
  return writeRecipe(form as RecipeParts);
}
