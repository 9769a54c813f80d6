/** chimera sweep, search and ablate: what is said, what is refused, and that nothing is written before it is right. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const R1T = "recipes/mini/r1t.yaml";
const LAMBDA = ["--lambda", "r1=0:1:0.5"];

test("--dry-run of each says what would be evaluated, and writes nothing", (t) => {
  const out = join(temporaryFolder(t), "out");
  const cases: [string[], RegExp][] = [
    [["sweep", R1T, ...LAMBDA], /^r1=0\nr1=0\.5\nr1=1\n3 children and their parents × 12 questions, into /],
    [["search", "studies/mini/search.yaml"], /^experts {2}0 to 1\n(.*\n)*30 children × 12 questions/],
    [["ablate", R1T], /routed-experts → v3\n(.*\n)*the child, its parents and 8 swaps × 12 questions/],
  ];
  for (const [args, wanted] of cases) {
    const { status, stdout, stderr } = runMain(...args, "--n", "12", "--dry-run", "-o", out);
    assert.equal(status, 0, stderr);
    assert.match(stdout, wanted);
    assert.ok(!existsSync(out), args[0]);
  }
});

test("--dry-run --json of each is JSON", () => {
  const json = (...args: string[]) => JSON.parse(runMain(...args, "--dry-run", "--json").stdout);
  assert.deepEqual(json("sweep", "studies/mini/sweep.yaml").numQuestions, 200);
  assert.equal(json("sweep", "studies/mini/sweep.yaml", "--n", "7").numQuestions, 7, "over the file");
  assert.equal(json("search", "studies/mini/search.yaml").dimensions.length, 5);
  assert.equal(json("search", "studies/mini/search.yaml", "--budget", "9").budget, 9);
  assert.equal(json("ablate", R1T, "--by", "layer").swaps.length, 7);
  assert.equal(json("sweep", R1T, ...LAMBDA).folder, join("runs", "sweep-r1t"));
});

test("chimera sweep --json: the result on stdout alone, and its files", (t) => {
  const out = join(temporaryFolder(t), "out");
  const args = ["sweep", R1T, "--lambda", "r1=1", "--n", "2", "--max-tokens", "8", "-o", out];
  const { status, stdout } = runMain(...args, "--json");
  assert.equal(status, 0);
  const { points, parents, findings, folder } = JSON.parse(stdout);
  assert.deepEqual([points.length, parents.length, findings.length, folder], [1, 2, 1, out]);
  assert.equal(points[0].summary.overall.answers, 2);
  // Without --json: the findings and where the files are; nobody is asked again.
  const again = runMain(...args);
  assert.match(again.stdout, /accuracy .*\n {2}thinking .*\n {2}functional {2}\d of 1 children/);
  for (const line of again.stdout.trimEnd().split("\n").slice(-7)) assert.ok(existsSync(line), line);
  assert.equal(again.stderr.match(/was there/g)?.length, 3);
});

test("sweep, search and ablate refuse wrong words with status 2", () => {
  const cases: [string[], RegExp][] = [
    [["sweep", R1T], /Cannot sweep without an axis/],
    [["sweep", R1T, "--lambda", "r1"], /Cannot use --lambda r1, wanted PARENT=VALUES/],
    [["sweep", R1T, "--lambda", "r1=1:0:0.1"], /does not lead from 1 to 0/],
    [["sweep", R1T, ...LAMBDA, ...LAMBDA], /"r1" twice/],
    [["sweep", R1T, ...LAMBDA, "--threshold=-1"], /Cannot use the threshold -1/],
    [["sweep", R1T, ...LAMBDA, "--roles", "all+nope"], /Cannot use the role "nope"/],
    [["sweep", "models/mini-r1", ...LAMBDA], /"models\/mini-r1": it is not a file, wanted one/],
    [["sweep", "no.yaml", ...LAMBDA], /Cannot open "no\.yaml"/],
    [["search", "no.yaml"], /Cannot open "no\.yaml"/],
    [["search", "models/mini-r1"], /models\/mini-r1/],
    [["search", "studies/mini/search.yaml", "--budget", "1"], /budget of 1: the two ends take two/],
    [["ablate", R1T, "--between", "v3"], /Cannot swap between "v3", wanted two parents/],
    [["ablate", R1T, "--between", "v3,x"], /wanted two of v3, r1/],
    [["ablate", "models/mini-r1"], /it is a folder, wanted a recipe/],
  ];
  for (const [args, wanted] of cases) {
    const { status, stdout, stderr } = runMain(...args, "--dry-run");
    assert.deepEqual([status, stdout], [2, ""], `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, wanted);
    assert.doesNotMatch(stderr, /internal| {4}at /);
  }
});

test("a study's file with faults: each with its place", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "study.yaml");
  writeFileSync(file, `recipe: x.yaml\nlambda: { r1: "0:1:-1" }\nrols: all\n`);
  const { status, stderr } = runMain("sweep", file);
  assert.equal(status, 2);
  assert.match(stderr, /study\.yaml:2:15 .*does not lead/);
  assert.match(stderr, /study\.yaml:3:1 .*"rols"/);
  assert.match(stderr, /2 problems, nothing written/);
});

test("a parent that is missing: status 3, in the words of the file that people have", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "child.yaml");
  writeFileSync(file, readFileSync(R1T, "utf8").replaceAll("../../models", "./nowhere"));
  const line =
    readFileSync(file, "utf8")
      .split("\n")
      .findIndex((text) => text.includes("v3: ./nowhere")) + 1;
  const space = join(folder, "space.yaml");
  writeFileSync(space, "recipe: child.yaml\nvariables: [{ tensors: router, parent: r1 }]\n");
  for (const args of [
    ["sweep", file, ...LAMBDA],
    ["search", space],
    ["ablate", file],
  ]) {
    const out = join(folder, "out");
    const { status, stderr } = runMain(...args, "-o", out);
    assert.equal(status, 3, stderr);
    assert.ok(stderr.includes(`child.yaml:${line}:3`), stderr);
    assert.ok(!existsSync(out));
  }
});

test("--out in a place that is none is refused", (t) => {
  const file = join(temporaryFolder(t), "file");
  writeFileSync(file, "");
  for (const out of [file, join(file, "deeper")]) {
    const { status, stderr } = runMain("ablate", R1T, "--n", "1", "-o", out);
    assert.equal(status, 2);
    assert.match(stderr, /is not a folder/);
  }
  assert.equal(readFileSync(file, "utf8"), "");
});

test("help of each: the examples over shipped files are right", () => {
  for (const command of ["sweep", "search", "ablate"]) {
    const { stdout } = runMain(command, "--help");
    const examples = [...stdout.matchAll(/^ {2}\$ chimera (.*)$/gm)].map((match) => match[1]!.split(" "));
    assert.ok(examples.length >= 2, command);
    for (const words of examples) {
      if (words[1]!.startsWith("my-")) continue;
      const { status, stderr } = runMain(...words, "--dry-run");
      assert.equal(status, 0, `${words.join(" ")}: ${stderr}`);
    }
  }
});
