/** Recipes, plans and virtual children; and what of the disk they may name. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { planRecipe } from "../../../src/plan/plan-recipe.ts";
import type {
  CheckpointEntry,
  Planning,
  RecipeReading,
  RecipeText,
  RecipeWords,
} from "../../../src/server/api.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { openStudio, type StudioServer } from "./support.ts";

const recipeOf = (path: string) => `version: 1
parents:
  v3: mini-v3
  other: ${path}
base: v3
rules:
  - tensors: routed-experts
    weights: { other: 1 }
`;

describe("routes of recipes", () => {
  let server: StudioServer;
  before(async () => {
    server = await openStudio();
  });
  after(() => server.close());
  const read = async (recipe: string) =>
    (await server.send<RecipeReading>("POST", "/recipe/read", { recipe })).body;
  const plan = async (recipe: string) => (await server.send<Planning>("POST", "/plan", { recipe })).body;

  test("POST /recipe/read and /recipe/write are each other's inverse", async () => {
    const { body: template } = await server.send<RecipeText>("POST", "/recipe/template", {
      base: "mini-v3",
      other: "mini-r1",
      lambda: 0.25,
    });
    const reading = await read(template.recipe);
    assert.ok("form" in reading);
    assert.deepEqual(reading.form.rules[0]!.weights, { "mini-r1": 0.25 });
    const { body: written } = await server.send<RecipeText>("POST", "/recipe/write", reading.form);
    assert.deepEqual(await read(written.recipe), reading);
  });

  test("POST /recipe/read tells every fault at its line", async () => {
    const reading = await read(
      "version: 1\nparents:\n  a: mini-v3\nbase: b\nrules:\n  - tensors: routed-expert\n    weights: { c: 1 }\n",
    );
    assert.ok("problems" in reading);
    const places = reading.problems.map(({ code, line }) => `${code} ${line}`);
    assert.ok(places.length >= 3, places.join(", "));
    assert.ok(
      places.some((place) => place.endsWith(" 4")) && places.some((place) => place.endsWith(" 6")),
      places.join(", "),
    );
  });

  test("POST /plan says what planRecipe() says", async () => {
    const { body: entries } = await server.get<CheckpointEntry[]>("/checkpoints");
    const planning = await plan(entries.find(({ id }) => id === "r1t")!.recipe!);
    assert.ok("plan" in planning);
    const wanted = await planRecipe("recipes/mini/r1t.yaml");
    assert.equal(planning.plan.writeBytes, wanted.totals.writeBytes);
    assert.deepEqual(planning.plan.tensors, wanted.totals.tensors);
    assert.deepEqual(
      planning.plan.parents.map(({ name, isBase }) => [name, isBase]),
      [
        ["v3", true],
        ["r1", false],
      ],
    );
  });

  test("POST /plan tells what parents cannot give", async () => {
    const planning = await plan(
      `${recipeOf("mini-r1")}  - tensors: { role: routed-experts, layers: 40-50 }\n    weights: { other: 1 }\n`,
    );
    assert.ok("problems" in planning && planning.problems.length > 0);
  });

  test("parents are served checkpoints or lie below the folders; nothing else is opened", async () => {
    const folder = temporaryFolder({ after });
    mkdirSync(join(folder, "inside"));
    symlinkSync(resolve("models/mini-r1"), join(folder, "link"));
    const own = await openStudio({ folders: [folder] }, [`v3=models/mini-v3`]);
    try {
      for (const path of [
        "/etc",
        "../../../../../../etc",
        resolve("models/mini-r1"),
        "link",
        join(folder, "link"),
        "mini-r1",
        folder.slice(0, -3),
      ]) {
        const { body } = await own.send<Planning>("POST", "/plan", {
          recipe: recipeOf(path).replace("mini-v3", "v3"),
        });
        assert.ok("problems" in body, path);
        assert.deepEqual(
          body.problems.map(({ code, line }) => [code, line]),
          [["outside", 4]],
          path,
        );
      }
      const { body } = await own.send<Planning>("POST", "/plan", {
        recipe: recipeOf("inside").replace("mini-v3", "v3"),
      });
      assert.ok("problems" in body && body.problems[0]!.code !== "outside"); // it may be named, and holds no checkpoint
    } finally {
      await own.close();
    }
  });

  test("POST /recipes makes a child that answers, another λ makes it anew, DELETE takes it away", async () => {
    const recipe = recipeOf("mini-r1").replaceAll("other", "r1");
    const ask = async () => {
      const response = await server.app.request("/v1/chat/completions", {
        method: "POST",
        headers: { host: "localhost", "content-type": "application/json" },
        body: JSON.stringify({
          model: "slider",
          temperature: 0,
          max_tokens: 200,
          messages: [{ role: "user", content: "What is 17 + 25?" }],
        }),
      });
      const { choices } = (await response.json()) as {
        choices: { message: { reasoning_content?: string } }[];
      };
      return choices[0]!.message.reasoning_content !== undefined;
    };
    const make = (lambda: number) =>
      server.send<CheckpointEntry>("POST", "/recipes", { name: "slider", recipe, lambda: { r1: lambda } });
    assert.equal((await make(1)).status, 200);
    assert.equal(await ask(), true);
    await make(0);
    assert.equal(await ask(), false);
    assert.equal((await server.send("DELETE", "/recipes/slider")).status, 200);
    assert.equal((await server.send("DELETE", "/recipes/slider")).status, 404);
    assert.equal((await server.send("DELETE", "/recipes/mini-r1")).status, 409);
    assert.equal((await server.send("POST", "/recipes", { name: "mini-r1", recipe })).status, 409);
    assert.equal((await server.send("POST", "/recipes", { name: "../x", recipe })).status, 400);
    assert.equal(
      (await server.send("POST", "/recipes", { name: "x", recipe, lambda: { nobody: 1 } })).status,
      400,
    );
  });

  test("GET /recipe/words are the vocabulary's", async () => {
    const { body } = await server.get<RecipeWords>("/recipe/words");
    assert.ok(body.roles.includes("routed-experts") && body.dtypes.includes("f8_e4m3"));
  });
});
