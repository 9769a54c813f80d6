/** The files of sweeps and searches: what they say, and everything that is wrong with them, with its place. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { StudyError } from "../../src/base/errors.ts";
import { loadRecipe } from "../../src/plan/load-recipe.ts";
import { spreadOverLayers } from "../../src/study/search.ts";
import { readSpaceFile } from "../../src/study/space-file.ts";
import { namesRecipe } from "../../src/study/study-file.ts";
import { pointsOf } from "../../src/study/sweep.ts";
import { readSweepFile } from "../../src/study/sweep-file.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

function written(t: TestContext, text: string): string {
  const file = join(temporaryFolder(t), "study.yaml");
  writeFileSync(file, text);
  return file;
}

/** "3:5 code message note" of each problem. */
async function faultsOf(read: Promise<unknown>): Promise<string[]> {
  try {
    await read;
  } catch (error) {
    assert.ok(error instanceof StudyError, String(error));
    return error.problems.map(
      ({ line, column, code, message, note = "" }) => `${line}:${column} ${code} ${message} ${note}`,
    );
  }
  assert.fail("it was read");
}

function assertFaults(found: readonly string[], wanted: readonly RegExp[]): void {
  assert.equal(found.length, wanted.length, found.join("\n"));
  for (const [i, pattern] of wanted.entries()) assert.match(found[i]!, pattern);
}

test("studies/mini/sweep.yaml is a sweep of the shipped recipe and tasks", async () => {
  const file = await readSweepFile("studies/mini/sweep.yaml");
  const recipe = await loadRecipe(file.recipe);
  assert.equal(pointsOf({ ...file, recipe }).length, 22);
  assert.ok((await loadTasks(file.questions.tasks!)).length > 0);
  assert.ok(!(await namesRecipe("studies/mini/sweep.yaml")));
  assert.ok(await namesRecipe("recipes/mini/r1t.yaml"));
  assert.ok(!(await namesRecipe("no such file")));
});

test("studies/mini/search.yaml is a space over the shipped recipe and tasks", async () => {
  const file = await readSpaceFile("studies/mini/search.yaml");
  const recipe = await loadRecipe(file.recipe);
  assert.equal((await spreadOverLayers(recipe, file.variables)).length, 5);
  assert.deepEqual([file.budget, file.questions.n], [30, 120]);
  assert.ok((await loadTasks(file.questions.tasks!)).length > 0);
});

test("readSweepFile() reads every key, paths from the file's folder", async (t) => {
  const file = written(
    t,
    `recipe: r.yaml
lambda: { r1: [0, 0.5], "1776": "0:1:0.5", b: 0.25 }
threshold: [0, 0.001]
roles: [all, [attention, router]]
tasks: [a.yaml, /b]
n: 12
seed: 0
system: Be brief.
generation: { max_tokens: 5, temperature: 0, top_p: 1 }
`,
  );
  assert.deepEqual(await readSweepFile(file), {
    recipe: join(file, "../r.yaml"),
    lambda: [
      { parent: "r1", values: [0, 0.5] },
      { parent: "1776", values: [0, 0.5, 1] },
      { parent: "b", values: [0.25] },
    ],
    thresholds: [0, 0.001],
    roles: [["all"], ["attention", "router"]],
    questions: {
      ...{ tasks: [join(file, "../a.yaml"), resolve("/b")], n: 12, seed: 0, system: "Be brief." },
      generation: { maxTokens: 5, temperature: 0, topP: 1 },
    },
  });
});

test("readSweepFile() tells all that is wrong, with its place and what was meant", async (t) => {
  const file = written(
    t,
    `recipe: r.yaml
lamda: { r1: 1 }
lambda: { r1: "0:1:-1", b: [0, x] }
threshold: -0.1
roles: [atention, 3]
n: 0
seed: 1.5
generation: { top_k: 3, temperature: -1 }
`,
  );
  const found = (await faultsOf(readSweepFile(file))).sort();
  assertFaults(found, [
    /^2:1 unknown-key .*"lamda": unknown in the study.*"lambda"/,
    /^3:15 bad-values .*a step of -1 does not lead from 0 to 1/,
    /^3:32 wrong-type .*"b"/,
    /^4:12 bad-threshold .*-0\.1/,
    /^5:19 unknown-role .*"3"/,
    /^5:9 unknown-role .*"atention".*"attention"/,
    /^6:4 wrong-type .*"n".*a whole number above 0/,
    /^7:7 wrong-type .*"seed"/,
    /^8:15 unknown-key .*"top_k".*/,
    /^8:38 wrong-type .*"temperature"/,
  ]);
});

test("readSweepFile() misses the recipe, and says so as a sweep's fault", async (t) => {
  const file = written(t, "lambda: { r1: 1 }\n");
  assert.ok(!(await namesRecipe(file)));
  assertFaults(await faultsOf(readSweepFile(file)), [/^1:1 missing-key .*"recipe" is missing/]);
  assertFaults(await faultsOf(readSweepFile(written(t, ""))), [/study/]);
  assertFaults(await faultsOf(readSweepFile(written(t, "- 1\n"))), [/^1:1 /]);
  assertFaults(await faultsOf(readSweepFile(written(t, "recipe: [\n"))), [/^\d+:\d+ /]);
  assertFaults(await faultsOf(readSweepFile(join(file, "../none.yaml"))), [/Cannot open/]);
});

