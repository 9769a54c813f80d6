import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

// Interruption, killing, locks and racing parts are in test/build/crash.test.ts.
const R1T = "recipes/mini/r1t.yaml";

test("chimera build makes the child, says so on stdout, and is content when it is there", (t) => {
  const child = join(temporaryFolder(t), "my child");
  const first = runMain("build", R1T, "-o", child);
  assert.deepEqual([first.status, first.stderr], [0, ""]);
  assert.match(
    first.stdout,
    /^built {2}\S.*my child: 2 of 2 shards written \(2.94 MB in [\d.]+ s, [\d.]+ GB\/s\)\nnext: chimera verify '.*my child'\n$/,
  );
  const again = runMain("build", R1T, "-o", child);
  assert.deepEqual([again.status, again.stderr], [0, ""]);
  assert.match(again.stdout, /^complete {2}.*: every shard was there\n/);
  const dry = runMain("build", R1T, "-o", child, "--dry-run");
  assert.match(dry.stdout, /\nThe child is there already: nothing to do.\n$/);
  assert.ok(!dry.stdout.includes("needed"));
});

test("chimera build --json is one document on stdout, --progress json NDJSON on stderr", (t) => {
  const child = join(temporaryFolder(t), "child");
  const { status, stdout, stderr } = runMain("build", R1T, "-o", child, "--json", "--progress", "json");
  assert.equal(status, 0);
  const { seconds, planDigest, ...report } = JSON.parse(stdout);
  assert.deepEqual(report, {
    schemaVersion: 1,
    location: child,
    finished: true,
    shards: { total: 2, written: 2, resumed: 0 },
    writtenBytes: 2936368,
    dryRun: false,
    part: null,
  });
  assert.ok(seconds > 0 && /^[0-9a-f]{64}$/.test(planDigest));
  const events = stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const kinds = new Set(events.map(({ kind }) => kind));
  assert.deepEqual([...kinds].sort(), ["finished", "finishing", "progress", "shard-written", "started"]);
  assert.deepEqual([events[0].kind, events.at(-1).kind], ["started", "finished"]);
});

test("chimera build --dry-run writes nothing, not even the folder", (t) => {
  const child = join(temporaryFolder(t), "a", "b");
  const { status, stdout, stderr } = runMain("build", R1T, "-o", child, "--dry-run");
  assert.deepEqual([status, stderr, existsSync(join(child, ".."))], [0, "", false]);
  assert.match(
    stdout,
    /^disk +2.94 MB needed, [\d.]+ .?B free for .*a\/b: fits\nDry run: nothing was written.\n$/m,
  );
});

test("chimera build --progress bar draws share, bytes, speed and time left on one line of stderr", (t) => {
  const child = join(temporaryFolder(t), "child");
  const { status, stdout, stderr } = runMain("build", R1T, "-o", child, "--progress", "bar");
  assert.equal(status, 0);
  assert.ok(!stdout.includes("\r"));
  const drawn = stderr.split("\r\u001b[K").slice(1);
  assert.match(
    drawn.at(-1)!,
    /^build █+ +100 % 2.94 MB of 2.94 MB · [\d.]+ GB\/s · 0.0 s left · shard 2 of 2\n$/,
  );
});

test("chimera build goes part by part, says what comes next, and finishes once or twice", (t) => {
  const child = join(temporaryFolder(t), "child");
  for (const part of ["0/2", "1/2"]) {
    const { status, stdout } = runMain("build", R1T, "-o", child, "--part", part);
    assert.equal(status, 0);
    assert.match(stdout, /^part [01] of 2: 1 of 2 shards written .*, 0 were there\nnext, .*--finish -o /);
  }
  const json = runMain("build", R1T, "-o", child, "--part", "1/2", "--json");
  assert.deepEqual(JSON.parse(json.stdout).part, { index: 1, count: 2 });
  assert.match(json.stderr, /^resuming: 1 of 1 shards are complete/);
  const finish = runMain("build", "--finish", "-o", child);
  assert.deepEqual([finish.status, finish.stderr], [0, ""]);
  assert.match(finish.stdout, /^finished {2}.*: 2 shards joined\nnext: chimera verify /);
  // As when a cluster queues the task again.
  const again = runMain("build", "--finish", "-o", child);
  assert.deepEqual([again.status, again.stderr], [0, ""]);
  assert.match(again.stdout, /^complete {2}/);
});

test("chimera build takes a recipe in JSON, and a plan under any name", (t) => {
  const folder = temporaryFolder(t);
  const parents = { v3: resolve("models/mini-v3"), r1: resolve("models/mini-r1") };
  const rules = [{ tensors: "routed-experts", weights: { r1: 1 } }];
  writeFileSync(join(folder, "r.json"), JSON.stringify({ version: 1, parents, base: "v3", rules }));
  assert.equal(runMain("build", join(folder, "r.json"), "-o", join(folder, "a")).status, 0);
  assert.equal(runMain("plan", R1T, "-o", join(folder, "the-plan")).status, 0);
  assert.equal(runMain("build", join(folder, "the-plan"), "-o", join(folder, "b")).status, 0);
});

test("chimera build refuses options that contradict each other, with 2, and touches nothing", (t) => {
  const folder = temporaryFolder(t);
  const child = join(folder, "child");
  const plan = join(folder, "plan.json");
  runMain("plan", R1T, "-o", plan);
  runMain("build", R1T, "-o", child, "--part", "0/2");
  const before = readdirSync(child);
  const cases: [RegExp, ...string[]][] = [
    [/Cannot use --force with --part: it would remove the shards of/, R1T, "--part", "1/2", "--force"],
    [/Cannot use --force with --finish/, R1T, "--finish", "--force"],
    [/Cannot build a part and finish at once/, R1T, "--part", "1/2", "--finish"],
    [/Cannot use --parent with a plan/, plan, "--parent", "r1=models/mini-r1"],
    [/Cannot use --parent without a recipe/, "--finish", "--parent", "r1=models/mini-r1"],
    [/Cannot build without a recipe/],
    [/argument '2\/2' is invalid. wanted i\/n with i from 0 to n-1/, R1T, "--part", "2/2"],
    [/argument '0' is invalid. wanted a whole number from 1 to 1024/, R1T, "--workers", "0"],
    [
      /argument 'loud' is invalid. Allowed choices are auto, bar, plain, json, none/,
      R1T,
      "--progress",
      "loud",
    ],
  ];
  for (const [message, ...args] of cases) {
    const { status, stdout, stderr } = runMain("build", ...args, "-o", child);
    assert.deepEqual([status, stdout], [2, ""], `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, message);
  }
  assert.deepEqual(readdirSync(child), before);
  assert.match(runMain("build", R1T).stderr, /required option '-o, --output <folder>' not specified/);
});
