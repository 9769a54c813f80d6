/** An ablation of the small R1T child: whose parts are whose, and effects that can be counted again. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { StudyError } from "../../src/base/errors.ts";
import { loadRecipe } from "../../src/plan/load-recipe.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { type Ablation, ablate, rankedBy, swapsOf } from "../../src/study/ablate.ts";
import { writeAblation } from "../../src/study/ablate-report.ts";
import { rewritten, withRule } from "../../src/study/child-recipe.ts";
import { GROUPINGS } from "../../src/study/groups.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { assertRecomputed, assertSelfContained, miniPool, recordsOf } from "./mini-study.ts";

const R1T = await loadRecipe("recipes/mini/r1t.yaml");
const THREE = await loadRecipe("recipes/mini/three-parents.yaml");
const HALF = await loadRecipe("recipes/mini/r1t-half.yaml");
const V3_LAYERS = [0, 1, 2, 3];

test("swapsOf() gives what is one parent's to the other, role by role", async () => {
  const { swaps, between } = await swapsOf({ recipe: R1T, groupings: ["role"] });
  assert.deepEqual(between, ["v3", "r1"]);
  const said = swaps.map(({ group, from, to }) => `${group.name}: ${from} to ${to}`).sort();
  assert.deepEqual(said, [
    ...["attention: v3 to r1", "dense-mlp: v3 to r1", "embeddings: v3 to r1", "lm-head: v3 to r1"],
    ...["norms: v3 to r1", "routed-experts: r1 to v3", "router: v3 to r1", "shared-experts: v3 to r1"],
  ]);
});

test("swapsOf() tries layers of two parents both ways, and cells one way", async () => {
  const layers = await swapsOf({ recipe: R1T, groupings: ["layer"] });
  assert.deepEqual(
    layers.swaps.map(({ name }) => name),
    ["layer 0 → r1", ...[1, 2, 3].flatMap((i) => [`layer ${i} → v3`, `layer ${i} → r1`])],
  );
  const { swaps } = await swapsOf({ recipe: R1T, groupings: ["cell"] });
  assert.ok(swaps.every(({ from, to }) => from !== undefined && from !== to));
  assert.ok(swaps.some(({ name }) => name === "routed-experts of layer 3 → v3"));
  const all = await swapsOf({ recipe: R1T, groupings: GROUPINGS });
  // What has no layer is a role and no cell of its own.
  assert.equal(new Set(all.swaps.map(({ name }) => name)).size, all.swaps.length, "no swap twice");
});

test("swapsOf() counts every tensor once in roles and in cells, MTP left out", async () => {
  const sum = async (grouping: "role" | "cell" | "layer") => {
    const { swaps } = await swapsOf({ recipe: R1T, groupings: [grouping] });
    const groups = new Map(swaps.map(({ group }) => [group.name, group]));
    return [...groups.values()].reduce((all, { numTensors }) => all + numTensors, 0);
  };
  const [roles, cells, layers] = [await sum("role"), await sum("cell"), await sum("layer")];
  assert.equal(roles, cells);
  assert.ok(layers < roles && layers > 0);
});

test("swapsOf() tries what is a sum both ways", async () => {
  const { swaps } = await swapsOf({ recipe: HALF, groupings: ["role"] });
  const experts = swaps.filter(({ group }) => group.role === "routed-experts");
  assert.deepEqual(
    experts.map(({ from, to }) => [from, to]),
    [
      [undefined, "v3"],
      [undefined, "r1"],
    ],
  );
});

test("swapsOf() goes between the parents that are said, and refuses others", async () => {
  const between = ["v3", "r1-1776"] as const;
  const { swaps } = await swapsOf({ recipe: THREE, groupings: ["role"], between });
  assert.ok(swaps.some(({ name }) => name === "attention → r1-1776"));
  assert.ok(swaps.every(({ to }) => to !== "r1"));
  // What is a third parent's is given to both.
  const third = rewritten(THREE, [{ selectors: [{ role: "router" }], weights: { r1: 1 } }]);
  const found = await swapsOf({ recipe: third, groupings: ["role"], between });
  const routers = found.swaps.filter(({ group }) => group.role === "router");
  assert.deepEqual(
    routers.map(({ from, to }) => [from, to]),
    [
      ["r1", "v3"],
      ["r1", "r1-1776"],
    ],
  );
  for (const [a, b, message] of [
    ["v3", "x", /between "v3" and "x": wanted two of v3, r1, r1-1776/],
    ["r1", "r1", /between "r1" and "r1"/],
  ] as const)
    await assert.rejects(
      swapsOf({ recipe: THREE, groupings: ["role"], between: [a, b] }),
      (error: unknown) => error instanceof StudyError && message.test(error.problems[0]!.message),
    );
});

test("swapsOf() refuses a recipe of one parent", async () => {
  const text = "version: 1\nparents: { v3: ../../models/mini-v3 }\nbase: v3\n";
  const recipe = parseRecipe(text, { file: "recipes/mini/one.yaml" });
  await assert.rejects(swapsOf({ recipe, groupings: ["role"] }), /only one, wanted two/);
});

test("ablate(): to swap everything back is the parent", async () => {
  const { swaps } = await swapsOf({ recipe: R1T, groupings: ["layer", "role"] });
  const experts = swaps.find(({ group }) => group.role === "routed-experts")!;
  const child = withRule(R1T, { selectors: experts.group.selectors, weights: { [experts.to]: 1 } });
  const base = await planRecipe(rewritten(R1T, [{ selectors: [{ role: "all" }], weights: { v3: 1 } }]));
  const owners = ({ shards, parents }: typeof base) =>
    shards.flatMap(({ tensors }) =>
      tensors.map(
        ({ name, action }) => `${name} ${action.kind === "copy" ? parents[action.parent]!.name : "sum"}`,
      ),
    );
  assert.deepEqual(owners(await planRecipe(child)), owners(base));
  let all = R1T;
  for (const layer of V3_LAYERS) {
    const { group } = swaps.find(({ name }) => name === `layer ${layer} → r1`)!;
    all = withRule(all, { selectors: group.selectors, weights: { r1: 1 } });
  }
  const inLayers = owners(await planRecipe(all)).filter((line) => /layers\.[0-3]\./.test(line));
  assert.ok(inLayers.length > 0);
  for (const line of inLayers) assert.match(line, / r1$/);
});

const folder = temporaryFolder({ after });
// Few questions: each swap is a child to run.
const { pool, opened } = await miniPool(folder, { n: 4 });
const result = await ablate({ recipe: R1T, groupings: ["role"] }, pool, { childName: "r1t" });
const files = await writeAblation(folder, { recipe: R1T, result });
const html = readFileSync(join(folder, "report.html"), "utf8");

test("ablate() asks the child, both parents and each swap once", async () => {
  assert.deepEqual(
    opened,
    ["r1t", "v3", "r1", ...result.ablations.map(({ name }) => name)].slice(0, opened.length),
  );
  const experts = result.ablations.find(({ name }) => name === "routed-experts → v3")!;
  assert.deepEqual(
    recordsOf(experts.run),
    recordsOf(result.parents[0]!.run),
    "without r1's experts it is v3",
  );
  const again = await miniPool(folder, { n: 4 });
  const second = await ablate({ recipe: R1T, groupings: ["role"] }, again.pool, { childName: "r1t" });
  assert.deepEqual(again.opened, []);
  assert.deepEqual(second, result);
});

test("ablate(): effects are the differences of the records", () => {
  const child = recordsOf(result.child.run);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  for (const { name, run, effects } of result.ablations) {
    const swapped = recordsOf(run);
    const wanted = {
      tokens: mean(swapped.map(({ tokens }) => tokens!)) - mean(child.map(({ tokens }) => tokens!)),
      "opens thinking":
        mean(swapped.map((one) => Number(one.opensThinking))) -
        mean(child.map((one) => Number(one.opensThinking))),
      refused:
        mean(swapped.map((one) => Number(one.refused))) - mean(child.map((one) => Number(one.refused))),
      accuracy:
        mean(swapped.flatMap(({ correct }) => (correct === null ? [] : [Number(correct)]))) -
        mean(child.flatMap(({ correct }) => (correct === null ? [] : [Number(correct)]))),
    };
    for (const [metric, difference] of Object.entries(wanted)) {
      const effect = effects.find((one) => one.metric === metric)!;
      assert.ok(Math.abs(effect.difference - difference) < 1e-9, `${name}, ${metric}`);
      assert.ok(effect.adjusted >= effect.pValue, "corrected for their number");
    }
  }
});

test("rankedBy() puts real effects first, then the largest, and those without one last", () => {
  const one = (name: string, difference: number | null, isReal = false) =>
    ({
      name,
      effects: difference === null ? [] : [{ metric: "accuracy", difference, isReal }],
    }) as unknown as Ablation;
  const all = [
    one("none", null),
    one("small", 0.1),
    one("large", -0.5),
    one("real", 0.05, true),
    one("zero", 0),
  ];
  const names = rankedBy(all, "accuracy").map(({ name }) => name);
  assert.deepEqual(names, ["real", "large", "small", "zero", "none"]);
});

test("report.html of an ablation needs nothing from elsewhere, and its figures are those of the records", () => {
  assertSelfContained(html, folder);
  assert.equal(assertRecomputed(html, folder), 1 + 2 + result.ablations.length);
});

test("SVGs and ablation.json of an ablation hold the effects", () => {
  assert.deepEqual(
    files.map((file) => file.slice(folder.length + 1)),
    ["report.html", "ablation.json", "accuracy.svg", "tokens.svg", "thinking.svg", "refusals.svg"],
  );
  const json = JSON.parse(readFileSync(join(folder, "ablation.json"), "utf8")) as {
    format: string;
    child: { name: string; run: string };
    ablations: (Ablation & { run: string })[];
  };
  assert.deepEqual([json.format, json.child.name], ["chimera-ablation", "r1t"]);
  const svg = readFileSync(join(folder, "tokens.svg"), "utf8");
  for (const [i, { name, run, effects }] of json.ablations.entries()) {
    assert.deepEqual(effects, result.ablations[i]!.effects);
    recordsOf(join(folder, run, ".."));
    const { difference } = effects.find(({ metric }) => metric === "tokens")!;
    assert.ok(svg.includes(`<title>${name}: ${difference.toFixed(3)} (`), name);
  }
});
