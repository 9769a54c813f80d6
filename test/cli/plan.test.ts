import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parsePlan } from "../../src/plan/load-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const HALF = "recipes/mini/r1t-half.yaml";

test("chimera plan says what is read, written, needed and free, and accounts for every tensor", () => {
  const { status, stdout, stderr } = runMain("plan", HALF);
  assert.deepEqual([status, stderr], [0, ""]);
  for (const part of [
    /^Plan [0-9a-f]{12} {2}recipes\/mini\/r1t-half.yaml$/m,
    /^v3 \(base\) +213 +288 +0 +2.89 MB$/m,
    /^r1 +0 +288 +213 +1.19 MB$/m,
    /^ {2}213 of r1 left out: no rule takes it/m,
    /^child +501 tensors \(213 copied, 288 computed\), 2.51 M elements, 2 shards$/m,
    /^write +2.94 MB \(2,936,368 bytes\)$/m,
    /^memory +41.9 MB of buffers per worker/m,
    /^files +config from v3, tokenizer from v3, chat template from r1$/m,
    /^disk +2.94 MB needed, [\d.]+ .?B free in the current folder: (fits|does not fit)$/m,
  ]) {
    assert.match(stdout, part);
  }
});

/** Others write to the disk meanwhile. */
const withoutFree = (text: string) => text.replace(/needed, [\d.]+ .?B free/, "needed");

test("chimera plan --json is the plan and the disk, and can be built from", (t) => {
  const { status, stdout, stderr } = runMain("plan", HALF, "--json");
  assert.deepEqual([status, stderr], [0, ""]);
  const { schemaVersion, disk, ...plan } = JSON.parse(stdout);
  assert.equal(schemaVersion, 1);
  assert.deepEqual([disk.location, disk.neededBytes], [process.cwd(), plan.totals.writeBytes]);
  assert.ok(disk.freeBytes > 0);
  for (const { copied, merged, leftOut } of plan.accounts) {
    const left = leftOut.reduce((sum: number, { tensors }: { tensors: string[] }) => sum + tensors.length, 0);
    assert.equal(copied + merged + left, 501);
  }
  // As it is, and as a tool leaves it that sorts keys.
  const folder = temporaryFolder(t);
  const sorted = Object.fromEntries(Object.entries(JSON.parse(stdout)).sort());
  for (const [name, text] of [
    ["plan", stdout],
    ["sorted.json", JSON.stringify(sorted, null, 2)],
  ] as const) {
    writeFileSync(join(folder, name), text);
    assert.equal(parsePlan(text, name).digest, plan.digest);
    const again = runMain("plan", join(folder, name));
    const [found, wanted] = [again, runMain("plan", HALF)].map((run) => withoutFree(run.stdout));
    assert.deepEqual([again.status, found], [0, wanted], name);
  }
});

test("chimera plan -o writes the plan whole, and shows it all the same", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "plan.json");
  const { status, stdout, stderr } = runMain("plan", HALF, "-o", file);
  assert.deepEqual([status, stderr], [0, `plan written to ${file}\n`]);
  assert.match(stdout, /^Plan [0-9a-f]{12}/);
  assert.equal(parsePlan(readFileSync(file, "utf8"), file).parents.length, 2);
  assert.deepEqual(readdirSync(folder), ["plan.json"]);
});

test("chimera plan warns on stderr and ends with 0", () => {
  const { status, stdout, stderr } = runMain("plan", "recipes/mini/three-parents.yaml");
  assert.equal(status, 0);
  assert.match(stderr, /^warning: rule 2 blends routers [^\n]+\n$/);
  assert.ok(!stdout.includes("warning"));
});

test("chimera plan of parents that are not here: one error for each, where, and what to do; 3", () => {
  const { status, stdout, stderr } = runMain("plan", "recipes/r1t2-like.yaml");
  assert.deepEqual([status, stdout], [3, ""]);
  const lines = stderr.trimEnd().split("\n");
  assert.equal(lines.length, 4);
  for (const line of lines.slice(0, 3))
    assert.match(
      line,
      /^error: Parent "[\w-]+" \(recipes\/r1t2-like.yaml:\d+:3\): Cannot open ".+": there is no/,
    );
  assert.match(lines[3]!, /^ {2}note: --parent name=folder says where/);
});

test("chimera plan ends with 2 for a wrong recipe, option or place, and writes nothing", (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "x.yaml");
  writeFileSync(file, readFileSync(HALF, "utf8").replace("routed-experts", "routed-expert"));
  const cases: [RegExp, ...string[]][] = [
    [/^error: .+x.yaml:\d+:\d+ Cannot use the role "routed-expert".+\n {2}note: Did you mean/s, file],
    [/Cannot open ".+none.yaml"/, join(folder, "none.yaml")],
    [/"r2": the recipe has none of this name/, HALF, "--parent", "r2=models/mini-r1"],
    [/"r1" is not name=folder/, HALF, "--parent", "r1"],
    [/^error: Cannot write ".+": its folder is not there\n$/, HALF, "-o", join(folder, "no", "plan.json")],
    [/^error: Cannot write ".+": it is a folder, wanted a file\n$/, HALF, "-o", folder],
  ];
  for (const [message, ...args] of cases) {
    const { status, stdout, stderr } = runMain("plan", ...args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
  }
  assert.ok(!existsSync(join(folder, "no")));
});
