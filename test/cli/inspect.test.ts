import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { architectureOf } from "../../src/arch/architecture.ts";
import { V3_CONFIG } from "../arch/v3-config.ts";
import { shardBytes, type TestTensor, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

test("chimera inspect shows a sound checkpoint on stdout and nothing on stderr", () => {
  const { status, stdout, stderr } = runMain("inspect", "models/mini-v3");
  assert.deepEqual([status, stderr], [0, ""]);
  for (const part of [
    /^mini-v3 {2}DeepSeek-V3 · FP8 in blocks of 128×128 · a folder$/m,
    /^layers 4 \+ 1 MTP {2}· {2}experts 16 routed, top 4, 1 shared/m,
    /^501 tensors, 2,507,448 elements \(2.51 M\), 2,879,456 bytes \(2.88 MB\)$/m,
    /^2 shards, 2,936,368 bytes on disk$/m,
    /^F8_E4M3 +232 +2,136,064 +2.14 MB +2,136,064$/m,
    /^routed-experts +288 +1,179,792 +1.18 MB +40.99 % +█{20}$/m,
    /^1–3 +MoE +118 +486 kB$/m,
    /^template +tokenizer_config.json · prompt ends in "<｜Assistant｜>", does not open <think>$/m,
    /^ok {2}nothing is missing or odd$/m,
  ]) {
    assert.match(stdout, part);
  }
});

test("chimera inspect --layers has a line for each layer", () => {
  const { stdout } = runMain("inspect", "models/mini-v3", "--layers");
  for (const layer of [1, 2, 3]) assert.match(stdout, new RegExp(`^${layer} +MoE +118 +486 kB$`, "m"));
});

test("chimera inspect --json prints one document with schemaVersion", () => {
  const { status, stdout, stderr } = runMain("inspect", "models/mini-v3", "--json");
  const report = JSON.parse(stdout);
  assert.deepEqual([status, stderr, report.schemaVersion, report.label], [0, "", 1, "mini-v3"]);
  assert.deepEqual(report.problems, []);
});

test("chimera inspect shows DeepSeek-V3 from its index alone, with the published totals", (t) => {
  const folder = temporaryFolder(t);
  const expected = architectureOf(V3_CONFIG).expectedTensors!();
  const entries = expected.map(({ name }, index) => [name, `model-${index % 163}.safetensors`]);
  writeFileSync(
    join(folder, "model.safetensors.index.json"),
    JSON.stringify({ weight_map: Object.fromEntries(entries) }),
  );
  writeFileSync(join(folder, "config.json"), JSON.stringify(V3_CONFIG));
  const { status, stdout } = runMain("inspect", join(folder, "model.safetensors.index.json"));
  assert.equal(status, 0);
  for (const part of ["41,555,600", "3,918,786,560", "680,571,043,840", "91,991 tensors", "163 shards"]) {
    assert.ok(stdout.includes(part), part);
  }
  assert.match(stdout, /Not read: All dtypes, shapes and bytes are as config.json says\./);
  assert.match(stdout, /^3–60 +MoE +1,558 +11.5 GB$/m);
});

test("chimera inspect lists at most 20 findings of a kind, exits with 0 and has all of them in JSON", (t) => {
  const odd = (index: number): TestTensor => {
    return { name: `odd.${index}\u001b[31m`, dtype: "F32", shape: [1], bytes: new Uint8Array(4) };
  };
  const folder = writeCheckpoint(temporaryFolder(t), {
    config: V3_CONFIG,
    shards: [{ name: "model.safetensors", tensors: Array.from({ length: 30 }, (_, index) => odd(index)) }],
  });
  const { status, stdout } = runMain("inspect", folder);
  assert.equal(status, 0);
  assert.equal(stdout.match(/^ {2}unexpected-tensor: Found "odd/gm)!.length, 20);
  assert.match(stdout, /^ {2}unexpected-tensor: … and 10 more \(all of them with --json\)$/m);
  assert.ok(!stdout.includes("\u001b"));
  const { problems } = JSON.parse(runMain("inspect", folder, "--json").stdout);
  assert.equal(problems.filter(({ code }: { code: string }) => code === "unexpected-tensor").length, 30);
});

test("chimera inspect ends with 3 for what is malformed or not there, 2 for a wrong use", (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "model.safetensors"), shardBytes([]).subarray(0, 5));
  const cases: [number, RegExp, ...string[]][] = [
    [3, /^error: Cannot read ".+\/model.safetensors"/, folder],
    [3, /^error: Cannot open /, join(folder, "none")],
    [2, /missing required argument/],
    [2, /unknown option '--layer'/, folder, "--layer"],
  ];
  for (const [expected, message, ...args] of cases) {
    const { status, stdout, stderr } = runMain("inspect", ...args);
    assert.deepEqual([status, stdout], [expected, ""]);
    assert.match(stderr, message);
  }
});
