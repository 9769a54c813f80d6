/** A search over the small models: its front, its recipes and its numbers can be made again. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { readRun } from "../../src/eval/run-folder.ts";
import { identifyEvalTarget } from "../../src/library/eval-target.ts";
import { loadRecipe } from "../../src/plan/load-recipe.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import type { Objectives } from "../../src/study/objectives.ts";
import {
  dimensionsOf,
  recipeOfPoint,
  type SearchEvent,
  type SearchSettings,
  search,
} from "../../src/study/search.ts";
import { writeSearch } from "../../src/study/search-report.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import {
  assertRecomputed,
  assertSelfContained,
  figures,
  miniPool,
  recordsOf,
  tablesOf,
} from "./mini-study.ts";

const recipe = await loadRecipe("recipes/mini/r1t.yaml");
const objectives: Objectives = { gain: "accuracy", cost: "token" };
const range = { low: 0, high: 1 };
const settings: SearchSettings = {
  ...{ recipe, objectives, budget: 5, seed: 3 },
  variables: [
    {
      name: "experts",
      selectors: [{ role: "routed-experts" }],
      parent: "r1",
      lambda: range,
      perLayer: false,
    },
    {
      ...{ name: "router", selectors: [{ role: "router" }], parent: "r1", lambda: range, perLayer: false },
      threshold: { low: 0, high: 0.004 },
    },
  ],
};

const folder = temporaryFolder({ after });
const { pool, opened } = await miniPool(folder, { n: 6 });
const events: SearchEvent[] = [];
const onEvent = (event: SearchEvent) => events.push(event);
const results = [
  await search(settings, pool, { method: "turns", onEvent }),
  await search(settings, pool, { method: "random" }),
] as const;
const [found, random] = results;
// What another search left there.
await writeSearch(folder, { settings, results });
writeFileSync(join(folder, "front", "99.yaml"), "of another search");
const files = await writeSearch(folder, { settings, results });
const html = readFileSync(join(folder, "report.html"), "utf8");

test("search() begins at both ends and spends its budget, as random search does", () => {
  assert.deepEqual(
    dimensionsOf(settings.variables).map(({ name }) => name),
    ["experts", "router", "router δ"],
  );
  for (const { trials } of results) {
    assert.equal(trials.length, 5);
    assert.deepEqual(
      trials.slice(0, 2).map(({ point }) => point),
      [
        [0, 0, 0],
        [1, 1, 0],
      ],
    );
    assert.equal(new Set(trials.map(({ point }) => String(point))).size, 5, "no point twice");
  }
  assert.deepEqual(
    events.map(({ done, total }) => `${done}/${total}`),
    ["1/5", "2/5", "3/5", "4/5", "5/5"],
  );
  assert.notDeepEqual(found.trials, random.trials);
  const all = new Set(results.flatMap(({ trials }) => trials.map(({ run }) => run)));
  assert.equal(opened.length, all.size, "the ends are asked once");
});

test("search() proposes the same again by the same seed, and something else by another", async () => {
  const again = await miniPool(folder, { n: 6 });
  assert.deepEqual(await search(settings, again.pool, { method: "turns" }), found);
  assert.deepEqual(again.opened, []);
  const other = await search({ ...settings, budget: 3, seed: 4 }, again.pool, { method: "turns" });
  assert.notDeepEqual(other.trials[2]!.point, found.trials[2]!.point);
});

test("search(): gain and cost are those of the records, and the front is what no other child beats", () => {
  for (const { trials, front } of results) {
    const known = trials.map(({ run }) => figures(recordsOf(run)));
    for (const [i, { gain, cost }] of trials.entries())
      assert.deepEqual([gain, cost], [known[i]!.accuracy, known[i]!.tokens]);
    const isBeaten = (a: number) =>
      known.some(
        (b, i) =>
          i !== a &&
          b.accuracy >= known[a]!.accuracy &&
          b.tokens <= known[a]!.tokens &&
          // Of several that are alike, the first stays.
          (b.accuracy > known[a]!.accuracy || b.tokens < known[a]!.tokens || i < a),
      );
    const wanted = known.flatMap((_, i) => (isBeaten(i) ? [] : [i]));
    assert.deepEqual(
      [...front].sort((a, b) => a - b),
      wanted,
    );
    const costs = front.map((i) => trials[i]!.cost!);
    assert.deepEqual(
      costs,
      [...costs].sort((a, b) => a - b),
      "the cheapest first",
    );
  }
});

test("front/*.yaml build the children that were evaluated, and hold nothing of another search", async () => {
  const names = readdirSync(join(folder, "front")).sort();
  assert.deepEqual(
    names,
    found.front.map((_, i) => `${String(i + 1).padStart(2, "0")}.yaml`),
  );
  for (const [i, index] of found.front.entries()) {
    const file = join(folder, "front", names[i]!);
    const plan = await planRecipe(await loadRecipe(file));
    const trial = found.trials[index]!;
    assert.equal(plan.digest, (await planRecipe(recipeOfPoint(settings, trial.point))).digest);
    const { config } = await readRun(trial.run);
    const { target } = config.settings;
    const identity = await identifyEvalTarget(plan);
    assert.ok(target.kind === "recipe" && identity.kind === "recipe");
    assert.equal(identity.digest, target.digest, "what the run says it has asked");
    assert.match(readFileSync(file, "utf8"), new RegExp(`^# Child ${index + 1} of a search \\(seed 3\\)`));
  }
});

test("search.json and report.html give the same front, and the dominated share of both", () => {
  const json = JSON.parse(readFileSync(join(folder, "search.json"), "utf8")) as {
    format: string;
    worstCost: number;
    results: {
      method: string;
      dominated: number;
      front: number[];
      trials: { gain: number; cost: number }[];
    }[];
  };
  assert.equal(json.format, "chimera-search");
  assert.deepEqual(
    json.results.map(({ method, front }) => [method, front]),
    [
      ["turns", found.front],
      ["random", random.front],
    ],
  );
  const costs = results.flatMap(({ trials }) => trials.map(({ cost }) => cost!));
  assert.equal(json.worstCost, Math.max(...costs));
  for (const { dominated, trials } of json.results) {
    // Gains between two steps of cost: the best of those that cost no more.
    const steps = [...new Set([...trials.map(({ cost }) => cost), json.worstCost])].sort((a, b) => a - b);
    let area = 0;
    for (const [i, cost] of steps.slice(0, -1).entries()) {
      const best = Math.max(...trials.filter((one) => one.cost <= cost).map(({ gain }) => gain));
      area += best * (steps[i + 1]! - cost);
    }
    assert.ok(Math.abs(dominated - area / json.worstCost) < 1e-9);
    assert.ok(html.includes(`${(100 * dominated).toFixed(1)} %`));
  }
});

test("report.html of a search needs nothing from elsewhere, and its figures are those of the records", () => {
  const rows = found.front.length + found.trials.length + random.trials.length;
  const tables = tablesOf(html);
  assert.equal(assertRecomputed(html, folder), rows);
  assert.deepEqual(
    tables[0]!.rows.map(({ cells }) => cells[0]),
    found.front.map((_, i) => `front/0${i + 1}.yaml`),
  );
  assertSelfContained(html, folder);
});

test("SVGs of a search: every point is that of the records it leads to", () => {
  const svg = readFileSync(join(folder, "front.svg"), "utf8");
  const marks = [...svg.matchAll(/<a href="([^"]*)">.*?<title>([^<]*): ([\d.]+) at ([\d.]+)<\/title>/g)];
  assert.equal(marks.length, 10);
  for (const [, href, , gain, cost] of marks) {
    const all = figures(recordsOf(join(folder, href!, "..")));
    assert.deepEqual([gain, cost], [all.accuracy.toFixed(3), all.tokens.toFixed(1)]);
  }
  for (const file of files) assert.ok(readFileSync(file, "utf8").length > 0, file);
});
