/** chimera recipe: start one, check one, its schema, and why a tensor gets what it gets. */
import type { Command } from "commander";
import { parentOption, showWarnings } from "./plan.ts";
import { addInit } from "./recipe-init.ts";
import { note, paint, paintError, print, printJson } from "./terminal.ts";

export function addRecipe(program: Command): void {
  const recipe = program
    .command("recipe")
    .description("start, check and explain recipes")
    .addHelpText(
      "after",
      `
Examples:
  $ chimera recipe init -o my.yaml
  $ chimera recipe check my.yaml
  $ chimera recipe explain my.yaml lm_head.weight
  $ chimera recipe schema > recipe.schema.json`,
    );
  addInit(recipe);
  recipe
    .command("check")
    .description("check a recipe, and against its parents when they are there")
    .argument("<recipe>", "a recipe file (.yaml)")
    .addOption(parentOption("where a parent lies, instead of where the recipe says; repeatable"))
    .option("--json", "problems as JSON on stdout")
    .addHelpText("after", "\nExample:\n  $ chimera recipe check recipes/r1t.yaml")
    .action(check);
  recipe
    .command("schema")
    .description("print the JSON Schema of recipes, for editors")
    .addHelpText("after", "\nExample:\n  $ chimera recipe schema > recipe.schema.json")
    .action(async () => {
      const { recipeSchema } = await import("../recipe/schema.ts");
      print(JSON.stringify(recipeSchema(), null, 2));
    });
  recipe
    .command("explain")
    .description("say which rule takes a tensor, and why")
    .argument("<recipe>", "a recipe file (.yaml)")
    .argument("<tensor>", "full name of a tensor")
    .addOption(parentOption("where a parent lies, instead of where the recipe says; repeatable"))
    .option("--json", "as JSON on stdout")
    .addHelpText(
      "after",
      "\nExample:\n  $ chimera recipe explain recipes/r1t.yaml model.layers.7.mlp.experts.0.up_proj.weight",
    )
    .action(explain);
}

interface CheckOptions {
  parent?: Record<string, string>;
  json?: boolean;
}

async function check(path: string, options: CheckOptions): Promise<void> {
  const { loadRecipe } = await import("../plan/load-recipe.ts");
  const { planRecipe } = await import("../plan/plan-recipe.ts");
  const { parentLocation } = await import("../plan/parents.ts");
  const { folderExists } = await import("../checkpoint/node.ts");
  const { PlanError, RecipeError } = await import("../base/errors.ts");
  try {
    const recipe = await loadRecipe(path);
    const absent = recipe.parents.filter(
      (ref) => !folderExists(parentLocation(recipe, ref, { locations: options.parent ?? {} })),
    );
    const against = absent.length < recipe.parents.length;
    const plan = against ? await planRecipe(recipe, { locations: options.parent ?? {} }) : undefined;
    if (options.json)
      printJson({ ok: true, checkedAgainstParents: against, warnings: plan?.warnings ?? [], problems: [] });
    else {
      if (plan) showWarnings(plan);
      const rules = `${recipe.rules.length} rule${recipe.rules.length === 1 ? "" : "s"}`;
      const parents = `${recipe.parents.length} parent${recipe.parents.length === 1 ? "" : "s"}`;
      const scope = against
        ? "checked against its parents"
        : "its parents are not here, so only the recipe itself was checked";
      print(`${paint("green", "valid")}  ${path}: ${parents}, ${rules}; ${scope}`);
    }
  } catch (error) {
    if (options.json && (error instanceof RecipeError || error instanceof PlanError)) {
      printJson({ ok: false, problems: error.problems });
    }
    throw error;
  }
}

async function explain(path: string, tensor: string, options: CheckOptions): Promise<void> {
  const { loadRecipe } = await import("../plan/load-recipe.ts");
  const { explainInBase } = await import("../plan/explain.ts");
  const { formatExplanation } = await import("../recipe/explain.ts");
  const { explanation, baseFound, exists } = await explainInBase(await loadRecipe(path), tensor, {
    locations: options.parent ?? {},
  });
  if (!baseFound)
    note(`${paintError("yellow", "note:")} the base is not here; names are read as DeepSeek-V3's`);
  if (exists === false) note(`${paintError("yellow", "note:")} the base holds no tensor of this name`);
  if (options.json) printJson({ ...explanation, baseFound, ...(exists === undefined ? {} : { exists }) });
  else print(formatExplanation(explanation));
}
