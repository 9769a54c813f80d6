/** A sweep over the small models: ends are the parents, and every number can be counted again. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { StudyError } from "../../src/base/errors.ts";
import type { RunSummary } from "../../src/eval/summary.ts";
import { loadRecipe } from "../../src/plan/load-recipe.ts";
import { curveFindings } from "../../src/study/findings.ts";
import { pointsOf, type SweepEvent, type SweepSettings, sweep } from "../../src/study/sweep.ts";
import { writeSweep } from "../../src/study/sweep-report.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import {
  assertRecomputed,
  assertSelfContained,
  figures,
  miniPool,
  type ReadTable,
  recordsOf,
  tablesOf,
} from "./mini-study.ts";

const R1T = await loadRecipe("recipes/mini/r1t.yaml");
const THREE = await loadRecipe("recipes/mini/three-parents.yaml");
interface SweepJson {
  format: string;
  version: number;
  recipe: string;
  axes: unknown;
  findings: unknown;
  points: { run: string; x: number; lambda: Record<string, number>; summary: RunSummary }[];
}

const NONE = { thresholds: [], roles: [] };

const folder = temporaryFolder({ after });
const settings: SweepSettings = {
  recipe: R1T,
  lambda: [{ parent: "r1", values: [0, 1] }],
  thresholds: [],
  roles: [["all"], ["routed-experts"]],
};
const { pool, opened } = await miniPool(folder);
const events: SweepEvent[] = [];
const result = await sweep(settings, pool, { onEvent: (event) => events.push(event) });
const findings = curveFindings(result.points);
const files = await writeSweep(folder, { settings, result, findings });
const html = readFileSync(join(folder, "report.html"), "utf8");

const runNamed = (name: string) =>
  [...result.points, ...result.parents].find((one) => one.name === name)!.run;

test("sweep() at λ 0 answers as the base, and at λ 1 of all roles as the other parent, record by record", () => {
  assert.deepEqual(
    result.parents.map(({ name }) => name),
    ["v3", "r1"],
  );
  const [v3, r1] = [recordsOf(runNamed("v3")), recordsOf(runNamed("r1"))];
  assert.equal(v3.length, 8);
  assert.deepEqual(recordsOf(runNamed("r1=0 all")), v3);
  assert.deepEqual(recordsOf(runNamed("r1=0 routed-experts")), v3);
  assert.deepEqual(recordsOf(runNamed("r1=1 all")), r1);
  assert.notDeepEqual(v3, r1);
  assert.notDeepEqual(recordsOf(runNamed("r1=1 routed-experts")), r1);
});

test("sweep() asks identical children once, and nobody again who has answered", async () => {
  // λ 0 of a role copies the base's bytes, as λ 0 of all roles does.
  const runs = new Set([...result.points, ...result.parents].map(({ run }) => run));
  assert.equal(opened.length, runs.size);
  const again = await miniPool(folder);
  const seen: SweepEvent[] = [];
  const second = await sweep(settings, again.pool, { onEvent: (event) => seen.push(event) });
  assert.deepEqual(again.opened, []);
  assert.ok(seen.every(({ isFound }) => isFound));
  assert.deepEqual(second, result);
});

test("sweep() tells of every parent and every point, in order", () => {
  const told = events.map((event) =>
    event.kind === "parent" ? event.parent.name : `${event.done}/${event.total}`,
  );
  assert.deepEqual(told, ["v3", "r1", "1/4", "2/4", "3/4", "4/4"]);
});

test("pointsOf() makes a curve for each combination of roles, thresholds and further λs", () => {
  const points = pointsOf({
    recipe: THREE,
    lambda: [
      { parent: "r1", values: [0, 0.5, 1, 0.5] },
      { parent: "r1-1776", values: [0, 0.25] },
    ],
    thresholds: [0, 0.002],
    roles: [["routed-experts"], ["attention", "router"], ["routed-experts"]],
  });
  assert.equal(points.length, 3 * 2 * 2 * 2, "values that are said twice count once");
  const curves = new Map<string, number[]>();
  for (const { curve, x } of points) curves.set(curve, [...(curves.get(curve) ?? []), x]);
  assert.equal(curves.size, 8);
  for (const xs of curves.values()) assert.deepEqual(xs, [0, 0.5, 1]);
  assert.ok(curves.has("attention+router, δ 0.002, λ(r1-1776) 0.25"), [...curves.keys()].join("; "));
  assert.equal(new Set(points.map(({ name }) => name)).size, points.length);
  assert.deepEqual(points.at(-1)!.point, {
    ...{ lambda: { r1: 1, "r1-1776": 0.25 }, threshold: 0.002, roles: ["attention", "router"] },
  });
});

test("pointsOf() refuses axes that say nothing of the recipe", () => {
  const values = [0, 1];
  const r1 = { parent: "r1", values };
  const cases: [Partial<SweepSettings>, RegExp][] = [
    [{ lambda: [] }, /without an axis/],
    [{ lambda: [{ parent: "r2", values }] }, /no such parent, wanted one of v3, r1, r1-1776$/],
    [{ lambda: [{ parent: "v3", values }] }, /"v3": it is the base/],
    [{ lambda: [{ parent: "r1", values: [] }] }, /there is no value/],
    [{ lambda: [r1, r1] }, /"r1" twice/],
    [{ lambda: [r1], thresholds: [-1] }, /threshold -1/],
    [{ lambda: [r1], roles: [[]] }, /empty/],
  ];
  for (const [some, message] of cases) {
    const isIt = (error: unknown) => error instanceof StudyError && message.test(error.problems[0]!.message);
    assert.throws(() => pointsOf({ recipe: THREE, lambda: [], ...NONE, ...some }), isIt, String(message));
  }
});

test("pointsOf() refuses a parent that no rule names, unless roles are said", () => {
  const recipe = { ...THREE, rules: THREE.rules.map((rule) => ({ ...rule, weights: { r1: 1 } })) };
  const lambda = [{ parent: "r1-1776", values: [1] }];
  assert.throws(() => pointsOf({ recipe, lambda, ...NONE }), /no rule of the recipe names it/);
  assert.equal(pointsOf({ recipe, lambda, thresholds: [], roles: [["router"]] }).length, 1);
});

test("sweep() tells of a curve that cannot be planned before anybody is asked", async (t) => {
  const mini = await miniPool(temporaryFolder(t));
  const text = readFileSync("recipes/mini/attention-blend.yaml", "utf8").replaceAll(
    "../../models",
    "/nowhere",
  );
  const { parseRecipe } = await import("../../src/recipe/parse.ts");
  const recipe = parseRecipe(text, { file: "recipes/mini/attention-blend.yaml" });
  const line = text.split("\n").findIndex((each) => each.includes("v3: /nowhere")) + 1;
  await assert.rejects(
    sweep({ recipe, lambda: [{ parent: "r1", values: [0.5] }], ...NONE }, mini.pool),
    new RegExp(`attention-blend\\.yaml:${line}:3`),
    "in the words of the file that people have",
  );
  assert.deepEqual(mini.opened, []);
});

test("writeSweep() writes the files that it names", () => {
  const names = [
    "report.html",
    "sweep.json",
    "points.csv",
    "accuracy.svg",
    "tokens.svg",
    "thinking.svg",
    "refusals.svg",
  ];
  assert.deepEqual(
    files,
    names.map((name) => join(folder, name)),
  );
  for (const file of files) assert.ok(readFileSync(file, "utf8").length > 100, file);
});

test("report.html of a sweep needs nothing from elsewhere and leads to records that are there", () => {
  assertSelfContained(html, folder);
});

test("report.html of a sweep: every figure is that of the records", () => {
  assert.equal(assertRecomputed(html, folder), 6);
  const topics = tablesOf(html).find(({ caption }) =>
    caption.startsWith("Right answers by topic"),
  ) as ReadTable;
  for (const { cells } of topics.rows) {
    const records = recordsOf(runNamed(cells[0]!));
    for (const [i, topic] of topics.labels.entries()) {
      if (i === 0) continue;
      const some = records.filter((record) => record.topic === topic);
      const scored = some.filter(({ correct }) => correct !== null);
      const right =
        scored.length > 0 ? `${scored.filter(({ correct }) => correct).length}/${scored.length}` : "–";
      const refused = some.filter((record) => record.refused).length;
      assert.equal(cells[i], refused > 0 ? `${right} (${refused})` : right, `${cells[0]}, ${topic}`);
    }
  }
});

test("points.csv: every figure is that of the records", () => {
  const [head, ...lines] = readFileSync(join(folder, "points.csv"), "utf8").trimEnd().split("\n");
  const keys = head!.split(",");
  assert.equal(lines.length, result.points.length);
  for (const [i, line] of lines.entries()) {
    const row = Object.fromEntries(line.split(",").map((cell, at) => [keys[at]!, cell]));
    const { curve, x, run } = result.points[i]!;
    const all = figures(recordsOf(run));
    assert.deepEqual([row.curve, Number(row.lambda), row.roles], [curve, x, curve]);
    const wanted: Record<string, number> = {
      ...{ answers: all.answers, accuracy: all.accuracy, tokens_mean: all.tokens, tokens_median: all.median },
      ...{ thinking_tokens_mean: all.thinkingTokens, answer_tokens_mean: all.answerTokens },
      ...{ opens_thinking: all.opensThinking, closes_thinking: all.closesThinking },
      ...{ refused: all.refused, functional: all.functional },
    };
    for (const [key, value] of Object.entries(wanted))
      assert.ok(Math.abs(Number(row[key]) - value) < 1e-9, `${key}: ${row[key]}, wanted ${value}`);
    assert.ok(Number(row.accuracy_low) <= all.accuracy && all.accuracy <= Number(row.accuracy_high));
  }
});

test("SVGs of a sweep: every point is that of the records it leads to, and lies where it says", () => {
  const read = {
    "accuracy.svg": "accuracy",
    "tokens.svg": "tokens",
    "thinking.svg": "opensThinking",
  } as const;
  for (const [file, key] of Object.entries(read)) {
    const svg = readFileSync(join(folder, file), "utf8");
    const marks = [...svg.matchAll(/<a href="([^"]*)"><g>(.*?)<title>λ ([^:]*): ([^<]*)<\/title>/g)];
    assert.equal(marks.length, result.points.length, file);
    const heights: [number, number][] = [];
    for (const [, href, mark, , shown] of marks) {
      const value = figures(recordsOf(join(folder, href!, "..")))[key];
      assert.equal(shown, key === "opensThinking" ? `${(100 * value).toFixed(1)} %` : value.toFixed(3), file);
      const cy = / cy="([\d.]+)"/.exec(mark!); // of the first curve, whose marks are circles
      if (cy) heights.push([value, Number(cy[1])]);
    }
    assert.equal(heights.length, 2, file);
    const [[low, below], [high, above]] = heights.sort(([a], [b]) => a - b) as [
      [number, number],
      [number, number],
    ];
    assert.ok(low < high ? below > above : below === above, `${file}: larger is higher`);
  }
});

test("sweep.json holds axes, points with where their records lie, and findings", () => {
  const json = JSON.parse(readFileSync(join(folder, "sweep.json"), "utf8")) as SweepJson;
  assert.deepEqual([json.format, json.version, json.recipe], ["chimera-sweep", 1, R1T.text]);
  assert.deepEqual(json.axes, { lambda: settings.lambda, thresholds: [], roles: settings.roles });
  assert.deepEqual(json.findings, findings);
  for (const [i, { run, x, lambda, summary }] of json.points.entries()) {
    assert.deepEqual(lambda, { r1: x });
    assert.deepEqual(summary, result.points[i]!.summary);
    assert.equal(summary.overall!.tokens!.mean, figures(recordsOf(join(folder, run, ".."))).tokens);
  }
});
