/** chimera recipe: start one, check one, its schema, and why a tensor gets what it gets. */
import type { Command } from "commander";
import type { SelectableRole } from "../recipe/recipe.ts";
import type { RecipeAnswers } from "../recipe/template.ts";
import { UsageError } from "./exit.ts";
import { parseParent } from "./plan.ts";
import { clean, note, paint, paintError, print, printJson } from "./terminal.ts";

export function addRecipe(program: Command): void {
  const recipe = program.command("recipe").description("start, check and explain recipes");
  addInit(recipe);
  recipe
    .command("check")
    .description("check a recipe, and against its parents when they are there")
    .argument("<recipe>", "a recipe file (.yaml)")
    .option(
      "--parent <name=folder>",
      "where a parent lies, instead of where the recipe says; repeatable",
      parseParent,
      {},
    )
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
    .option(
      "--parent <name=folder>",
      "where a parent lies, instead of where the recipe says; repeatable",
      parseParent,
      {},
    )
    .option("--json", "as JSON on stdout")
    .addHelpText(
      "after",
      "\nExample:\n  $ chimera recipe explain recipes/r1t.yaml model.layers.7.mlp.experts.0.up_proj.weight",
    )
    .action(explain);
}

interface CheckOptions {
  parent: Record<string, string>;
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
      (ref) => !folderExists(parentLocation(recipe, ref, { locations: options.parent })),
    );
    const against = absent.length < recipe.parents.length;
    const plan = against ? await planRecipe(recipe, { locations: options.parent }) : undefined;
    if (options.json)
      printJson({ ok: true, checkedAgainstParents: against, warnings: plan?.warnings ?? [], problems: [] });
    else {
      for (const warning of plan?.warnings ?? [])
        note(`${paintError("yellow", "warning:")} ${clean(warning)}`);
      const rules = `${recipe.rules.length} rule${recipe.rules.length === 1 ? "" : "s"}`;
      const scope = against
        ? "checked against its parents"
        : "its parents are not here, so only the recipe itself was checked";
      print(`${paint("green", "valid")}  ${path}: ${recipe.parents.length} parents, ${rules}; ${scope}`);
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
    locations: options.parent,
  });
  if (!baseFound)
    note(`${paintError("yellow", "note:")} the base is not here; names are read as DeepSeek-V3's`);
  if (exists === false) note(`${paintError("yellow", "note:")} the base holds no tensor of this name`);
  if (options.json) printJson({ ...explanation, baseFound, ...(exists === undefined ? {} : { exists }) });
  else print(formatExplanation(explanation));
}

interface InitOptions {
  parent: Record<string, string>;
  base?: string;
  role?: string[];
  weight: Record<string, string>;
  template?: string;
  output?: string;
}

function addInit(recipe: Command): void {
  recipe
    .command("init")
    .description("write a commented recipe, by questions or from options")
    .option(
      "--parent <name=folder>",
      "a parent; the first is the base unless --base says otherwise",
      parseParent,
      {},
    )
    .option("--base <name>", "whose bytes stand where no rule says otherwise")
    .option(
      "--role <role>",
      "which tensors are merged: routed-experts, attention, all …; repeatable",
      collect,
    )
    .option("--weight <name=λ>", "weights by parent, like r1=1", parseParent, {})
    .option("--template <name>", "whose chat template the child gets")
    .option("-o, --output <file>", "where to write it (default: stdout)")
    .addHelpText(
      "after",
      `
Asks for what the options leave open, when a terminal is there to answer.

Examples:
  $ chimera recipe init -o my.yaml
  $ chimera recipe init --parent v3=./V3 --parent r1=./R1 --role routed-experts --weight r1=1 -o r1t.yaml`,
    )
    .action(init);
}

