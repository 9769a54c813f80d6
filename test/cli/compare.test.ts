import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { parseXml } from "../support/xml-check.ts";
import { single } from "../survey/mini.ts";
import { runMain } from "./run-main.ts";

const PAIR = ["models/mini-v3", "models/mini-r1"];

test("chimera compare shows roles, layers, the largest and the curve on stdout, what it read on stderr", () => {
  const { status, stdout, stderr } = runMain("compare", ...PAIR);
  assert.equal(status, 0);
  assert.match(stderr, /^(compare: .+\n)*read 5.76 MB in [\d.]+ s \([\d.]+ GB\/s\)\n$/);
  for (const part of [
    /^mini-v3 → mini-r1 {2}DeepSeek-V3$/m,
    /^269 tensors compared, 0 identical in bytes; rms/m,
    /^routed-experts +144 +0 +1.18 MB +0.0102 +0.00730 +0.0150$/m,
    /^routed experts by matrix: down_proj 0.0102, gate_proj 0.0104, up_proj 0.0101$/m,
    /^routed-experts +[▁-█]{4} +0.0124$/m,
    /^ +0.144 +64 B +model.layers.1.mlp.gate.e_score_correction_bias$/m,
    /^ +0 +269 +100.0 % +2.88 MB +100.0 % +144$/m,
    /^ +0.1436 +0 +0.0 % +0 B +0.0 % +0$/m,
  ]) {
    assert.match(stdout, part);
  }
});

test("chimera compare of a checkpoint with itself says that nothing differs", () => {
  const { status, stdout } = runMain("compare", "models/mini-v3", "models/mini-v3", "--progress", "none");
  assert.equal(status, 0);
  assert.match(stdout, /^269 tensors compared, 269 identical in bytes/m);
  assert.match(stdout, /^equal {2}no tensor differs$/m);
});

test("chimera compare --json prints one document, the same with any number of workers", () => {
  const run = (workers: string) =>
    runMain("compare", ...PAIR, "--json", "--workers", workers, "--progress", "none");
  const [one, two] = [run("1"), run("2")];
  assert.deepEqual([one.status, one.stderr, two.status], [0, "", 0]);
  assert.equal(one.stdout, two.stdout);
  const report = JSON.parse(one.stdout);
  assert.deepEqual([report.schemaVersion, report.rows.length, report.sample], [1, 269, null]);
});

test("chimera compare --progress json tells its events as NDJSON on stderr", () => {
  const { stderr } = runMain("compare", ...PAIR, "--progress", "json");
  const kinds = stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).kind);
  assert.deepEqual([kinds[0], kinds.at(-1)], ["started", "finished"]);
});

test("chimera compare --sample says that its figures are estimates", () => {
  const { status, stdout } = runMain("compare", ...PAIR, "--sample", "2", "--measure", "relative");
  assert.equal(status, 0);
  assert.match(stdout, /^Estimates: at most 2 pieces of each tensor were looked at\.$/m);
  assert.match(stdout, /; relative ‖Δ‖\/‖base‖$/m);
});

test("chimera compare --svg writes one well-formed SVG, and none when it fails", (t) => {
  const folder = temporaryFolder(t);
  const svg = join(folder, "map.svg");
  const failed = runMain("compare", "models/mini-v3", single(join(folder, "x"), "x", [1]), "--svg", svg);
  assert.deepEqual([failed.status, failed.stdout, existsSync(svg)], [3, "", false]);
  const { status, stderr } = runMain("compare", ...PAIR, "--svg", svg);
  assert.equal(status, 0);
  assert.ok(stderr.endsWith(`heat maps written to ${svg}\n`));
  assert.equal(parseXml(readFileSync(svg, "utf8")).name, "svg");
  assert.deepEqual(readdirSync(folder).sort(), ["map.svg", "x"]);
});

test("chimera compare lists what only one side has and what cannot be compared", (t) => {
  const folder = temporaryFolder(t);
  const [a, b] = [single(join(folder, "a"), "x", [1, 2]), single(join(folder, "b"), "x", [1, 3])];
  assert.match(runMain("compare", a, b).stdout, /^all +1 +0 +8 B +0.707 +0.707 +0.707$/m);
  const { stdout, stderr } = runMain(
    "compare",
    "models/mini-v3",
    "models/mini-v3/model-00001-of-000002.safetensors",
  );
  assert.match(stdout, /^only in mini-v3: 1\d\d\n {2}\S+/m);
  assert.match(stdout, /^ {2}… and \d+ more \(all of them with --json\)$/m);
  assert.ok(!stderr.includes("warning"));
});

test("chimera compare ends with 2 and one clear error for a wrong option, before it reads", (t) => {
  const folder = temporaryFolder(t);
  const cases: [string, string, RegExp][] = [
    [
      "--measure",
      "cosine",
      /^error: option '--measure <measure>' argument 'cosine' is invalid. Allowed choices are rms, relative.\n$/,
    ],
    [
      "--sample",
      "0",
      /^error: option '--sample <n>' argument '0' is invalid. wanted a whole number of 1 or more\n$/,
    ],
    ["--sample", "1.5", /^error: option '--sample <n>' argument '1.5' is invalid/],
    ["--workers", "many", /^error: option '--workers <n>' argument 'many' is invalid/],
    ["--svg", join(folder, "none", "x.svg"), /^error: Cannot write ".*x.svg": its folder is not there\n$/],
    ["--svg", folder, /^error: Cannot write ".*": it is a folder, wanted a file\n$/],
  ];
  for (const [option, value, message] of cases) {
    const { status, stdout, stderr } = runMain("compare", ...PAIR, option, value);
    assert.deepEqual([status, stdout], [2, ""], option);
    assert.match(stderr, message);
  }
});
