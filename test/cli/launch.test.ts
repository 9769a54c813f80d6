/** chimera launch: what it says, what it refuses, and what lies where afterwards. Clusters are in test/launch. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { hashesOf } from "../build/support.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const R1T = "recipes/mini/r1t.yaml";
/** Nothing but the basics: neither sbatch nor kubectl. */
const BARE = { PATH: "/nowhere" };

function runBare(...args: string[]) {
  const before = process.env.PATH;
  Object.assign(process.env, BARE);
  try {
    return runMain(...args);
  } finally {
    process.env.PATH = before;
  }
}

test("chimera launch local builds in parts, verifies, and has the bytes of one build", (t) => {
  const folder = temporaryFolder(t);
  const child = join(folder, "it's my child");
  const { status, stdout, stderr } = runMain("launch", "local", R1T, "-o", child, "--tasks", "2");
  assert.equal(status, 0, stderr);
  assert.match(stderr, /^(launch: .+\n)*finish …\n(launch: .+\n)*verify …\n(launch: .+\n)*$/); // on a slow machine with progress
  assert.match(stdout, /^launched {2}.*my child: 2 parts \(2 shards, 2.94 MB\); finish, verify\n$/);
  assert.equal(runMain("build", R1T, "-o", join(folder, "whole")).status, 0);
  assert.deepEqual(hashesOf(child), hashesOf(join(folder, "whole")));
  assert.deepEqual(readdirSync(`${child}.launch`).sort(), ["launch.json", "logs", "plan.json"]);

  const again = runMain("launch", "local", R1T, "-o", child, "--json", "--progress", "none");
  assert.equal(again.status, 0, again.stderr);
  const { succeeded, failed, steps, failedStep } = JSON.parse(again.stdout);
  assert.deepEqual([succeeded, failed, steps, failedStep], [2, [], ["finish", "verify"], null]);
  const record = JSON.parse(readFileSync(join(`${child}.launch`, "launch.json"), "utf8"));
  assert.deepEqual([record.job.tasks, record.submissions], [2, [{ by: "local" }]]);
  const told = runMain("launch", "status", child);
  assert.match(told.stdout, /my child: finished, 2 of 2 shards, 2.94 MB of 2.94 MB\n$/);
});

test("chimera launch local --dry-run prints commands that a shell runs to the same child", async (t) => {
  const folder = temporaryFolder(t);
  const child = join(folder, "child");
  const { status, stdout } = runMain("launch", "local", R1T, "-o", child, "--tasks", "2", "--dry-run");
  assert.deepEqual([status, existsSync(`${child}.launch`)], [0, false]);
  // The plan is what a launch writes; here by hand, as docs/CLUSTERS.md shows.
  mkdirSync(`${child}.launch`);
  assert.equal(runMain("plan", R1T, "-o", join(`${child}.launch`, "plan.json")).status, 0);
  const { spawnSync } = await import("node:child_process");
  const shell = spawnSync("bash", ["-e", "-o", "pipefail"], { input: stdout, encoding: "utf8" });
  assert.equal(shell.status, 0, shell.stderr);
  assert.match(shell.stdout, /^verified /m);
});

test("chimera launch local ends with the status of the part that failed, and shows its log", (t) => {
  const folder = temporaryFolder(t);
  const child = join(folder, "child");
  const program = join(folder, "broken.mjs");
  writeFileSync(program, `console.error("the parent is damaged"); process.exitCode = 3;`);
  const args = [
    "launch",
    "local",
    R1T,
    "-o",
    child,
    "--tasks",
    "2",
    "--chimera",
    `${process.execPath} ${program}`,
  ];
  const { status, stdout, stderr } = runMain(...args);
  assert.deepEqual([status, stdout], [3, ""]);
  assert.match(stderr, /part [01] ended with status 3 and is not run again: .+\.log\n/);
  assert.match(stderr, /error: part [01] failed, .+\.log ends with\n {2}the parent is damaged\n/);
});