async function init(options: InitOptions): Promise<void> {
  const { recipeTemplate } = await import("../recipe/template.ts");
  const complete = Object.keys(options.parent).length > 0;
  const answers = complete ? answersFrom(options) : await ask(options);
  const text = recipeTemplate(answers);
  if (!options.output) {
    print(text.trimEnd());
    return;
  }
  const { fileExists, writeFileAtomically } = await import("../checkpoint/node.ts");
  if (fileExists(options.output))
    throw new UsageError(`Cannot write "${options.output}": it exists, wanted a new file`);
  await writeFileAtomically(options.output, text);
  print(`${paint("green", "written")}  ${options.output}`);
  print(paint("dim", `next: chimera recipe check ${options.output}`));
}

function answersFrom({ parent, base, role, weight, template }: InitOptions): RecipeAnswers {
  const parents = Object.entries(parent).map(([name, path]) => ({ name, path }));
  const weights = Object.fromEntries(Object.entries(weight).map(([name, value]) => [name, numberOf(value)]));
  const chosen = base ?? parents[0]!.name;
  const donor = parents.find(({ name }) => name !== chosen)?.name;
  const merges = role !== undefined || Object.keys(weights).length > 0;
  const defaults = merges && Object.keys(weights).length === 0 && donor ? { [donor]: 1 } : weights;
  return {
    parents,
    base: chosen,
    ...(merges ? { roles: (role ?? ["routed-experts"]) as SelectableRole[], weights: defaults } : {}),
    ...(template ? { chatTemplate: template } : {}),
  };
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value))
    throw new UsageError(`Cannot use "${text}" as a weight, wanted a number`);
  return value;
}

/** Questions at the terminal. Ctrl-C or Ctrl-D ends without having written anything. */
async function ask(options: InitOptions): Promise<RecipeAnswers> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(
      "Cannot ask without a terminal",
      "Give --parent name=folder for each parent, --role and --weight",
    );
  }
  const { createInterface } = await import("node:readline/promises");
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<never>((_, reject) => {
    reader.on("SIGINT", () => reject(new UsageError("Stopped; nothing was written")));
    reader.on("close", () => reject(new UsageError("Stopped; nothing was written")));
  });
  closed.catch(() => {}); // when all questions were answered nobody waits for it
  const question = async (text: string, fallback: string) => {
    const answer = await Promise.race([
      reader.question(`${text} ${paintError("dim", `[${fallback}]`)} `),
      closed,
    ]);
    return answer.trim() || fallback;
  };
  try {
    const parent: Record<string, string> = {};
    note("A child takes every tensor from its base, except where a rule says otherwise.");
    for (;;) {
      const first = Object.keys(parent).length === 0;
      const second = Object.keys(parent).length === 1;
      const folder = await question(
        first ? "Folder of the base:" : second ? "Folder of the other parent:" : "Folder of one more parent:",
        first ? "./DeepSeek-V3-0324" : second ? "./DeepSeek-R1" : "none",
      );
      if (folder === "none") break;
      const name = await question("  its short name:", shortName(folder, Object.keys(parent)));
      parent[name] = folder;
    }
    const names = Object.keys(parent);
    const role = await question(
      "Which tensors come from the others (routed-experts, attention, all …):",
      "routed-experts",
    );
    const weight: Record<string, string> = {};
    for (const name of names.slice(1)) {
      weight[name] = await question(
        `Weight of ${name} there (1: its bytes, 0.5: half and half):`,
        names.length === 2 ? "1" : "0.5",
      );
    }
    const template = await question(`Chat template (${names.join(", ")}):`, names[0]!);
    return answersFrom({ ...options, parent, role: role.split(/[\s,]+/), weight, template });
  } finally {
    reader.close();
  }
}

/** "./DeepSeek-V3-0324" -> "v3", or what is left of the name. */
function shortName(folder: string, taken: readonly string[]): string {
  const last = folder
    .replace(/[/\\]+$/, "")
    .split(/[/\\]/)
    .at(-1)!
    .toLowerCase();
  const short =
    /\b(v3|r1t2|r1t|r1|v2)\b/.exec(last.replaceAll("_", "-"))?.[1] ?? last.replace(/[^a-z0-9._-]/g, "-");
  return taken.includes(short) || short === "" ? `parent${taken.length + 1}` : short;
}
