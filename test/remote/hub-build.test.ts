/** Building from parents that lie on a Hub: the same bytes as from folders, read once, and no more than are needed. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { networkReads } from "../../src/transfer/network.ts";
import { startMain } from "../cli/run-main.ts";
import { type Fault, firstTimes } from "../support/hub/faults.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, isLargeFile, silentAt, useHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents:
  v3: models/mini-v3
  r1: models/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - { tensors: attention, weights: { r1: 0.5 } }
`;

describe("a build from the Hub", () => {
  const hub = new TestHub({ lfsBytes: 1 << 19 });
  const folder = temporaryFolder({ after });
  let local: string;

  before(async () => {
    await hub.start();
    hub.add("chimera/mini-v3", filesOf("models/mini-v3"));
    hub.add("chimera/mini-r1", filesOf("models/mini-r1"));
    local = join(folder, "local");
    await build(await planRecipe(parseRecipe(RECIPE), {}), local);
  });
  after(() => hub.stop());
  useHub(hub);
  beforeEach(() => {
    hub.rules = [];
    hub.forget();
  });

  const planOf = () =>
    planRecipe(parseRecipe(RECIPE), { locations: { v3: "hf:chimera/mini-v3", r1: "chimera/mini-r1" } });

  test("equals the build from folders, byte for byte", async () => {
    const plan = await planOf();
    const child = join(folder, "remote");
    await build(plan, child, { workers: 1 });
    assertSameShards(child, local);
    for (const { location, revision } of plan.parents) {
      assert.match(location, /^hf:chimera\/mini-(v3|r1)@[0-9a-f]{40}$/);
      assert.equal(location.endsWith(revision!), true);
    }
  });

  test("stopped while the server is silent, it ends soon", async () => {
    const plan = await planOf();
    const stop = new AbortController();
    hub.rules = [silentAt(isLargeFile, () => stop.abort())];
    const begun = performance.now();
    const stopped = build(plan, join(folder, "silent"), { workers: 2, signal: stop.signal });
    await assert.rejects(stopped, { name: "Interrupted" });
    assert.ok(performance.now() - begun < 15_000);
    hub.rules = [];
    await build(plan, join(folder, "silent"), { workers: 1 });
    assertSameShards(join(folder, "silent"), local);
  });

  test("reads what it must and little more", async () => {
    const plan = await planOf();
    const headers = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    const wanted = headerBytes("models/mini-v3") + headerBytes("models/mini-r1");
    assert.ok(headers <= wanted, `${headers} bytes of shards were read to plan, wanted ${wanted} of headers`);
    hub.forget();
    await build(plan, join(folder, "frugal"), { workers: 1 });
    const read = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    const needed = neededBytes(plan);
    assert.ok(read >= needed, `${read} bytes were read, the child is made of ${needed}`);
    assert.ok(read <= needed * 1.07, `${read} bytes were read, wanted at most 7 % more than ${needed}`);
    const told = await networkReads(plan);
    assert.equal(
      told.reduce((sum, { bytes }) => sum + bytes, 0),
      read,
    );
    assert.equal(
      told.reduce((sum, { requests }) => sum + requests, 0),
      hub.log.filter(isLargeFile).length,
    );
  });

  const survived: [string, Fault, number][] = [
    ["429 with Retry-After", { kind: "status", status: 429, headers: { "retry-after": "0" } }, 3],
    ["503", { kind: "status", status: 503 }, 3],
    ["connections that break", { kind: "cut", after: 1000 }, 5],
    ["a range that is ignored now and then", { kind: "ignore-range" }, 2],
    ["another range than was asked for", { kind: "other-range" }, 2],
    ["answers that are too short", { kind: "short", by: 7 }, 2],
    ["slow answers", { kind: "slow", ms: 200 }, 5],
  ];
  for (const [what, fault, times] of survived) {
    test(`survives ${what}`, async () => {
      const plan = await planOf();
      hub.rules = [firstTimes(times, isLargeFile, fault)];
      const child = join(folder, `survives-${what.replaceAll(" ", "-")}`);
      await build(plan, child, { workers: 1 });
      assertSameShards(child, local);
    });
  }

  test("stops when a file's ETag changes, and keeps what is complete", async () => {
    const plan = await planOf();
    let seen = 0;
    hub.rules = [
      (request) => (isLargeFile(request) && ++seen > 4 ? { kind: "etag", etag: '"other"' } : undefined),
    ];
    const child = join(folder, "changed");
    await assert.rejects(build(plan, child, { workers: 1 }), /its ETag is .*wanted no change/);
    hub.rules = [];
    await build(plan, child, { workers: 1 });
    assertSameShards(child, local);
  });

  test("a whole shard that is not what the Hub says fails the build", async () => {
    const copy = RECIPE.replace("tensors: routed-experts", "tensors: all").replace(/.*attention.*\n/, "");
    const locations = { v3: "hf:chimera/mini-v3", r1: "hf:chimera/mini-r1" };
    const plan = await planRecipe(parseRecipe(copy), { locations });
    hub.rules = [firstTimes(1, isLargeFile, { kind: "flip" })];
    const child = join(folder, "flipped");
    await assert.rejects(build(plan, child, { workers: 1 }), /its SHA-256 is .*, wanted|is not finite/);
    hub.rules = [];
    await build(plan, child, { workers: 1 });
    for (const name of readdirSync("models/mini-r1").filter((some) => some.endsWith(".safetensors")))
      assert.equal(readFileSync(join(child, name)).length, readFileSync(join("models/mini-r1", name)).length);
  });

  test("a child that is assembled as it is loaded asks for much at a time", async () => {
    const file = join(folder, "remote.yaml");
    writeFileSync(file, RECIPE.replaceAll("models/", "hf:chimera/"));
    const args = ["-p", "What is 17 + 25?", "--temperature", "0", "--max-tokens", "8"];
    const far = await startMain(["generate", file, ...args], { HF_ENDPOINT: hub.url }).result;
    assert.equal(far.status, 0, far.stderr);
    const near = await startMain(["generate", local, ...args]).result;
    assert.equal(far.stdout, near.stdout);
    const asked = hub.log.filter(isLargeFile).length;
    assert.ok(asked < 60, `${asked} requests`);
  });

  test("gives up on a server that always ignores ranges, with one error", async () => {
    hub.rules = [(request) => (isLargeFile(request) ? { kind: "ignore-range" } : undefined)];
    await assert.rejects(planOf(), /the server sends the whole file, wanted the range/);
  });
});

function headerBytes(model: string): number {
  const shards = readdirSync(model).filter((name) => name.endsWith(".safetensors"));
  return shards.reduce(
    (sum, name) => sum + 8 + Number(readFileSync(join(model, name)).readBigUInt64LE(0)),
    0,
  );
}

/** Bytes of parents that the child's tensors are made from. */
function neededBytes({ shards, merges }: BuildPlan): number {
  let bytes = 0;
  const used = new Set<number>();
  for (const { tensors } of shards)
    for (const { action, byteLength } of tensors) {
      if (action.kind === "copy") bytes += byteLength;
      else used.add(action.merge);
    }
  for (const index of used)
    for (const { byteLength, scale } of merges[index]!.inputs) bytes += byteLength + (scale?.byteLength ?? 0);
  return bytes;
}

function assertSameShards(child: string, wanted: string): void {
  const names = readdirSync(wanted).filter((name) => /safetensors|config|tokenizer/.test(name));
  assert.ok(names.length > 3);
  for (const name of names)
    assert.ok(readFileSync(join(child, name)).equals(readFileSync(join(wanted, name))), `${name} differs`);
}
