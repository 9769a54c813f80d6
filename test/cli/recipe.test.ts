import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const PARENTS = ["--parent", "v3=models/mini-v3", "--parent", "r1=models/mini-r1"];

test("chimera recipe init writes a recipe whose parents are found from where it lies", (t) => {
  const folder = join(temporaryFolder(t), "deep");
  mkdirSync(folder);
  const file = join(folder, "my.yaml");
  const { status, stdout, stderr } = runMain("recipe", "init", ...PARENTS, "--weight", "r1=0.4", "-o", file);
  assert.deepEqual([status, stderr], [0, ""]);
  assert.equal(stdout, `written  ${file}\nnext: chimera recipe check ${file}\n`);
  const check = runMain("recipe", "check", file);
  assert.match(check.stdout, /^valid .*: 2 parents, 1 rule; checked against its parents\n$/, check.stderr);
  const again = runMain("recipe", "init", ...PARENTS, "--weight", "r1=1", "-o", file);
  assert.deepEqual([again.status, again.stdout], [2, ""]);
  assert.match(again.stderr, /^error: Cannot write ".*my.yaml": it exists, wanted a new file\n$/);
});

test("chimera recipe init without -o prints the recipe, with folders as they were given", () => {
  const { status, stdout } = runMain(
    ...["recipe", "init", ...PARENTS, "--role", "attention", "--role", "norms"],
    ...["--base", "r1", "--weight", "v3=0.25", "--template", "v3"],
  );
  assert.equal(status, 0);
  const recipe = parseRecipe(stdout);
  assert.deepEqual(
    recipe.parents.map(({ path }) => path),
    ["models/mini-v3", "models/mini-r1"],
  );
  assert.deepEqual([recipe.base, recipe.chatTemplate, recipe.rules[0]!.weights], ["r1", "v3", { v3: 0.25 }]);
});

test("chimera recipe init ends with 2 for answers that make no recipe, and writes nothing", (t) => {
  const file = join(temporaryFolder(t), "x.yaml");
  const cases: [RegExp, ...string[]][] = [
    [
      /^error: Cannot use the role "routed-expert".*\n {2}note: Did you mean "routed-experts"\?/,
      "--role",
      "routed-expert",
    ],
    [/^error: Cannot use the parent "r2"/, "--weight", "r2=1"],
    [/^error: Cannot use "half" as a weight, wanted a number\n$/, "--weight", "r1=half"],
    [/^error: Cannot ask without a terminal\n {2}note: Give --parent .* --role and --weight\n$/],
  ];
  for (const [message, ...args] of cases) {
    const { status, stdout, stderr } = runMain("recipe", "init", ...PARENTS, ...args, "-o", file);
    assert.deepEqual([status, stdout, existsSync(file)], [2, "", false], args.join(" "));
    assert.match(stderr, message);
  }
  const nowhere = runMain("recipe", "init", ...PARENTS, "--weight", "r1=1", "-o", join(file, "no", "y.yaml"));
  assert.deepEqual([nowhere.status, nowhere.stdout], [2, ""]);
  assert.match(nowhere.stderr, /^error: Cannot write ".*y.yaml": its folder is not there\n$/);
});

test("chimera recipe check says how far it could check; --json has the problems, with positions", (t) => {
  const alone = runMain("recipe", "check", "recipes/r1t.yaml");
  assert.deepEqual([alone.status, alone.stderr], [0, ""]);
  assert.match(alone.stdout, /its parents are not here, so only the recipe itself was checked\n$/);
  const json = runMain("recipe", "check", "recipes/mini/three-parents.yaml", "--json");
  const { ok, checkedAgainstParents, warnings, problems } = JSON.parse(json.stdout);
  assert.deepEqual([ok, checkedAgainstParents, warnings.length, problems], [true, true, 1, []]);

  const file = join(temporaryFolder(t), "typo.yaml");
  writeFileSync(
    file,
    readFileSync("recipes/r1t.yaml", "utf8").replace("weights: { r1: 1 }", "weight: { r2: 1 }"),
  );
  const wrong = runMain("recipe", "check", file, "--json");
  assert.equal(wrong.status, 2);
  const report = JSON.parse(wrong.stdout);
  assert.equal(report.ok, false);
  for (const problem of report.problems) {
    assert.equal(problem.file, file);
    assert.ok(problem.line > 1 && problem.column >= 1 && /^[a-z-]+$/.test(problem.code));
  }
  assert.match(
    wrong.stderr,
    /^error: .*typo.yaml:\d+:\d+ Cannot use the key "weight".*\n {2}note: Did you mean "weights"\?/m,
  );
});

test("chimera recipe check and explain of a plan say that it is one, once", (t) => {
  const file = join(temporaryFolder(t), "plan.json");
  assert.equal(runMain("plan", "recipes/mini/r1t.yaml", "-o", file).status, 0);
  for (const args of [
    ["check", file],
    ["explain", file, "lm_head.weight"],
  ]) {
    const { status, stdout, stderr } = runMain("recipe", ...args);
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(
      stderr,
      /^error: Cannot read ".*plan.json" as a recipe: it is a plan, wanted a recipe\n {2}note/,
    );
    assert.match(stderr, /\n1 problem, nothing written\n$/);
  }
});

test("chimera recipe explain names the rule, the reason and the result, in words and in JSON", () => {
  const tensor = "model.layers.1.self_attn.q_a_proj.weight";
  const { status, stdout, stderr } = runMain(
    "recipe",
    "explain",
    "recipes/mini/attention-blend.yaml",
    tensor,
  );
  assert.deepEqual([status, stderr], [0, ""]);
  assert.match(
    stdout,
    /^ {2}rule 1 \(.*\) does not select it\n {4}role routed-experts: its role is "attention"/m,
  );
  assert.match(
    stdout,
    /^ {2}rule 2 \(.*:18:5\) takes it: role attention, layers 0-3\n {2}weights: v3 0.6, r1 0.4$/m,
  );
  const json = runMain("recipe", "explain", "recipes/mini/attention-blend.yaml", tensor, "--json");
  const report = JSON.parse(json.stdout);
  assert.deepEqual([report.rule, report.exists, report.place.role], [1, true, "attention"]);
  const unknown = runMain("recipe", "explain", "recipes/mini/r1t.yaml", "model.layers.1.nothing");
  assert.match(unknown.stderr, /^note: the base holds no tensor of this name\n$/);
  const away = runMain("recipe", "explain", "recipes/r1t.yaml", tensor);
  assert.match(away.stderr, /^note: the base is not here; names are read as DeepSeek-V3's\n$/);
});

test("chimera recipe schema prints the schema that the recipes name", () => {
  const { status, stdout } = runMain("recipe", "schema");
  assert.equal(status, 0);
  assert.deepEqual(JSON.parse(stdout), JSON.parse(readFileSync("recipes/recipe.schema.json", "utf8")));
});
