/** Parts on this machine: killed, failing, stopped; the child has the bytes of a build in one go. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { finishWhenReady } from "../../src/build/finish-when-ready.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { type LocalEvent, launchLocal } from "../../src/launch/local.ts";
import { buildJob, type PreparedLaunch, writePlanOnce } from "../../src/launch/prepare.ts";
import { buildStatus } from "../../src/launch/status.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { until } from "../build/processes.ts";
import { hashesOf } from "../build/support.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { buildWhole, gatedProgram, lockOwners } from "./small-family.ts";

describe("launchLocal()", () => {
  const ends: (() => void)[] = [];
  let folder: string;
  let plan: BuildPlan;
  let gate: string;
  let whole: Record<string, string>;
  after(() => {
    for (const end of ends) end();
  });
  before(async () => {
    folder = temporaryFolder({ after: (end) => ends.push(end) });
    gate = join(folder, "gate");
    ({ plan, hashes: whole } = await buildWhole(folder));
  });

  const prepared = async (
    name: string,
    tasks: number,
    program: string[] = gatedProgram({ GATE: gate }),
  ): Promise<PreparedLaunch> => {
    const launch = buildJob(plan, { output: join(folder, name), tasks, workers: 1, program, verify: true });
    await writePlanOnce(launch, plan);
    return launch;
  };
  test("a part that is killed runs again, one that is locked out waits; finished and verified", async () => {
    const { job, folder: place } = await prepared("killed", 4);
    writeFileSync(gate, "");
    const events: LocalEvent[] = [];
    const done = launchLocal(job, {
      parallel: 2,
      logs: join(place, "logs"),
      backoffMs: 50,
      onEvent: (e) => events.push(e),
    });
    await until(() => lockOwners(job.output).length === 2, "two parts at work");
    const seen = await buildStatus(openOutput(job.output), plan, { tasks: 4 });
    assert.deepEqual(
      seen.parts.map(({ state }) => state),
      ["running", "running", "open", "open"],
    );
    process.kill(lockOwners(job.output).find(({ from }) => from === 0)!.pid, "SIGKILL");
    rmSync(gate);
    const report = await done;
    assert.deepEqual([report.failed, report.steps, report.failedStep], [[], ["finish", "verify"], undefined]);
    assert.equal(report.runs, 5);
    const again = events.find((event) => event.kind === "ended" && event.then === "again");
    assert.deepEqual(again?.kind === "ended" && [again.index, again.end.signal], [0, "SIGKILL"]);
    assert.deepEqual(hashesOf(job.output), whole);
    assert.match(readFileSync(join(place, "logs/verify.log"), "utf8"), /^verified /m);
    const { finished, shards } = await buildStatus(openOutput(job.output), plan, { tasks: 4 });
    assert.deepEqual([finished, shards], [true, { done: 11, total: 11 }]);
  });

  test("a dead part is told as stopped", async () => {
    const { job } = await prepared("dead", 2);
    await build(plan, job.output, { part: { index: 1, count: 2 } });
    writeFileSync(
      join(job.output, ".chimera/lock-000000-000005.json"),
      JSON.stringify({
        host: (await import("node:os")).hostname(),
        pid: 4_000_000,
        started: "x/1",
        token: "1-x",
        from: 0,
        to: 5,
      }),
    );
    const { parts, bytes } = await buildStatus(openOutput(job.output), plan, { tasks: 2 });
    assert.deepEqual(
      parts.map(({ state }) => state),
      ["stopped", "done"],
    );
    assert.equal(
      bytes.done,
      plan.shards.slice(5).reduce((sum, { byteLength }) => sum + byteLength, 0),
    );
  });

  test("a part that fails for good is not repeated, others go on, nothing is finished", async () => {
    const code = `process.exitCode = process.argv.at(-1).startsWith("1/") ? 3 : 0`;
    const { job, folder: place } = await prepared("failing", 3, [process.execPath, "-e", code, "--"]);
    const report = await launchLocal(job, { parallel: 3, logs: join(place, "logs") });
    assert.deepEqual([report.succeeded.sort(), report.runs, report.steps], [[0, 2], 3, []]);
    assert.deepEqual(report.failed, [{ index: 1, end: { status: 3, signal: null } }]);
  });

  test("75 is tried six times in all, then it stays", async () => {
    const { job, folder: place } = await prepared("later", 1, [
      process.execPath,
      "-e",
      "process.exitCode = 75",
    ]);
    const report = await launchLocal(job, { parallel: 1, logs: join(place, "logs"), backoffMs: 1 });
    assert.deepEqual([report.runs, report.failed[0]!.end.status], [6, 75]);
  });

  test("stopped by the signal, parts save their state, and the next launch goes on", async () => {
    const { job, folder: place } = await prepared("stopped", 3);
    await build(plan, job.output, { part: { index: 2, count: 3 } });
    writeFileSync(gate, "");
    const controller = new AbortController();
    const { signal } = controller;
    const done = launchLocal(job, { parallel: 2, logs: join(place, "logs"), signal });
    await until(() => lockOwners(job.output).length === 2, "two parts at work");
    controller.abort();
    rmSync(gate);
    await assert.rejects(done, { name: "Interrupted", message: /run the same command again/ });
    assert.deepEqual(lockOwners(job.output), []);
    assert.match(readFileSync(join(place, "logs/0.log"), "utf8"), /what is complete is kept/);
    const report = await launchLocal(job, { parallel: 2, logs: join(place, "logs") });
    assert.deepEqual([report.failed, report.steps], [[], ["finish", "verify"]]);
    assert.deepEqual(hashesOf(job.output), whole);
  });

  test("a step that fails is told, with its log", async () => {
    const { job, folder: place } = await prepared("unfinished", 1);
    const broken = { ...job, finish: [{ name: "verify", command: ["verify", join(folder, "nowhere")] }] };
    const { failedStep } = await launchLocal(broken, { parallel: 1, logs: join(place, "logs") });
    assert.deepEqual([failedStep?.name, failedStep?.end.status], ["verify", 3]);
  });

  test("writePlanOnce() keeps the plan of its first launch, and refuses another", async () => {
    const launch = await prepared("once", 2);
    const path = join(launch.folder, "plan.json");
    const first = readFileSync(path, "utf8");
    await writePlanOnce(launch, plan);
    const other = await planRecipe("recipes/mini/r1t.yaml");
    await assert.rejects(writePlanOnce(launch, other), {
      code: "other-build",
      message: /it holds the launch of another plan/,
    });
    assert.equal(readFileSync(path, "utf8"), first);
  });

  test("finishWhenReady() waits for parts and for locks, and not for ever", async () => {
    const child = join(folder, "waited");
    const waiting = finishWhenReady(plan, child, { seconds: 60, everySeconds: 0.05 });
    for (const index of [0, 1]) await build(plan, child, { part: { index, count: 2 }, workers: 1 });
    assert.equal((await waiting).finished, true);
    assert.deepEqual(hashesOf(child), whole);
    const never = finishWhenReady(plan, join(folder, "never"), { seconds: 0.2, everySeconds: 0.05 });
    await assert.rejects(never, { code: "parts-missing" });
    const controller = new AbortController();
    const stopped = finishWhenReady(plan, join(folder, "never"), { seconds: 60, signal: controller.signal });
    controller.abort();
    await assert.rejects(stopped, { name: "Interrupted" });
  });
});
