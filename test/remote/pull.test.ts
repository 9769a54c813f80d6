/** chimera pull: whole checkpoints, and only what a recipe needs; stopped, resumed, damaged, and never a hole read. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { pull } from "../../src/transfer/pull.ts";
import { planNeeded, planWhole, sizeOf } from "../../src/transfer/pull-plan.ts";
import { startMain } from "../cli/run-main.ts";
import { firstTimes } from "../support/hub/faults.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, isLargeFile, useHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents:
  v3: models/mini-v3
  r1: chimera/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - { tensors: { role: attention, layers: 2 }, weights: { r1: 0.5 } }
`;
const R1 = "hf:chimera/mini-r1";

describe("pull", () => {
  const hub = new TestHub({ lfsBytes: 1 << 19 });
  const folder = temporaryFolder({ after });
  const recipeFile = join(folder, "recipe.yaml");

  before(async () => {
    await hub.start();
    hub.add("chimera/mini-r1", filesOf("models/mini-r1"));
    writeFileSync(recipeFile, RECIPE.replace("models/", `${process.cwd()}/models/`));
  });
  after(() => hub.stop());
  useHub(hub);
  beforeEach(() => {
    hub.rules = [];
    hub.forget();
  });

  test("a whole checkpoint is the checkpoint, and nothing else lies there", async () => {
    const to = join(folder, "whole");
    const report = await pull(await planWhole(R1), to);
    assert.equal(report.isWhole, true);
    assertSame(to, "models/mini-r1");
  });

  test("what a recipe needs is enough to build offline, and a fraction of the bytes", async () => {
    const plan = await planRecipe(parseRecipe(RECIPE), {});
    const to = join(folder, "needed");
    const needed = await planNeeded(plan, 1);
    assert.ok(needed.bytes < 0.8 * needed.bytesOfAll, `${needed.bytes} of ${needed.bytesOfAll} bytes`);
    hub.forget();
    const report = await pull(needed, to);
    assert.equal(report.isWhole, false);
    const sent = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    const headers = needed.shards.length * 60_000; // planNeeded() has read none since forget(); pull reads windows
    assert.ok(sent <= needed.shards.reduce((sum, { windows }) => sum + sizeOf(windows), 0) + headers);
    for (const { name, byteLength } of needed.shards) assert.equal(statSync(join(to, name)).size, byteLength);
    const wanted = join(folder, "wanted");
    await build(plan, wanted, { workers: 1 });
    await hub.stop(); // offline from here on
    try {
      const child = join(folder, "offline");
      await build(await planRecipe(parseRecipe(RECIPE), { locations: { r1: to } }), child, { workers: 1 });
      for (const name of readdirSync(wanted).filter((some) => some.endsWith(".safetensors")))
        assert.ok(readFileSync(join(child, name)).equals(readFileSync(join(wanted, name))), name);
      const other = RECIPE.replace("layers: 2", "layers: 1");
      const plan2 = await planRecipe(parseRecipe(other), { locations: { r1: to } });
      await assert.rejects(build(plan2, join(folder, "holes"), { workers: 1 }), /were not pulled/);
    } finally {
      await hub.start();
      process.env.HF_ENDPOINT = hub.url;
    }
  });

  test("another recipe's bytes are added to what is there", async () => {
    const first = await planRecipe(parseRecipe(RECIPE), {});
    const second = await planRecipe(parseRecipe(RECIPE.replace("layers: 2", "layers: 1")), {});
    const to = join(folder, "added");
    await pull(await planNeeded(first, 1), to);
    const more = await pull(await planNeeded(second, 1), to);
    assert.ok(more.fetchedBytes < more.foundBytes, `${more.fetchedBytes} fetched, ${more.foundBytes} found`);
    for (const plan of [RECIPE, RECIPE.replace("layers: 2", "layers: 1")]) {
      const child = join(folder, `added-${plan.length}-${plan.includes("layers: 1")}`);
      await build(await planRecipe(parseRecipe(plan), { locations: { r1: to } }), child, { workers: 1 });
    }
    const whole = await pull(await planWhole(R1), to);
    assert.equal(whole.isWhole, true);
    assert.ok(whole.foundBytes > 0);
    assertSame(to, "models/mini-r1");
  });

  test("goes on where it was stopped, and asks for nothing twice", async () => {
    const to = join(folder, "stopped");
    const plan = await planNeeded(await planRecipe(parseRecipe(RECIPE), {}), 1);
    const stop = new AbortController();
    const stopped = pull(plan, to, {
      signal: stop.signal,
      onEvent: (event) => {
        if (event.kind === "pulled") stop.abort();
      },
    });
    await assert.rejects(stopped, { name: "Interrupted" });
    hub.forget();
    const report = await pull(plan, to);
    assert.ok(report.foundBytes > plan.bytes / 4, `${report.foundBytes} of ${plan.bytes} bytes were found`);
    const sent = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(sent <= report.fetchedBytes, `${sent} bytes were sent, ${report.fetchedBytes} were missing`);
  });

  test("killed, it goes on", async () => {
    const to = join(folder, "killed");
    hub.rules = [(request) => (isLargeFile(request) ? { kind: "slow", ms: 300 } : undefined)];
    const args = ["pull", R1, "--only-needed-by", recipeFile, "-o", to, "--progress", "json"];
    const started = startMain(args, { HF_ENDPOINT: hub.url });
    while (!/"progress".*safetensors/.test(started.stderr())) {
      await new Promise((resume) => setTimeout(resume, 20));
      if (started.child.exitCode !== null) throw new Error(started.stderr());
    }
    started.child.kill("SIGKILL");
    await new Promise((resolve) => started.child.once("exit", resolve));
    hub.rules = [];
    const report = await pull(await planNeeded(await planRecipe(parseRecipe(RECIPE), {}), 1), to);
    assert.ok(report.foundBytes > 0);
    assert.equal(existsSync(join(to, ".chimera")), false);
  });

  test("a shard whose hash is wrong gets no name", async () => {
    const to = join(folder, "damaged");
    hub.rules = [
      firstTimes(1, (request) => isLargeFile(request) && !/-(7|8|\d\d\d?\d?\d?)$/.test(request.range ?? ""), {
        kind: "flip",
      }),
    ];
    await assert.rejects(pull(await planWhole(R1), to), /its SHA-256 is [0-9a-f]{64}, wanted [0-9a-f]{64}/);
    hub.rules = [];
    await pull(await planWhole(R1), to);
    assertSame(to, "models/mini-r1");
  });
});

function assertSame(folder: string, wanted: string): void {
  assert.deepEqual(readdirSync(folder).sort(), readdirSync(wanted).sort());
  for (const name of readdirSync(wanted))
    assert.ok(readFileSync(join(folder, name)).equals(readFileSync(join(wanted, name))), name);
}
