import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

describe("chimera verify", () => {
  const child = join(temporaryFolder({ after }), "child");
  before(() => {
    assert.equal(runMain("build", "recipes/mini/r1t-half.yaml", "-o", child).status, 0);
  });

  test("says what was proved, and that a sample is one", () => {
    const { status, stdout, stderr } = runMain("verify", child);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(
      stdout,
      /^verified {2}.*: 2 shards \(2.94 MB\), 213 tensors equal to their parent's, 16 of 14\d computed tensors equal when computed again, 6 other files; [\d.]+ s\nnext: chimera verify --all/,
    );
    const all = runMain("verify", child, "--all");
    assert.match(all.stdout, /, (\d+) of \1 computed tensors equal/);
    assert.ok(!all.stdout.includes("next"));
  });

  test("--json is one document, --progress json ends in its event", () => {
    const { status, stdout, stderr } = runMain("verify", child, "--json", "--progress", "json");
    assert.equal(status, 0);
    const report = JSON.parse(stdout);
    assert.deepEqual([report.schemaVersion, report.ok, report.findings], [1, true, []]);
    assert.deepEqual(Object.keys(report.checked), [
      ...["shards", "bytes", "copied", "recomputed", "merged", "files"],
    ]);
    const events = stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual([events[0].kind, events.at(-1).kind, events.at(-1).ok], ["started", "finished", true]);
  });

  test("ends with 4 and the tensor's name on stderr when one byte is off", () => {
    const shard = join(child, "model-00001-of-000002.safetensors");
    const bytes = readFileSync(shard);
    const was = bytes[60_000]!;
    bytes[60_000] = was ^ 1;
    writeFileSync(shard, bytes);
    try {
      const { status, stdout, stderr } = runMain("verify", child);
      assert.deepEqual([status, stdout], [4, ""]);
      assert.match(
        stderr,
        /^mismatch: Cannot verify "model.embed_tokens.weight": element \[\d+, \d+\] differs, byte 60000 of/,
      );
      const json = runMain("verify", child, "--json");
      const { ok, findings } = JSON.parse(json.stdout);
      assert.deepEqual([json.status, ok, findings.length], [4, false, 1]);
      assert.equal(findings[0].tensor, "model.embed_tokens.weight");
    } finally {
      bytes[60_000] = was;
      writeFileSync(shard, bytes);
    }
  });

  test("ends with 3 for what is no finished child, 2 for a wrong use", () => {
    const cases: [number, RegExp, ...string[]][] = [
      [3, /^error: Cannot verify ".+mini-v3": it holds no chimera.json/, "models/mini-v3"],
      [3, /^error: Cannot open ".+nowhere": there is no such file or folder/, "models/nowhere"],
      [
        3,
        /^error: Parent "r1" .+Cannot open ".*nowhere"[^\n]*\n {2}note: If a/,
        child,
        "--parent",
        "r1=nowhere",
      ],
      [2, /"zz": the recipe has none of this name/, child, "--parent", "zz=models/mini-r1"],
      [2, /missing required argument 'child'/],
    ];
    for (const [expected, message, ...args] of cases) {
      const { status, stdout, stderr } = runMain("verify", ...args);
      assert.deepEqual([status, stdout], [expected, ""], args.join(" "));
      assert.match(stderr, message);
    }
  });
});
