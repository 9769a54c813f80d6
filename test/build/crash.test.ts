/**
 * Builds that are killed, interrupted and run again, and builds in parts: the folder ends as an undisturbed
 * build leaves it, file by file, and holds nothing half-written meanwhile.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { run, start, until } from "./processes.ts";
import { assertNothingHalfWritten, goldenRecipe, hashesOf, randomFrom, writePlan } from "./support.ts";

describe("a disturbed build", () => {
  let folder: string;
  let plan: BuildPlan;
  let planFile: string;
  let whole: Record<string, string>;
  const ends: (() => void)[] = [];
  after(() => {
    for (const end of ends) end();
  });
  before(async () => {
    folder = temporaryFolder({ after: (end) => ends.push(end) });
    // Blends, tests of a threshold and copies; shards of one to thirty tensors.
    plan = await planRecipe(goldenRecipe("6-two-rules", { maxShardSize: 60_000 }));
    planFile = writePlan(join(folder, "plan.json"), plan);
    await build(plan, join(folder, "whole"));
    whole = hashesOf(join(folder, "whole"));
  });

  const published = (child: string) =>
    existsSync(child) ? readdirSync(child).filter((name) => name.endsWith(".safetensors")) : [];

  const holdsLock = (child: string, pid: number) => {
    const state = join(child, ".chimera");
    if (!existsSync(state)) return false;
    const lock = readdirSync(state).find((name) => name.startsWith("lock-"));
    try {
      return lock !== undefined && readFileSync(join(state, lock), "utf8").includes(`"pid":${pid},`);
    } catch {
      return false; // that of a dead build, which was just removed
    }
  };

  test("killed at twelve random moments and resumed, equals an undisturbed one", async () => {
    const child = join(folder, "killed");
    const random = randomFrom(20);
    const stages = new Set<number>();
    let kills = 0;
    let mostMs = 450; // about two shards; longer on a machine that is busy
    for (;;) {
      const { child: process, done } = start(["build", planFile, "-o", child, "--workers", "2"], {
        preload: "slow",
        env: { SLOW_MS: "3" },
      });
      await until(() => holdsLock(child, process.pid!) || process.exitCode !== null, "the lock");
      if (kills >= 4 && stages.size < 2) mostMs *= 1.5;
      const delayMs = kills < 12 || stages.size < 2 ? random() * mostMs : 60_000;
      const timer = setTimeout(() => process.kill("SIGKILL"), delayMs);
      const { status, signal, stderr } = await done;
      clearTimeout(timer);
      assertNothingHalfWritten(child, whole);
      if (status === 0) break;
      assert.equal(signal, "SIGKILL", stderr);
      kills++;
      stages.add(published(child).length);
    }
    assert.ok(kills >= 6, `only ${kills} kills landed in a build`);
    assert.ok(stages.size >= 2, `kills landed in ${stages.size} stages`);
    assert.deepEqual(hashesOf(child), whole);
  });

  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(`stopped by ${signal}, exits with ${status}, keeps what is complete and resumes`, async () => {
      const child = join(folder, signal);
      const { child: process, done } = start(["build", planFile, "-o", child, "--workers", "2"], {
        preload: "slow",
        env: { SLOW_MS: "2" },
      });
      await until(() => published(child).length >= 2, "two shards");
      process.kill(signal);
      const stopped = await done;
      assert.equal(stopped.status, status, stopped.stderr);
      assert.match(stopped.stderr, /run the same command again/);
      assertNothingHalfWritten(child, whole);
      const complete = published(child).length;
      assert.ok(complete >= 2 && complete < plan.shards.length);
      const state = readdirSync(join(child, ".chimera"));
      assert.deepEqual(
        state.filter((name) => /\.tmp$|^lock-/.test(name)),
        [],
      );

      const resumed = await run(["build", planFile, "-o", child, "--json"]);
      assert.equal(resumed.status, 0, resumed.stderr);
      assert.equal(JSON.parse(resumed.stdout).shards.resumed, complete);
      assert.deepEqual(hashesOf(child), whole);
    });
  }

  test("killed while finishing, is finished by the next", async () => {
    const child = join(folder, "finishing");
    await build(plan, child);
    const again = join(folder, "again");
    // As if the process had died after chimera.json and before its state went.
    await build(plan, again, { part: { index: 0, count: 1 } });
    for (const name of ["chimera.json", "README.md", "config.json", "model.safetensors.index.json"]) {
      rmSync(join(child, name));
    }
    renameSync(join(again, ".chimera"), join(child, ".chimera"));
    const { finished, shards } = await build(plan, child);
    assert.deepEqual([finished, shards.resumed], [true, plan.shards.length]);
    assert.deepEqual(hashesOf(child), whole);
  });

  describe("in parts", () => {
    test("0/3, 1/3 and 2/3 side by side and --finish equal one build", async () => {
      const child = join(folder, "parts");
      const parts = await Promise.all(
        [0, 1, 2].map((i) => run(["build", planFile, "-o", child, "--part", `${i}/3`, "--workers", "1"])),
      );
      for (const { status, stderr, stdout } of parts) {
        assert.equal(status, 0, stderr);
        assert.match(stdout, /^part \d of 3: /);
      }
      assertNothingHalfWritten(child, whole);
      assert.equal(existsSync(join(child, "chimera.json")), false);
      const finish = await run(["build", "-o", child, "--finish"]); // the plan lies in the folder
      assert.equal(finish.status, 0, finish.stderr);
      assert.deepEqual(hashesOf(child), whole);
    });

    test("--finish with a part missing fails with 3, and writes nothing", async () => {
      const child = join(folder, "missing-part");
      await build(plan, child, { part: { index: 0, count: 3 } });
      await build(plan, child, { part: { index: 2, count: 3 } });
      const before = hashesOf(child);
      const { status, stderr } = await run(["build", planFile, "-o", child, "--finish"]);
      assert.equal(status, 3);
      assert.match(stderr, /Cannot finish ".+": \d+ of \d+ shards are missing \(model-000\d\d-of/);
      assert.deepEqual(hashesOf(child), before);
    });

    test("--finish where nothing was built fails, and makes no folder", async () => {
      const child = join(folder, "never");
      const { status, stderr } = await run(["build", planFile, "-o", child, "--finish"]);
      assert.deepEqual([status, existsSync(child)], [3, false], stderr);
      assert.equal((await run(["build", "-o", child, "--finish"])).status, 2);
    });

    test("a part that is queued twice at once: one builds, the other is locked out or finds it done", async () => {
      const child = join(folder, "requeued");
      const twice = await Promise.all(
        [0, 0, 1, 1].map((i) =>
          run(["build", planFile, "-o", child, "--part", `${i}/2`, "--workers", "1"], { preload: "slow" }),
        ),
      );
      const statuses = twice.map(({ status }) => status);
      for (const pair of [statuses.slice(0, 2), statuses.slice(2)]) {
        assert.ok(
          pair.includes(0) && pair.every((status) => status === 0 || status === 75),
          String(statuses),
        );
      }
      for (const i of [0, 1]) {
        const requeued = await run(["build", planFile, "-o", child, "--part", `${i}/2`, "--json"]);
        assert.equal(JSON.parse(requeued.stdout).shards.written, 0);
      }
      assert.equal((await run(["build", planFile, "-o", child, "--finish"])).status, 0);
      assert.deepEqual(hashesOf(child), whole);
      assert.equal((await run(["build", planFile, "-o", child, "--part", "1/2"])).status, 0); // after the end
      assert.deepEqual(hashesOf(child), whole);
    });

    test("more parts than shards, all at once: no part is in another's way", async () => {
      const child = join(folder, "many-parts");
      const small = await planRecipe(goldenRecipe("6-two-rules")); // two shards
      const reports = await Promise.all(
        Array.from({ length: 7 }, (_, index) =>
          build(small, child, { part: { index, count: 7 }, workers: 1 }),
        ),
      );
      assert.equal(
        reports.reduce((sum, { shards }) => sum + shards.written, 0),
        2,
      );
      await build(small, child, { finish: true });
      await build(small, join(folder, "two-shards"));
      assert.deepEqual(hashesOf(child), hashesOf(join(folder, "two-shards")));
    });
  });
});