test("readSpaceFile() reads variables, with defaults", async (t) => {
  const file = written(
    t,
    `recipe: r.yaml
variables:
  - { tensors: routed-experts, parent: r1 }
  - name: some
    tensors: [{ role: attention, layers: 0-1 }, router]
    parent: 1776
    lambda: [-0.5, 1.5]
    threshold: [0, 0.004]
    per: layer
`,
  );
  const { variables, budget } = await readSpaceFile(file);
  assert.equal(budget, undefined);
  assert.deepEqual(variables, [
    {
      ...{ name: "routed-experts", selectors: [{ role: "routed-experts" }], parent: "r1" },
      ...{ lambda: { low: 0, high: 1 }, perLayer: false },
    },
    {
      name: "some",
      selectors: [{ role: "attention", layers: [{ from: 0, to: 1 }] }, { role: "router" }],
      ...{
        parent: "1776",
        lambda: { low: -0.5, high: 1.5 },
        threshold: { low: 0, high: 0.004 },
        perLayer: true,
      },
    },
  ]);
});

test("readSpaceFile() tells all that is wrong, with its place and what was meant", async (t) => {
  const file = written(
    t,
    `recipe: r.yaml
variables:
  - { tensors: router, parent: r1, lamda: [0, 1] }
  - { tensors: router, parent: r1, lambda: [1, 0] }
  - { tensors: attention, parent: r1, lambda: [0] }
  - { tensors: norms, parent: r1, threshold: [-1, 0] }
  - { tensors: embeddings, parent: r1, per: role }
  - { tensors: lm-head }
  - { tensors: dense-mpl, parent: r1 }
budget: 0
`,
  );
  const found = (await faultsOf(readSpaceFile(file))).sort();
  assertFaults(found, [
    /^10:9 wrong-type .*"budget"/,
    /^3:36 unknown-key .*"lamda".*"lambda"/,
    /^4:44 bad-interval .*\[1, 0\], wanted two numbers, the lower first/,
    /^4:5 duplicate-variable .*"router"/,
    /^5:47 bad-interval .*\[0\]/,
    /^6:46 bad-threshold /,
    /^7:45 unknown-word .*"role"/,
    /^8:5 missing-key .*"parent"/,
    /^9:16 unknown-role .*"dense-mpl".*"dense-mlp"/,
  ]);
  assertFaults(await faultsOf(readSpaceFile(written(t, "recipe: r.yaml\n"))), [/"variables" is missing/]);
  assertFaults(await faultsOf(readSpaceFile(written(t, "recipe: r.yaml\nvariables: []\n"))), [/^2:12 /]);
});

test("spreadOverLayers() makes a variable for each layer, of the selectors that reach it", async () => {
  const recipe = await loadRecipe("recipes/mini/r1t.yaml");
  const variable = { name: "x", parent: "r1", lambda: { low: 0, high: 1 }, perLayer: true };
  const selectors = [
    { role: "attention" as const, layers: [{ from: 0, to: 1 }] },
    { role: "router" as const },
  ];
  const spread = await spreadOverLayers(recipe, [{ ...variable, selectors }]);
  const said = spread.map((one) => [one.name, one.perLayer, one.selectors.map(({ role }) => role)]);
  assert.deepEqual(said, [
    ["x of layer 0", false, ["attention"]],
    ["x of layer 1", false, ["attention", "router"]],
    ["x of layer 2", false, ["router"]],
    ["x of layer 3", false, ["router"]],
  ]);
  for (const [layer, { selectors: some }] of spread.entries())
    for (const { layers } of some) assert.deepEqual(layers, [{ from: layer, to: layer }]);
  const outside = [{ ...variable, selectors: [{ role: "embeddings" as const }] }];
  await assert.rejects(spreadOverLayers(recipe, outside), /"x" per layer: it selects nothing within layers/);
});

test("spreadOverLayers() refuses parents that the recipe lacks, and the base", async () => {
  const recipe = await loadRecipe("recipes/mini/r1t.yaml");
  const variable = { selectors: [{ role: "router" as const }], lambda: { low: 0, high: 1 }, perLayer: false };
  const variables = ["v3", "r2"].map((parent) => ({ ...variable, name: parent, parent }));
  await assert.rejects(spreadOverLayers(recipe, variables), (error: unknown) => {
    assert.ok(error instanceof StudyError);
    assert.equal(error.problems.length, 2);
    for (const { message } of error.problems) assert.match(message, /wanted one of r1$/);
    return true;
  });
});

test("help of sweep, search and ablate: the space that it shows can be read", async (t) => {
  const source = readFileSync("src/cli/search.ts", "utf8");
  const text = /A space:\n((?: {2}.*\n)+)/.exec(source)![1]!.replaceAll(/^ {2}/gm, "");
  const { variables, budget, recipe } = await readSpaceFile(written(t, text));
  assert.deepEqual([variables.length, budget], [3, 40]);
  assert.match(recipe, /recipes\/mini\/r1t\.yaml$/);
  assert.ok((await spreadOverLayers(await loadRecipe("recipes/mini/r1t.yaml"), variables)).length > 3);
});