test("chimera launch refuses what it cannot mean", (t) => {
  const folder = temporaryFolder(t);
  const refused = (pattern: RegExp, ...args: string[]) => {
    const { status, stdout, stderr } = runMain("launch", ...args);
    assert.deepEqual([status, stdout], [2, ""], stderr);
    assert.match(stderr, pattern);
  };
  const out = ["-o", join(folder, "x")];
  refused(/without -o, wanted the child's folder/, "local", R1T);
  refused(/Cannot launch "b" beside "a", wanted one/, "local", "a", "b", ...out);
  refused(/wanted a whole number from 1/, "local", R1T, ...out, "--tasks", "0");
  refused(/use --output with sweep/, "slurm", ...out, "--", "sweep", R1T);
  refused(
    /Cannot use --time soon, wanted one as sbatch takes it/,
    "slurm",
    R1T,
    ...out,
    "--time",
    "soon",
    "--dry-run",
  );
  refused(/nothing was launched there/, "status", folder);
  refused(/a quote does not end/, "slurm", R1T, ...out, "--sbatch-args", "'x", "--dry-run");
  refused(/no volume is mounted there/, "kubernetes", R1T, "-o", "/data/x", "--image", "i", "--tasks", "2");
  const pvc = ["--image", "i", "--tasks", "2", "--pvc", "models=/data"];
  refused(/Cannot use the parent "v3" in ".*mini-v3": no volume/, "kubernetes", R1T, "-o", "/data/x", ...pvc);
  refused(
    /the recipe has no such parent, wanted one of v3, r1/,
    "kubernetes",
    R1T,
    "-o",
    "/data/x",
    ...pvc,
    "--parent",
    "z=/data/z",
  );
  refused(
    /its volume is mounted read-only/,
    "kubernetes",
    R1T,
    "-o",
    "/ro/x",
    "--image",
    "i",
    "--tasks",
    "2",
    "--pvc",
    "m=/ro:ro",
  );
  assert.deepEqual(readdirSync(folder), []);
});

test("chimera launch slurm and kubernetes say what is missing on the PATH, and write nothing", (t) => {
  const folder = temporaryFolder(t);
  const slurm = runBare("launch", "slurm", R1T, "-o", join(folder, "child"), "--tasks", "2");
  assert.equal(slurm.status, 3);
  assert.match(slurm.stderr, /there is no "scontrol" on the PATH\n {2}note: .*--dry-run/);
  const parents = ["--parent", "v3=/data/v3", "--parent", "r1=/data/r1"];
  const cluster = ["-o", "/data/x", "--image", "i", "--tasks", "2", "--pvc", "models=/data", ...parents];
  const kubernetes = runBare("launch", "kubernetes", R1T, ...cluster);
  assert.equal(kubernetes.status, 2);
  assert.match(kubernetes.stderr, /there is no "kubectl" on the PATH/);
  assert.deepEqual(readdirSync(folder), []);
});

test("chimera launch slurm --dry-run prints the scripts, launch kubernetes --dry-run the objects", (t) => {
  const folder = temporaryFolder(t);
  const child = join(folder, "a 'b'");
  const { status, stdout } = runMain(
    "launch",
    "slurm",
    R1T,
    "-o",
    child,
    "--tasks",
    "2",
    "--dry-run",
    "--json",
  );
  assert.equal(status, 0);
  const { scripts, dryRun, job } = JSON.parse(stdout);
  assert.deepEqual(
    [dryRun, job.tasks, scripts.map(({ fileName }: { fileName: string }) => fileName)],
    [true, 2, ["array.sbatch", "finish.sbatch", "verify.sbatch"]],
  );
  const parents = ["--parent", "v3=/data/v3", "--parent", "r1=/data/r1"];
  const yaml = runMain(
    ...["launch", "kubernetes", R1T, "-o", "/data/R1T", "--image", "chimera:1", "--tasks", "4"],
    ...["--pvc", "models=/data", ...parents, "--dry-run"],
  );
  assert.equal(yaml.status, 0, yaml.stderr);
  assert.deepEqual(yaml.stdout.match(/^kind: .*/gm), ["kind: ConfigMap", "kind: Job", "kind: Job"]);
  assert.match(yaml.stdout, /- \$\(JOB_COMPLETION_INDEX\)\/4\n/);
  assert.deepEqual(readdirSync(folder), []);
});

test("chimera launch status tells of a build that was started by hand", (t) => {
  const child = join(temporaryFolder(t), "child");
  assert.equal(runMain("build", R1T, "-o", child, "--part", "0/2").status, 0);
  const { status, stdout } = runMain("launch", "status", child);
  assert.equal(status, 0);
  assert.match(
    stdout,
    /child: 50 %, 1 of 2 shards, 1.\d+ MB of 2.94 MB\n1 part: 0 done, 0 running, 0 stopped, 1 open\n$/,
  );
});

const FEW = ["--n", "3", "--max-tokens", "8", "--batch", "1", "--threads", "1"];

test("chimera launch local -- sweep has the files of a sweep in one go", (t) => {
  const folder = temporaryFolder(t);
  const sweep = (out: string) => ["sweep", R1T, "--lambda", "r1=0,1", ...FEW, "-o", join(folder, out)];
  const { status, stdout, stderr } = runMain("launch", "local", "--parallel", "2", "--", ...sweep("parts"));
  assert.equal(status, 0, stderr);
  assert.match(stdout, /parts: 4 parts \(4 runs\).*; report\nreport: .*parts\.launch\/logs\/report\.log\n$/);
  assert.equal(runMain(...sweep("whole"), "--progress", "none").status, 0);
  const records = (name: string) =>
    Object.entries(hashesOf(join(folder, name))).filter(([path]) =>
      /records\.ndjson$|points\.csv$|\.svg$/.test(path),
    );
  assert.ok(records("whole").length >= 5);
  assert.deepEqual(records("parts"), records("whole"));
  const told = runMain("launch", "status", join(folder, "parts"));
  assert.match(told.stdout, /parts: 4 of 4 runs are complete\n$/);
});

test("chimera launch local -- eval asks each target in a part, and compares them", (t) => {
  const folder = temporaryFolder(t);
  const out = join(folder, "eval");
  const args = ["eval", "models/mini-v3", `other=${R1T}`, ...FEW, "-o", out];
  const { status, stderr } = runMain("launch", "local", "--tasks", "2", "--", ...args);
  assert.equal(status, 0, stderr);
  assert.deepEqual(readdirSync(out).sort(), ["comparison.json", "mini-v3", "other"]);
  assert.match(readFileSync(join(`${out}.launch`, "logs", "report.log"), "utf8"), /mini-v3 → other/);
  assert.match(runMain("launch", "status", out).stdout, /2 of 2 runs are complete/);
});

test("chimera eval and sweep --part refuse what a part cannot be", () => {
  const eval_ = runMain("eval", "models/mini-v3", "models/mini-r1", "--part", "0/2");
  assert.equal(eval_.status, 2);
  assert.match(eval_.stderr, /Cannot use --part without -o, wanted the folder that all parts share/);
  const sweep = runMain("sweep", R1T, "--lambda", "r1=0,1", "--part", "2/2");
  assert.equal(sweep.status, 2);
  assert.match(sweep.stderr, /wanted i\/n with i from 0 to n-1/);
});

test("chimera build --finish --wait ends when its time is over, and refuses to wait for nothing", (t) => {
  const child = join(temporaryFolder(t), "child");
  const late = runMain("build", R1T, "-o", child, "--finish", "--wait", "1");
  assert.equal(late.status, 3);
  assert.match(late.stderr, /2 of 2 shards are missing/);
  const alone = runMain("build", R1T, "-o", child, "--wait", "1");
  assert.equal(alone.status, 2);
  assert.match(alone.stderr, /Cannot use --wait without --finish, wanted both/);
});

test("chimera serve --print gives the commands of other engines", () => {
  const vllm = runMain("serve", "--print", "vllm", "models/mini-r1");
  assert.deepEqual([vllm.status, vllm.stderr], [0, ""]);
  assert.match(
    vllm.stdout,
    /^vllm serve models\/mini-r1 --served-model-name mini-r1 --tensor-parallel-size 1 /m,
  );
  assert.match(vllm.stdout, /^# The command was not run by who wrote it\.$/m);
  const json = JSON.parse(runMain("serve", "--print", "sglang", "mine=models/mini-v3", "--json").stdout);
  assert.deepEqual([json.engine, json.facts.mtpLayers, json.commands.length], ["sglang", 1, 1]);
  assert.match(json.commands[0].command, /--served-model-name mine --tp 1/);
  for (const [pattern, ...args] of [
    [/it is no folder, wanted a checkpoint/, R1T],
    [/with 0 places, wanted one checkpoint/],
    [/it holds no .safetensors file/, resolve("docs")],
  ] as const) {
    const { status, stderr } = runMain("serve", "--print", "vllm", ...args);
    assert.ok(status === 2 || status === 3, stderr);
    assert.match(stderr, pattern);
  }
});

test("a child's card says how to run it", (t) => {
  const child = join(temporaryFolder(t), "child");
  assert.equal(runMain("build", R1T, "-o", child).status, 0);
  const card = readFileSync(join(child, "README.md"), "utf8");
  assert.match(card, /^## How to run it$/m);
  assert.match(card, /^vllm serve "\$CHILD" --served-model-name child --tensor-parallel-size 1 /m);
  assert.match(card, /^python3 -m sglang\.launch_server --model-path "\$CHILD"/m);
  assert.match(card, /none was run/);
});
