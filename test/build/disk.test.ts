/** Disks that are full, or become so. On a small tmpfs; skipped where none can be mounted. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { build } from "../../src/build/build.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { run, start, until } from "./processes.ts";
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
  plan = await planRecipe(goldenRecipe("2-routed-half", { maxShardSize: 60_000 })); // 1.3 MB
  planFile = writePlan(join(folder, "plan.json"), plan);
  await build(plan, join(folder, "whole"));
  whole = hashesOf(join(folder, "whole"));
});

let count = 0;

/** A disk of its own, or undefined where none can be had. */
function mountDisk(t: TestContext, size: string): string | undefined {
  const disk = join(folder, `disk-${++count}`);
  mkdirSync(disk);
  const { status, error } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", disk]);
  if (error || status !== 0) {
    t.skip("no tmpfs can be mounted here");
    return undefined;
  }
  t.after(() => spawnSync("umount", [disk]));
  return disk;
}

/** Takes what is free of a disk but `spare` bytes. */
function fill(disk: string, spare = 0): string {
  const path = join(disk, "filler");
  const { bavail, bsize } = statfsSync(disk);
  try {
    writeFileSync(path, Buffer.alloc(Math.max(0, bavail * bsize - spare)));
    if (spare === 0) for (;;) appendFileSync(path, Buffer.alloc(4096));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
  }
  return path;
}

const leftovers = (child: string) =>
  readdirSync(join(child, ".chimera")).filter((name) => /\.tmp$|^lock-/.test(name));

describe("build() on a disk", () => {
  test("too small from the first: exit 5, nothing is written", async (t) => {
    const disk = mountDisk(t, "2m");
    if (!disk) return;
    const child = join(disk, "child");
    for (const more of [[], ["--dry-run"], ["--json"]]) {
      const { status, stderr, stdout } = await run(["build", planFile, "-o", child, ...more]);
      assert.equal(status, 5);
      assert.match(
        stderr,
        /Cannot build in ".+": \d\.\d+ MB are free, wanted \d\.\d+ MB\n.*note: \d+ bytes are missing/,
      );
      assert.equal(stdout, "");
    }
    assert.deepEqual(readdirSync(disk), []);
  });

  test("that fills up meanwhile: exit 5, no temporary file stays, and it goes on when there is room", async (t) => {
    const disk = mountDisk(t, "8m");
    if (!disk) return;
    const child = join(disk, "child");
    const published = () =>
      existsSync(child) ? readdirSync(child).filter((name) => name.endsWith(".safetensors")).length : 0;
    const { done } = start(["build", planFile, "-o", child, "--workers", "2"], {
      preload: "slow",
      env: { SLOW_MS: "2" },
    });
    await until(() => published() >= 2, "two shards");
    const filler = fill(disk);
    const { status, stderr } = await done;
    assert.equal(status, 5, stderr);
    assert.match(stderr, /Cannot write ".+": the disk is full/);
    assert.match(stderr, /run the same build again/);
    assertNothingHalfWritten(child, whole);
    assert.deepEqual(leftovers(child), []);
    rmSync(filler);
    const again = await run(["build", planFile, "-o", child, "--json"]);
    assert.equal(again.status, 0, again.stderr);
    assert.ok(JSON.parse(again.stdout).shards.resumed >= 2);
    assert.deepEqual(hashesOf(child), whole);
  });

  test("that is full when it finishes: nothing is lost", async (t) => {
    const disk = mountDisk(t, "8m");
    if (!disk) return;
    const child = join(disk, "child");
    await build(plan, child, { part: { index: 0, count: 1 } });
    const filler = fill(disk);
    await assert.rejects(build(plan, child), { code: "disk-full" });
    assert.equal(existsSync(join(child, "chimera.json")), false);
    rmSync(filler);
    assert.equal((await build(plan, child)).shards.resumed, plan.shards.length);
    assert.deepEqual(hashesOf(child), whole);
  });

  test("where a dead build's temporary files take the room: they are removed first", async (t) => {
    const disk = mountDisk(t, "3m");
    if (!disk) return;
    const child = join(disk, "child");
    await build(plan, child, { part: { index: 0, count: 2 } });
    const half = plan.shards.at(-1)!.name;
    writeFileSync(join(child, `.chimera/${half}.99999999-dead.tmp`), Buffer.alloc(1_200_000));
    await build(plan, child, { dryRun: true });
    assert.equal((await build(plan, child)).finished, true);
    assert.deepEqual(hashesOf(child), whole);
  });

  test("where the child that is to be replaced takes the room: it is counted as free", async (t) => {
    const disk = mountDisk(t, "3m");
    if (!disk) return;
    const child = join(disk, "child");
    await build(await planRecipe(goldenRecipe("5-outside-hull", { maxShardSize: 60_000 })), child);
    assert.equal((await build(plan, child, { force: true })).finished, true);
    assert.deepEqual(hashesOf(child), whole);
    fill(disk);
    await assert.rejects(build(await planRecipe(goldenRecipe("5-outside-hull")), child, { force: true }), {
      code: "disk-space",
    });
    assert.deepEqual(hashesOf(child), whole); // and nothing was removed
  });
});
