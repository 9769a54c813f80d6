/** Recipes as text and as forms, what they would do, and the virtual children that they make. */
import { availableParallelism } from "node:os";
import { Hono } from "hono";
import { z } from "zod";
import { CheckpointError, PlanError, type Problem, RecipeError } from "../../base/errors.ts";
import type { BuildPlan } from "../../plan/plan.ts";
import { planRecipe } from "../../plan/plan-recipe.ts";
import { planSummary } from "../../plan/summary.ts";
import { formOf, recipeOfForm, recipeWords } from "../../recipe/form.ts";
import type { Recipe } from "../../recipe/recipe.ts";
import { recipeTemplate } from "../../recipe/template.ts";
import { recipeAt } from "../../study/child-recipe.ts";
import type { Planning, PlanSummary, RecipeForm, RecipeReading, RecipeText, RecipeWords } from "../api.ts";
import { ApiError, invalid } from "../api-error.ts";
import type { RouteEnvironment } from "../app.ts";
import { parseBody, readJson } from "../request-body.ts";
import { CHILD_NAME, USUAL_SPEED } from "./builds.ts";
import type { StudioContext } from "./context.ts";

const Text = z.strictObject({ recipe: z.string().max(1_000_000) });
const Range = z.strictObject({ from: z.int().min(0), to: z.int().min(0) });
const Selector = z.strictObject({
  role: z.string().optional(),
  layers: z.array(Range).optional(),
  experts: z.array(Range).optional(),
  matrices: z.array(z.string()).optional(),
  name: z.string().optional(),
  includeMtp: z.boolean().optional(),
});
const Form = z.strictObject({
  parents: z.array(z.strictObject({ name: z.string(), path: z.string() })).max(64),
  base: z.string(),
  rules: z
    .array(
      z.strictObject({
        selectors: z.array(Selector).max(1000),
        weights: z.record(z.string(), z.union([z.number(), z.array(z.number()).max(1000)])),
        threshold: z.number().optional(),
        measure: z.string().optional(),
        method: z.string().optional(),
      }),
    )
    .max(20_000),
  tokenizer: z.string(),
  chatTemplate: z.string(),
  output: z.strictObject({ dtype: z.string(), maxShardSize: z.union([z.literal("as-base"), z.number()]) }),
});
const Template = z.strictObject({ base: z.string(), other: z.string(), lambda: z.number().optional() });
const Child = z.strictObject({
  name: z.string().regex(CHILD_NAME, "wanted up to 100 letters, digits, _, . and -"),
  recipe: z.string().max(1_000_000),
  lambda: z.record(z.string(), z.number()).optional(),
});

export function recipeRoutes(context: StudioContext): Hono<RouteEnvironment> {
  const { places } = context;
  const app = new Hono<RouteEnvironment>();

  app.get("/recipe/words", ({ json }) => json<RecipeWords>(recipeWords()));
  app.post("/recipe/read", async ({ req, json }) => {
    const { recipe: text } = parseBody(Text, await readJson(req.raw));
    return json<RecipeReading>(
      await orProblems(async () => ({ form: formOf(places.readRecipe(text).recipe) })),
    );
  });
  app.post("/recipe/write", async ({ req, json }) => {
    const form = parseBody(Form, await readJson(req.raw));
    return json<RecipeText>({ recipe: recipeOfForm(form as RecipeForm) });
  });
  app.post("/recipe/template", async ({ req, json }) => {
    const { base, other, lambda = 1 } = parseBody(Template, await readJson(req.raw));
    for (const id of [base, other]) places.folderOf(id);
    const [first, second] = [parentName(base, 0), parentName(other, 1)];
    const name = second === first ? `${second}-2` : second;
    const recipe = recipeTemplate({
      parents: [
        { name: first, path: base },
        { name, path: other },
      ],
      base: first,
      roles: ["routed-experts"],
      weights: { [name]: lambda },
    });
    return json<RecipeText>({ recipe });
  });
  app.post("/plan", async ({ req, json }) => {
    const { recipe: text } = parseBody(Text, await readJson(req.raw));
    return json<Planning>(
      await orProblems(async () => {
        const { recipe, locations } = places.readRecipe(text);
        return { plan: await summaryOf(await planRecipe(recipe, { locations }), context) };
      }),
    );
  });
  app.post("/recipes", async ({ req, json }) => {
    const { name, recipe: text, lambda } = parseBody(Child, await readJson(req.raw));
    const { models } = context.serving;
    if (models.has(name) && !models.get(name).source.isMadeHere)
      throw new ApiError(409, `Cannot make "${name}": a model of this name is served`, {
        param: "name",
        code: "name_taken",
      });
    const { recipe, locations } = places.readRecipe(text);
    const wished = lambda ? recipeAt(recipe, { lambda: checked(lambda, recipe) }) : recipe;
    const plan = await planRecipe(wished, { locations });
    const created = Math.floor(Date.now() / 1000);
    models.replace({ id: name, kind: "child", source: plan, created, isMadeHere: true });
    return json({
      id: name,
      kind: "child",
      state: "unloaded",
      place: "made here",
      recipe: wished.text,
      madeHere: true,
    });
  });
  app.delete("/recipes/:name", ({ req, json }) => {
    const { models } = context.serving;
    const { source } = models.get(req.param("name"));
    if (!source.isMadeHere)
      throw new ApiError(409, `Cannot remove "${source.id}": it was not made here`, {
        code: "not_made_here",
      });
    models.remove(source.id).catch(() => {}); // answers that are under way end first
    return json({ id: source.id });
  });
  return app;
}

function checked(lambda: Record<string, number>, recipe: Recipe): Record<string, number> {
  const names = recipe.parents.map(({ name }) => name);
  const unknown = Object.keys(lambda).find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw invalid("lambda", `"lambda" names "${unknown}", wanted parents of the recipe: ${names.join(", ")}`);
  return lambda;
}

/** What is wrong with a recipe is an answer here, not a failure. */
async function orProblems<T extends object>(action: () => Promise<T>): Promise<T | { problems: Problem[] }> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof RecipeError || error instanceof PlanError) return { problems: [...error.problems] };
    if (error instanceof CheckpointError) {
      const { code, message, note } = error;
      return { problems: [{ code, message, ...(note ? { note } : {}) }] };
    }
    throw error;
  }
}

function parentName(id: string, index: number): string {
  const name = id.replace(/[^A-Za-z0-9._-]+/g, "-");
  return name === "" ? `parent-${index + 1}` : name;
}

async function summaryOf(plan: BuildPlan, { builds, places }: StudioContext): Promise<PlanSummary> {
  return planSummary(plan, {
    workers: availableParallelism(),
    freeBytes: await builds?.freeBytes(),
    bytesPerSecond: builds?.speed ?? USUAL_SPEED,
    placeOf: (location) => places.shortOf(location),
  });
}
