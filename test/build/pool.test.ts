/** Workers that die: the build fails in words and does not hang. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { run } from "./processes.ts";
import { assertNothingHalfWritten, goldenRecipe, hashesOf, writePlan } from "./support.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
let plan: BuildPlan;
let planFile: string;
let whole: Record<string, string>;
before(async () => {
  plan = await planRecipe(goldenRecipe("2-routed-half", { maxShardSize: 60_000 }));
  planFile = writePlan(join(folder, "plan.json"), plan);
  await build(plan, join(folder, "whole"));
  whole = hashesOf(join(folder, "whole"));
});

describe("a worker that dies", () => {
  for (const delay of ["0", "20", "60"]) {
    test(`after ${delay} ms fails the build, leaves nothing half-written and can be resumed`, async () => {
      const child = join(folder, `dying-${delay}`);
      const { status, stderr } = await run(["build", planFile, "-o", child, "--workers", "2"], {
        preload: "dying",
        env: { DEATH_MS: delay },
      });
      assert.notEqual(status, 0);
      assert.match(stderr, /Cannot go on: a worker thread died \(exit status 9\), wanted its shard/);
      assert.match(stderr, /take fewer workers/);
      assertNothingHalfWritten(child, whole);
      assert.deepEqual(
        readdirSync(join(child, ".chimera")).filter((name) => /\.tmp$|^lock-/.test(name)),
        [],
      );
      assert.equal((await build(plan, child)).finished, true);
      assert.deepEqual(hashesOf(child), whole);
    });
  }

  test("while it waits for room fails the build too: its task is not lost in silence", async () => {
    const [pool, dying] = ["../../src/build/pool.js", "./dying.js"].map(
      (name) => new URL(name, import.meta.url).href,
    );
    const code = `const { runPool } = await import(${JSON.stringify(pool)});
      const room = () => new Promise((resolve) => setTimeout(resolve, 1500));
      const setup = { parents: [], output: {}, planDigest: "", location: ".", kernels: "auto", hash: true };
      await runPool([{}, {}], { setup, workers: 1, room, onBytes() {}, onRecord() {} });`;
    const args = ["--input-type=module", "-e", code];
    const { status, stderr } = spawnSync(process.execPath, args, {
      encoding: "utf8",
      env: { ...process.env, DEATH_MS: "100", NODE_OPTIONS: `--import ${dying}` },
      timeout: 60_000,
    });
    assert.equal(status, 1);
    assert.match(stderr, /a worker thread died \(exit status 9\), wanted its shard/);
  });

  test("for want of memory fails the build too", async () => {
    const child = join(folder, "hungry");
    const { status, stderr } = await run(["build", planFile, "-o", child, "--workers", "2"], {
      flags: ["--wasm-max-mem-pages=64"], // 4 MiB; a worker asks for ten times that
    });
    assert.notEqual(status, 0);
    assert.match(stderr, /Cannot go on: a worker thread died \(.*memory/i);
    assert.equal(existsSync(join(child, "chimera.json")), false);
  });
});
